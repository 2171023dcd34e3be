//! Files and processes of a node's own, for nodes that run what believes to be alone on its machine.
//!
//! A mount namespace gives the node its own directories in some places of the file system, and a process
//! namespace hides all other nodes' processes from it. All else is shared. Nothing in it outlives it: when
//! its first process ends, the kernel ends all others.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// Puts the directories in their places, then reaps whatever ends without a parent.
const FIRST: &str = r#"
exec 2>&1
dir=$1; shift
for place; do mount --bind "$dir$place" "$place" || exit; done
echo ready
sleep infinity & wait
"#;

/// The namespaces, and the process that keeps them.
#[derive(Debug)]
pub struct Sandbox {
    /// Waits for the first process, and has it killed should this process end.
    keeper: Child,
    first: Pid,
    processes: File,
    mounts: File,
    /// Those of this process.
    outside: File,
}

/// Tells what runs in an sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    first: Pid,
}

/// A process, by the number that it has outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxProcess {
    pub pid: Pid,
    pub parent: Pid,
    /// In clock ticks since boot: tells it from a later process with its number.
    pub started: u64,
}

impl Sandbox {
    /// In each of `places`, absolute paths of directories, it has the directory of that path below `dir`.
    pub fn new(dir: &Path, places: &[&str]) -> Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", FIRST, "sh"])
            .arg(dir)
            .args(places)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Releases of util-linux 2.38 complain when the first process was killed.
            .stderr(Stdio::null())
            .process_group(0);
        // SAFETY: between fork and exec only one system call is made, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut keeper = command.spawn().context("cannot run unshare")?;
        let mut said = String::new();
        let read = match keeper.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut said),
            None => Ok(0),
        };
        let made = || -> Result<(Pid, File, File, File)> {
            read?;
            ensure!(said == "ready\n", "its first process said `{said}`");
            let of = |name: &str| File::open(format!("/proc/{}/ns/{name}", keeper.id()));
            let parent = Pid::from_raw(keeper.id().cast_signed());
            let first = all_processes()?
                .into_iter()
                .find(|(_, one)| one.parent == parent);
            let (_, first) = first.context("it has no first process")?;
            let outside = File::open("/proc/self/ns/pid")?;
            Ok((first.pid, of("pid_for_children")?, of("mnt")?, outside))
        };
        match made() {
            Ok((first, processes, mounts, outside)) => Ok(Self {
                keeper,
                first,
                processes,
                mounts,
                outside,
            }),
            Err(error) => {
                let _ = keeper.kill();
                let _ = keeper.wait();
                Err(error.context("cannot enclose a node; are you root?"))
            }
        }
    }

    /// Starts `command` inside.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mounts = self.mounts.as_raw_fd();
        // SAFETY: between fork and exec only one system call is made, which is async-signal-safe; the
        // descriptor stays open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                setns(BorrowedFd::borrow_raw(mounts), CloneFlags::CLONE_NEWNS)?;
                Ok(())
            });
        }
        // This thread stays where it is: only what it forks from now on is inside.
        setns(self.processes.as_fd(), CloneFlags::CLONE_NEWPID)?;
        let child = command.spawn();
        setns(self.outside.as_fd(), CloneFlags::CLONE_NEWPID)?;
        child
    }

    /// A look inside, for any thread.
    pub const fn watch(&self) -> Watch {
        Watch { first: self.first }
    }
}

impl Watch {
    /// The processes inside that run the program `name` and have not ended.
    pub fn running(&self, name: &str) -> Result<Vec<SandboxProcess>> {
        let here = namespace(self.first)?;
        let named = all_processes()?
            .into_iter()
            .filter(|(comm, _)| comm == name);
        // What has ended meanwhile has no namespace any more.
        let inside = |one: &SandboxProcess| namespace(one.pid).is_ok_and(|ns| ns == here);
        Ok(named.map(|(_, one)| one).filter(inside).collect())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The keeper has not been waited for, and it has not waited for the first process unless that ended.
        // When that is over, all of its namespace is.
        let ended = self.keeper.try_wait();
        if matches!(ended, Ok(None)) {
            let _ = kill(self.first, Signal::SIGKILL);
            let _ = self.keeper.wait();
        }
    }
}

impl SandboxProcess {
    pub fn signal(self, signal: Signal) -> Result<()> {
        kill(self.pid, signal).with_context(|| format!("cannot send {signal} to {}", self.pid))
    }
}

/// The process namespace of a process, in a form that tells it from others.
fn namespace(pid: Pid) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid"))
}

/// All processes that have not ended, with the names of their programs.
fn all_processes() -> Result<Vec<(String, SandboxProcess)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        all.extend(parse(&stat));
    }
    Ok(all)
}

/// What proc_pid_stat(5) says; `None` of one that has ended.
fn parse(stat: &str) -> Option<(String, SandboxProcess)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (pid, name) = head.split_once(" (")?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let inmate = SandboxProcess {
        pid: Pid::from_raw(pid.parse().ok()?),
        parent: Pid::from_raw(fields.get(1)?.parse().ok()?),
        started: fields.get(19)?.parse().ok()?,
    };
    (!matches!(*fields.first()?, "Z" | "X")).then(|| (name.to_owned(), inmate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_no_process() {
        let line = |state: &str| format!("42 (a) b) {state} 7{} 987 0\n", " 0".repeat(17));
        let (name, one) = parse(&line("S")).expect("a process");
        assert_eq!((name.as_str(), one.started), ("a) b", 987));
        assert_eq!((one.pid.as_raw(), one.parent.as_raw()), (42, 7));
        assert_eq!(parse(&line("Z")), None);
    }
}
