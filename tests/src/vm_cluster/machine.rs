//! A virtual machine: a QEMU process of one boot, in the switch's network namespace.
//!
//! A machine is reset by its end and the start of another process. Its description is plain data,
//! so that further devices are further values.

use std::{
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl::set_pdeathsig, signal::Signal},
};
use serde_json::{Value, json};

use super::qmp::Monitor;
use crate::{netns::Namespace, wait_until};

/// Receive queues of a card. A machine with one CPU needs a second one for `XDP_TX`.
const QUEUES: u32 = 2;
/// The kernel's own parameters. On a busy host the check of the timer's interrupt can fail, which
/// is a panic.
const KERNEL: &str = "console=ttyS0 quiet panic=-1 no_timer_check";
/// The longest migration between two processes on this host.
const MIGRATION: Duration = Duration::from_secs(60);
/// The number of console lines that are shown after a failure.
const CONSOLE_LINES: usize = 60;

/// QEMU on this host.
#[derive(Clone, Debug)]
pub(super) struct Qemu {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    /// The value of `-accel`.
    pub(super) accelerator: String,
    /// The value of `-cpu`.
    pub(super) cpu: String,
}

/// A kernel and its initramfs.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// The release, as `uname -r` prints it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    pub(super) initramfs: PathBuf,
}

/// A network card, and the switch's port that it is plugged into.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) port: String,
    pub(super) mac: [u8; 6],
}

/// Everything that distinguishes a machine from others.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) kernel: Kernel,
    /// The environment of the first process.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) cards: Vec<Card>,
    /// Files with the content of virtio disks, in the order of their names.
    pub(super) disks: Vec<PathBuf>,
    /// The time of the hardware clock at the start: `2020-01-01T00:00:00`.
    pub(super) clock: String,
    pub(super) memory_mib: u32,
    /// Further devices, as arguments of QEMU.
    pub(super) devices: Vec<String>,
}

/// A running machine. It is killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    monitor: Monitor,
    console: PathBuf,
}

impl Qemu {
    /// A command for QEMU without further arguments.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .stdin(Stdio::null());
        command
    }
}

impl Description {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        add(&["-name", &self.name]);
        add(&["-smp", "1", "-m", &self.memory_mib.to_string()]);
        add(&["-rtc", &format!("base={},clock=vm", self.clock)]);
        add(&["-kernel", &self.kernel.image.to_string_lossy()]);
        add(&["-initrd", &self.kernel.initramfs.to_string_lossy()]);
        let parameters = self.parameters.iter();
        let parameters: Vec<_> = parameters
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let parameters = parameters.join(" ");
        add(&["-append", &format!("{KERNEL} {parameters}")]);
        let vectors = 2 * QUEUES + 2;
        for (index, Card { port, mac }) in self.cards.iter().enumerate() {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let tap = format!(
                "tap,id=net{index},ifname={port},script=no,downscript=no,queues={QUEUES},vhost=off"
            );
            let card = format!(
                "virtio-net-pci,id=card{index},netdev=net{index},mac={mac},mq=on,\
                 vectors={vectors},romfile="
            );
            add(&["-netdev", &tap, "-device", &card]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            // The host does not fail, so its cache is as good as a disk. Two processes have the
            // file open during a migration.
            let file = disk.display();
            let drive = format!(
                "file={file},id=disk{index},if=none,format=raw,cache=unsafe,file.locking=off"
            );
            let device = format!("virtio-blk-pci,drive=disk{index}");
            add(&["-drive", &drive, "-device", &device]);
        }
        arguments.extend(self.devices.iter().cloned());
        arguments
    }
}

impl Machine {
    /// Starts a machine in `ns`, with its files named `tag` in `directory`. With `incoming` it
    /// waits for a migration to that socket.
    pub(super) fn start(
        qemu: &Qemu,
        description: &Description,
        ns: &Namespace,
        directory: &Path,
        tag: &str,
        incoming: Option<&Path>,
    ) -> Result<Self> {
        let file = |kind: &str| directory.join(format!("{tag}.{kind}"));
        let (socket, console) = (file("qmp"), file("console"));
        let errors = File::create(file("qemu"))?;
        let mut command = qemu.command();
        command
            .args(["-accel", &qemu.accelerator, "-cpu", &qemu.cpu])
            .args(description.arguments())
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .stdout(errors.try_clone()?)
            .stderr(errors)
            // A group of its own keeps Ctrl-C from the machine: the rig ends it itself.
            .process_group(0);
        if let Some(socket) = incoming {
            command.arg("-incoming").arg(unix(socket));
        }
        let namespace = ns.fd().as_raw_fd();
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe;
        // the descriptor stays open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                setns(BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?;
                set_pdeathsig(Signal::SIGKILL)?;
                Ok(())
            });
        }
        let mut child = command.spawn().context("cannot run QEMU")?;
        let said = file("qemu");
        let monitor = Monitor::connect(&socket, || match child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "QEMU ended at its start ({status}): {}",
                fs::read_to_string(&said).unwrap_or_default().trim()
            ),
        });
        match monitor {
            Ok(monitor) => Ok(Self {
                child,
                monitor,
                console,
            }),
            Err(error) => {
                // Neither call fails for a child that was not waited for.
                let _ = child.kill().and_then(|()| child.wait());
                Err(error)
            }
        }
    }

    /// Fails if the machine has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the machine ended by itself ({status})"),
        }
    }

    /// Stops all CPUs and clocks of the machine.
    pub(super) fn pause(&mut self) -> Result<()> {
        self.monitor.ask("stop", json!({})).map(drop)
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.monitor.ask("cont", json!({})).map(drop)
    }

    /// Gives the card with this number a carrier, or takes it away.
    pub(super) fn set_carrier(&mut self, card: usize, up: bool) -> Result<()> {
        let arguments = json!({ "name": format!("card{card}"), "up": up });
        self.monitor.ask("set_link", arguments).map(drop)
    }

    /// Moves the state of the machine to the process that waits at `socket`, and waits for the end.
    /// This machine is then paused for good.
    pub(super) fn migrate(&mut self, socket: &Path) -> Result<()> {
        self.monitor
            .ask("migrate", json!({ "uri": unix(socket) }))?;
        wait_until(MIGRATION, "the migration is complete", || {
            let state = self.monitor.ask("query-migrate", json!({}))?;
            match state["status"].as_str() {
                Some("completed") => Ok(true),
                Some("failed" | "cancelled") => bail!("the migration failed: {state}"),
                _ => Ok(false),
            }
        })
    }

    /// The state of the machine: `running`, `paused`, `inmigrate` and others.
    pub(super) fn state(&mut self) -> Result<String> {
        let state: Value = self.monitor.ask("query-status", json!({}))?;
        let name = state["status"].as_str();
        Ok(name.context("a machine without a state")?.to_owned())
    }

    /// Ends the machine as a loss of power does.
    pub(super) fn power_off(mut self) {
        self.kill();
    }

    /// The last lines of the console.
    pub(super) fn console(&self) -> String {
        crate::agent::tail(&self.console, CONSOLE_LINES)
    }

    fn kill(&mut self) {
        // Fails only for a child that was waited for, which is the aim.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn unix(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}
