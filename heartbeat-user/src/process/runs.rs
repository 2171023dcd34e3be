//! The bounds of a run of a program: a control group, by which all its processes can be ended, and
//! a watcher that ends them if this process no longer can.
//!
//! ```text
//!   MOUNT/heartbeat/INSTANCE/            removed when no process lives in it
//!       resource.NAME/                   of a resource: daemons that a start left, runs under way
//!           1/  2/                       one for each run
//!       others/                          checks, hooks
//! ```
//!
//! A run that took too long, was cancelled, or lost its helper is killed with all its processes. A
//! run that ended by itself leaves its daemons: they stay in the group of their birth, and so are
//! known. Without the unified hierarchy the process group takes the control group's place, and the
//! session after the helper's death.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

use super::{control_group::Group, handle::Stat};
use crate::cgroup;

/// The parent of all control groups of this program.
const ROOT: &str = "heartbeat";
const OTHERS: &str = "others";
const OURSELVES: &str = "/proc/self/exe";
/// The subcommand of the watcher.
const SUBCOMMAND: &str = "helper-watcher";
/// Longest wait for the end of killed processes; after it their groups are left.
const GONE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// The runs of the helper; unset in other processes.
static RUNS: OnceLock<Runs> = OnceLock::new();

struct Runs {
    /// The parent of this instance's groups; `None` without the unified hierarchy.
    base: Option<Group>,
    number: AtomicU64,
    watched: Mutex<Watched>,
}

/// The runs that the watcher has to end, and the watcher itself.
struct Watched {
    marks: BTreeSet<String>,
    watcher: Child,
}

/// Gives each later run a control group and a watcher. Must be called once, in the helper of an
/// agent.
pub fn begin(instance: &str) -> io::Result<()> {
    // A table of mounts that cannot be read counts as one without the hierarchy.
    let mount = cgroup::find().ok().flatten();
    let base = mount.and_then(|mount| {
        let path = mount.join(ROOT).join(instance);
        let made = Group::make(path);
        let refused = |error: &io::Error| {
            log::warn!(
                "could not make a control group below {}: {error}; killing a run then misses \
                 processes that left its session",
                mount.display()
            );
        };
        made.inspect_err(refused).ok()
    });
    match &base {
        Some(base) => base.below().iter().for_each(Group::remove_if_empty),
        None => {
            log::info!("no unified hierarchy of control groups: runs are ended by their sessions");
        }
    }
    let watcher = watcher(base.as_ref())?;
    let watched = Watched {
        marks: BTreeSet::new(),
        watcher,
    };
    let runs = Runs {
        base,
        number: AtomicU64::new(0),
        watched: Mutex::new(watched),
    };
    let _ = RUNS.set(runs);
    Ok(())
}

fn watcher(base: Option<&Group>) -> io::Result<Child> {
    let base = base.map(|base| base.path().to_owned());
    Command::new(OURSELVES)
        .arg0("heartbeat")
        .arg(SUBCOMMAND)
        .args(base)
        .stdin(Stdio::piped())
        // Signals of the terminal are for the agent only.
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::other(format!("could not run {OURSELVES}: {error}")))
}

impl Runs {
    /// Returns the group of a resource's runs.
    fn home(&self, resource: Option<&str>) -> Option<Group> {
        let name = resource.map_or(OTHERS.to_owned(), |name| format!("resource.{name}"));
        let base = self.base.as_ref()?;
        Some(Group::at(base.path().join(name)))
    }

    fn make(&self, resource: Option<&str>) -> Option<Group> {
        let home = self.home(resource)?;
        home.below().iter().for_each(Group::remove_if_empty);
        // A new process id avoids the group of an earlier helper, in which processes may live.
        let stamp = std::process::id();
        let number = self.number.fetch_add(1, Relaxed);
        let made = Group::make(home.path().join(format!("{stamp}.{number}")));
        made.inspect_err(|error| log::warn!("could not make a control group: {error}"))
            .ok()
    }

    fn watch(&self, mark: &str) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.marks.insert(mark.to_owned());
        if watched.send(&format!("+{mark}\n")).is_ok() {
            return;
        }
        // The watcher was killed.
        let _ = watched.watcher.wait();
        match watcher(self.base.as_ref()) {
            Ok(watcher) => watched.watcher = watcher,
            Err(error) => return log::error!("{error}: running programs may outlive the helper"),
        }
        let all: String = watched
            .marks
            .iter()
            .map(|mark| format!("+{mark}\n"))
            .collect();
        let _ = watched.send(&all);
    }

    fn unwatch(&self, mark: &str) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.marks.remove(mark);
        let _ = watched.send(&format!("-{mark}\n"));
    }
}

impl Watched {
    fn send(&mut self, line: &str) -> io::Result<()> {
        let Some(pipe) = &mut self.watcher.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        pipe.write_all(line.as_bytes())
    }
}

/// One run. Dropping it kills all that it started, unless `ended` was called.
pub(super) struct Run {
    group: Option<Group>,
    marks: Vec<String>,
    ended: bool,
}

