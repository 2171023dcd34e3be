//! A sandbox gives a node its own files and processes, for programs that expect a machine of their
//! own.
//!
//! A mount namespace gives the node some directories of its own, and a process namespace hides the
//! processes of other nodes. All else is shared. Nothing in the sandbox outlives it: when its first
//! process ends, the kernel kills all others.
//!
//! A sandbox over a tree has more: the files of unpacked packages lie over `/usr` and `/etc`, so
//! that programs with compiled-in paths run as if the packages were installed.

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

/// The same over a tree of unpacked packages. Changes of `/etc` and `/var` are kept in memory.
const FIRST_OVER: &str = r#"
exec 2>&1
dir=$1; tree=$2; name=$3
fail() { echo "cannot lay $tree over $1"; exit 1; }
mkdir -p "$dir/layers" && mount -t tmpfs -o mode=755 tmpfs "$dir/layers" || exit
if [ -d "$tree/usr" ]; then
    mount -t overlay -o "lowerdir=$tree/usr:/usr" overlay /usr || fail /usr
fi
for place in etc var; do
    lower=/$place
    if [ -d "$tree/$place" ]; then lower=$tree/$place:/$place; fi
    mkdir -p "$dir/layers/$place/upper" "$dir/layers/$place/work"
    work=upperdir=$dir/layers/$place/upper,workdir=$dir/layers/$place/work
    mount -t overlay -o "lowerdir=$lower,$work" overlay "/$place" || fail "/$place"
done
mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/lock || exit
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit
echo "$name" > /proc/sys/kernel/hostname
echo ready
sleep infinity & wait
"#;
/// The program of the second process, beside the first one.
const SLEEPER: &str = "sleep";

/// The reason why there can be no sandbox here.
pub fn missing() -> Option<String> {
    let there = Path::new(UNSHARE).exists();
    (!there).then(|| format!("no {UNSHARE}, install util-linux"))
}

/// The namespaces of mounts, host name and IPC.
type Others = [(File, CloneFlags); 3];

/// The namespaces, and the process that keeps them.
#[derive(Debug)]
pub struct Sandbox {
    /// The parent of the first process, which the kernel kills with it if this process ends.
    keeper: Child,
    first: Pid,
    processes: File,
    /// The namespaces that a program enters by itself.
    others: Others,
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
        let mut command = unshare();
        command
            .args(["sh", "-c", FIRST, "sh"])
            .arg(dir)
            .args(places);
        Self::start(command)
    }

    /// Makes a sandbox for the node `name` over `tree`, a directory of unpacked packages whose
    /// `lib`, `bin` and `sbin` are below its `usr`. `dir` is an existing directory of the node.
    pub fn over(tree: &Path, dir: &Path, name: &str) -> Result<Self> {
        let mut command = unshare();
        command
            .args(["--uts", "--ipc"])
            .args(["sh", "-c", FIRST_OVER, "sh"])
            .arg(dir)
            .arg(tree)
            .arg(name);
        Self::start(command)
    }

    /// Runs `command`, whose first process says that it is ready.
    fn start(mut command: Command) -> Result<Self> {
        command
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
        let made = || -> Result<(Pid, File, Others)> {
            read?;
            ensure!(said == "ready\n", "its first process said `{said}`");
            let of = |name: &str| File::open(format!("/proc/{}/ns/{name}", keeper.id()));
            let parent = Pid::from_raw(keeper.id().cast_signed());
            let first = all_processes()?
                .into_iter()
                .find(|(_, one)| one.parent == parent);
            let (_, first) = first.context("it has no first process")?;
            let others = [
                (of("mnt")?, CloneFlags::CLONE_NEWNS),
                (of("uts")?, CloneFlags::CLONE_NEWUTS),
                (of("ipc")?, CloneFlags::CLONE_NEWIPC),
            ];
            Ok((first.pid, of("pid_for_children")?, others))
        };
        let made = made().and_then(|made| Ok((made, File::open("/proc/self/ns/pid")?)));
        match made {
            Ok(((first, processes, others), outside)) => Ok(Self {
                keeper,
                first,
                processes,
                others,
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
        let others = (self.others.each_ref()).map(|(file, kind)| (file.as_raw_fd(), *kind));
        // SAFETY: between fork and exec only system calls are made, which are async-signal-safe;
        // the descriptors stay open in the parent, which waits for the exec.
        unsafe {
            command.pre_exec(move || {
                for (namespace, kind) in others {
                    setns(BorrowedFd::borrow_raw(namespace), kind)?;
                }
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
        self.inside(|comm, _| comm == name)
    }

    /// The processes inside that were started there and have not ended, the oldest first.
    pub fn started(&self) -> Result<Vec<SandboxProcess>> {
        let own = |comm: &str, one: &SandboxProcess| {
            one.pid == self.first || (one.parent == self.first && comm == SLEEPER)
        };
        let mut all = self.inside(|comm, one| !own(comm, one))?;
        all.sort_by_key(|one| (one.started, one.pid));
        Ok(all)
    }

    fn inside(
        &self,
        wanted: impl Fn(&str, &SandboxProcess) -> bool,
    ) -> Result<Vec<SandboxProcess>> {
        let here = namespace(self.first)?;
        let wanted = all_processes()?
            .into_iter()
            .filter(|(comm, one)| wanted(comm, one));
        // A process that has ended meanwhile has no namespace.
        let inside = |one: &SandboxProcess| namespace(one.pid).is_ok_and(|ns| ns == here);
        Ok(wanted.map(|(_, one)| one).filter(inside).collect())
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

/// The command line up to the first process.
fn unshare() -> Command {
    let mut command = Command::new(UNSHARE);
    command.args(["--mount", "--propagation", "private"]).args([
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
}

/// The identity of a process's pid namespace.
fn namespace(pid: Pid) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid"))
}

/// `first` and all processes below it that have not ended, parents before their children.
pub fn descendants(first: Pid) -> Result<Vec<Pid>> {
    let all = all_processes()?;
    let mut found = vec![first];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|(_, one)| one.parent == parent);
        found.extend(children.map(|(_, one)| one.pid));
        next += 1;
    }
    Ok(found)
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
    fn ended_process_is_no_process() {
        let line = |state: &str| format!("42 (a) b) {state} 7{} 987 0\n", " 0".repeat(17));
        let (name, one) = parse(&line("S")).expect("a process");
        assert_eq!((name.as_str(), one.started), ("a) b", 987));
        assert_eq!((one.pid.as_raw(), one.parent.as_raw()), (42, 7));
        assert_eq!(parse(&line("Z")), None);
    }
}
