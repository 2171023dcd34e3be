//! Finds the processes that a check names.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
};

use nix::unistd::Pid;

use crate::{
    config::ProcessName, health::blocking::BlockingThread, helper, process::Process,
    resources::systemd::Systemd,
};

/// The kernel cuts a process's name to this many bytes (`TASK_COMM_LEN` without the final zero).
const COMM_LEN: usize = 15;

type Found = Result<Vec<Process>, String>;

pub(super) enum Finder {
    /// Runs in a thread of its own: the file may be on a disk that hangs, and `/proc` may be large.
    Pidfile(BlockingThread, PathBuf),
    Name(BlockingThread, Vec<u8>),
    Unit(Systemd, String),
}

impl Finder {
    pub(super) fn new(name: &ProcessName, bus: Option<String>) -> Self {
        let thread = || BlockingThread::new("health-process".to_owned());
        match name {
            ProcessName::PidFile(path) => Self::Pidfile(thread(), path.clone()),
            ProcessName::Name(name) => {
                let name = name.bytes().take(COMM_LEN).collect();
                Self::Name(thread(), name)
            }
            ProcessName::Unit(unit) => Self::Unit(Systemd { bus }, unit.clone()),
        }
    }

    /// Whether the process that was found is the only possible one while it lives.
    pub(super) fn is_for_good(&self) -> bool {
        matches!(self, Self::Unit(..))
    }

    /// Returns the live processes. The future can be dropped at any await.
    pub(super) fn sample(&self) -> Pin<Box<dyn Future<Output = Found> + Send + '_>> {
        match self {
            Self::Pidfile(thread, path) => {
                let path = path.clone();
                let found = thread.ask(move || named(&path));
                Box::pin(async move { found.await? })
            }
            Self::Name(thread, name) => {
                let name = name.clone();
                let found = thread.ask(move || called(&name));
                Box::pin(async move { found.await? })
            }
            Self::Unit(systemd, unit) => Box::pin(main_of(systemd, unit)),
        }
    }
}

fn named(path: &Path) -> Found {
    let pid = helper::read_pidfile(path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?
        .ok_or_else(|| format!("{} holds no process id", path.display()))?;
    let process = Process::find(pid);
    let process = process.ok_or_else(|| format!("process {pid} of {} is gone", path.display()))?;
    Ok(vec![process])
}

fn called(name: &[u8]) -> Found {
    let shown = String::from_utf8_lossy(name);
    let processes = all_called(name).map_err(|error| format!("could not read /proc: {error}"))?;
    if processes.is_empty() {
        return Err(format!("there is no process named {shown}"));
    }
    Ok(processes)
}

/// Returns the processes of a name in order of their ids, whatever the order in /proc.
fn all_called(name: &[u8]) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        // A process that has ended meanwhile has no name any more.
        let comm = fs::read(entry.path().join("comm")).unwrap_or_default();
        if comm.strip_suffix(b"\n") == Some(name)
            && let Some(process) = Process::find(Pid::from_raw(pid))
        {
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

async fn main_of(systemd: &Systemd, unit: &str) -> Found {
    let pid = systemd
        .main_process(unit)
        .await
        .map_err(|error| format!("could not ask systemd for {unit} over D-Bus: {error}"))?
        .ok_or_else(|| format!("{unit} has no main process"))?;
    let process = Process::find(pid);
    let process = process.ok_or_else(|| format!("process {pid} of {unit} is gone"))?;
    Ok(vec![process])
}