impl Run {
    /// Creates the run of a program that is expected to end.
    pub(super) fn new(resource: Option<&str>) -> Self {
        let group = RUNS.get().and_then(|runs| runs.make(resource));
        let mut run = Self {
            group,
            marks: Vec::new(),
            ended: false,
        };
        let path = run
            .group
            .as_ref()
            .map(|group| group.path().display().to_string());
        if let Some(path) = path {
            run.watch(format!("c{path}"));
        }
        run
    }

    /// Creates the run of a program that outlives agent and helper.
    pub(super) fn of_service(resource: Option<&str>) -> Self {
        Self {
            group: RUNS.get().and_then(|runs| runs.make(resource)),
            marks: Vec::new(),
            ended: true,
        }
    }

    /// Returns the file by which the first process joins the group, if there is one.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        let entrance = self.group.as_ref()?.entrance();
        entrance.map(File::into).ok()
    }

    /// Records the start of the first process, which leads a session.
    pub(super) fn started(&mut self, leader: Pid) {
        self.watch(format!("s{leader}"));
    }

    /// Returns the processes to wait for after a kill.
    pub(super) fn remains(&self, leader: Pid) -> Remains {
        Remains {
            group: self.group.clone(),
            leader,
        }
    }

    fn watch(&mut self, mark: String) {
        if let Some(runs) = RUNS.get() {
            runs.watch(&mark);
            self.marks.push(mark);
        }
    }

    /// Records that the run ended by itself: its remaining processes stay.
    pub(super) fn ended(mut self) {
        self.ended = true;
    }

    pub(super) fn kill(&self) {
        if let Some(group) = &self.group
            && let Err(error) = group.kill()
        {
            log::warn!("could not kill all in {}: {error}", group.path().display());
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
        if let Some(runs) = RUNS.get() {
            self.marks.iter().for_each(|mark| runs.unwatch(mark));
        }
        if let Some(group) = self.group.as_ref().filter(|_| !self.marks.is_empty()) {
            group.remove_if_empty();
        }
    }
}

/// The remaining processes of a killed run. The first must not have been reaped yet.
pub(super) struct Remains {
    group: Option<Group>,
    leader: Pid,
}

impl Remains {
    /// Waits until no process of the run lives.
    pub(super) async fn gone(&self) {
        while self.lives() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn lives(&self) -> bool {
        match &self.group {
            Some(group) => group.is_populated(),
            None => !session(&self.leader.to_string()).is_empty(),
        }
    }

    /// Returns a live process, or the first of the run.
    pub(super) fn process(&self) -> Pid {
        let some = match &self.group {
            Some(group) => group.processes(),
            None => session(&self.leader.to_string()),
        };
        some.first().copied().unwrap_or(self.leader)
    }
}

/// Kills the remaining processes of a dead service: all live ones that were started for the
/// resource. Blocks until they are gone, for some seconds at most.
pub fn clear(resource: &str) {
    let home = RUNS.get().and_then(|runs| runs.home(Some(resource)));
    let Some(home) = home.filter(Group::is_populated) else {
        return;
    };
    log::warn!("{resource}: killing processes that its last run left");
    if let Err(error) = home.kill() {
        return log::warn!("could not kill all in {}: {error}", home.path().display());
    }
    if !wait_gone(|| home.is_populated()) {
        log::warn!("{}: killed processes do not end", home.path().display());
    }
}

fn wait_gone(there: impl Fn() -> bool) -> bool {
    let until = Instant::now() + GONE;
    while there() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Runs the watcher: reads the runs under way from standard input, and kills them when the helper
/// is gone. When a busy machine kills agent and helper together, the kernel itself ends only the
/// first process of each run.
pub fn watch(base: Option<PathBuf>) {
    // A signal sent by process name is meant for the agent; this process ends after the agent.
    let _ = SigSet::all().thread_block();
    let _ = nix::sys::prctl::set_name(c"heartbeat-watch");
    let mut marks = BTreeSet::new();
    for line in io::stdin().lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", mark)) => drop(marks.insert(mark.to_owned())),
            Some(("-", mark)) => drop(marks.remove(mark)),
            _ => {}
        }
    }
    marks.iter().for_each(|mark| end(mark));
    wait_gone(|| marks.iter().any(|mark| lives(mark)));
    if let Some(base) = base {
        Group::at(base.clone()).remove_if_empty();
        if let Some(root) = base.parent() {
            let _ = std::fs::remove_dir(root);
        }
    }
}

fn end(mark: &str) {
    match mark.split_at_checked(1) {
        Some(("c", path)) => drop(Group::at(path.into()).kill()),
        Some(("s", leader)) => session(leader).into_iter().for_each(|pid| {
            let _ = kill(pid, Signal::SIGKILL);
        }),
        _ => {}
    }
}

fn lives(mark: &str) -> bool {
    match mark.split_at_checked(1) {
        Some(("c", path)) => Group::at(path.into()).is_populated(),
        Some(("s", leader)) => {
            // The session may have forked meanwhile.
            end(mark);
            !session(leader).is_empty()
        }
        _ => false,
    }
}

/// Returns the live processes of a session.
fn session(leader: &str) -> Vec<Pid> {
    let (Ok(leader), Ok(entries)) = (leader.parse(), std::fs::read_dir("/proc")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Stat::of(Pid::from_raw(pid)))
        .filter(|stat| !stat.zombie && stat.session == Pid::from_raw(leader))
        .map(|stat| stat.process.pid)
        .collect()
}
