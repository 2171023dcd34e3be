//! A sandbox gives a node its own files and processes, for programs that expect a machine of their
//! own.
//!
//! A mount namespace gives the node some directories of its own, and a process namespace hides the
//! processes of other nodes. All else is shared. Nothing in the sandbox outlives it: when its first
//! process ends, the kernel kills all others.

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

const UNSHARE: &str = "/usr/bin/unshare";
/// The first process: it mounts the directories, then reaps orphans.
const FIRST: &str = r#"
exec 2>&1
dir=$1; shift
for place; do mount --bind "$dir$place" "$place" || exit; done
echo ready
sleep infinity & wait
"#;

/// The reason why there can be no sandbox here.
pub fn missing() -> Option<String> {
    let there = Path::new(UNSHARE).exists();
    (!there).then(|| format!("no {UNSHARE}, install util-linux"))
}

/// The namespaces, and the process that keeps them.
#[derive(Debug)]
pub struct Sandbox {
    /// The parent of the first process, which the kernel kills with it if this process ends.
    keeper: Child,
    first: Pid,
    processes: File,
    mounts: File,
    /// The namespace of this process.
    outside: File,
}

/// A reader of the processes in a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    first: Pid,
}

/// A process, by its id outside of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxProcess {
    pub pid: Pid,
    pub parent: Pid,
    /// The start in clock ticks since boot, which tells apart processes with one id.
    pub started: u64,
}

impl Sandbox {
    /// Makes a sandbox in which each of `places`, absolute paths, is the directory of that path
    /// below `dir`.
    pub fn new(dir: &Path, places: &[&str]) -> Result<Self> {
        let mut command = Command::new(UNSHARE);
        command
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", FIRST, "sh"])
            .arg(dir)
            .args(places)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // util-linux 2.38 prints an error when the first process is killed.
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
        // SAFETY: between fork and exec only one system call is made, which is async-signal-safe;
        // the descriptor stays open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                setns(BorrowedFd::borrow_raw(mounts), CloneFlags::CLONE_NEWNS)?;
                Ok(())
            });
        }
        // The namespace applies to the children of this thread, not to the thread itself.
        setns(self.processes.as_fd(), CloneFlags::CLONE_NEWPID)?;
        let child = command.spawn();
        setns(self.outside.as_fd(), CloneFlags::CLONE_NEWPID)?;
        child
    }

    /// A reader of the processes in this sandbox, for any thread.
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
        // A process that has ended meanwhile has no namespace.
        let inside = |one: &SandboxProcess| namespace(one.pid).is_ok_and(|ns| ns == here);
        Ok(named.map(|(_, one)| one).filter(inside).collect())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The keeper has not been reaped, and so neither has the first process. Once that has
        // ended, its whole namespace has.
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

/// The identity of a process's pid namespace.
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
        // The process may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        all.extend(parse(&stat));
    }
    Ok(all)
}

/// Parses proc_pid_stat(5). `None` for a process that has ended.
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
