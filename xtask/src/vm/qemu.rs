//! Boots a kernel in QEMU and reads the results of the tests from its console.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result};

use super::packages::{Kernel, Qemu};
use crate::tally::Tally;

/// The machine's last line. Its exit code has no meaning.
const END: &str = "heartbeat-vm: all programs have run";
/// Seconds that a machine may take. The machine is emulated, on a host that may be busy.
const LIMIT: &str = "1800";

/// Two network cards that are joined only to each other, about which QEMU warns. The driver of the
/// first, `eth0`, accepts an XDP program in native mode and never runs it: its frames may be longer
/// than usual, and come in pages that are not mergeable.
const CARDS: [&str; 8] = [
    "-netdev",
    "hubport,id=eth0,hubid=1",
    "-device",
    "virtio-net-pci,netdev=eth0,mrg_rxbuf=off,host_mtu=2000,romfile=",
    "-netdev",
    "hubport,id=eth1,hubid=1",
    "-device",
    "virtio-net-pci,netdev=eth1,romfile=",
];

/// Runs `image` under `kernel`. The console's output goes to standard output.
pub(super) fn run(qemu: &Qemu, kernel: &Kernel, image: &Path) -> Result<Tally> {
    let mut qemu = qemu.command(LIMIT);
    qemu
        // `/dev/kvm` may exist and not work.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "1024", "-nodefaults", "-no-reboot"])
        .args(CARDS)
        .args(["-display", "none", "-serial", "stdio", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = qemu.spawn().context("could not run qemu-system-x86_64")?;
    let console = machine
        .stdout
        .take()
        .context("a machine without a console")?;
    let (mut tally, ended) = read(console, io::stdout())?;
    let status = machine.wait()?;
    if !ended {
        eprintln!(
            "Linux {} did not run all tests ({status}; it has {LIMIT} s): the console is above",
            kernel.release
        );
        tally.failed += 1;
    }
    Ok(tally)
}

/// The results of the tests, and whether the machine reached its end.
fn read(console: impl io::Read, mut shown: impl Write) -> Result<(Tally, bool)> {
    let mut console = BufReader::new(console);
    let (mut tally, mut ended) = (Tally::default(), false);
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line)? != 0 {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        tally.read(text);
        ended |= text == END;
        writeln!(shown, "{text}")?;
        shown.flush()?;
        line.clear();
    }
    Ok((tally, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_a_console() {
        let console = b"[    1.2] booted\r\ntest a ... ok\r\n\
            test result: ok. 2 passed; 0 failed; 0 ignored\r\n";
        let (tally, ended) = read(&console[..], io::sink()).unwrap();
        assert_eq!((tally.passed, tally.failed, ended), (2, 0, false));
        let whole = [&console[..], END.as_bytes(), b"\r\n"].concat();
        assert!(read(&whole[..], io::sink()).unwrap().1);
    }
}
