//! KVM where it works, else emulation. `/dev/kvm` may exist and not work.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::machine::{Kernel, Qemu};

/// The longest time until the first process of a machine runs. It takes about two seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The begin of what the first process prints.
const BOOTED: &str = "heartbeat-vm:";
const KVM_CPU: &str = "host";
/// Without a limit of the translated code, each process takes a gigabyte.
const EMULATION: &str = "tcg,thread=multi,tb-size=128";

/// Chooses the accelerator of `qemu`: `auto`, `kvm` or `tcg`. The probe boots `kernel`, and
/// writes to `directory`.
pub(super) fn choose(
    qemu: &mut Qemu,
    wanted: &str,
    kernel: &Kernel,
    directory: &Path,
) -> Result<()> {
    let kvm = match wanted {
        "auto" => Path::new("/dev/kvm").exists() && works(qemu, kernel, directory)?,
        wanted => wanted == "kvm",
    };
    let (accelerator, cpu) = if kvm {
        ("kvm", KVM_CPU)
    } else {
        (EMULATION, "max")
    };
    accelerator.clone_into(&mut qemu.accelerator);
    cpu.clone_into(&mut qemu.cpu);
    Ok(())
}

/// Whether a machine with KVM boots `kernel` up to its first process, which prints to the console.
fn works(qemu: &Qemu, kernel: &Kernel, directory: &Path) -> Result<bool> {
    let console = directory.join("probe");
    let mut command = qemu.command();
    command
        .args(["-accel", "kvm", "-cpu", KVM_CPU, "-m", "384", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&kernel.initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1", "-serial"])
        .arg(format!("file:{}", console.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let begun = Instant::now();
    let mut booted = false;
    while !booted && begun.elapsed() < PATIENCE && child.try_wait()?.is_none() {
        thread::sleep(Duration::from_millis(20));
        booted = fs::read_to_string(&console).is_ok_and(|text| text.contains(BOOTED));
    }
    // Fails only for a child that has ended, which is the aim.
    let _ = child.kill();
    child.wait()?;
    Ok(booted)
}
