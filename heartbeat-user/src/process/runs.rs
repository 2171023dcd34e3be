//! The bounds of one run of a program: a control group, by which all its processes can be ended,
//! and a watcher that ends them if this process cannot any more.
//!
//! ```text
//!   MOUNT/heartbeat/INSTANCE/            removed when nothing lives in it
//!       resource.NAME/                   of a resource: daemons that a start left, runs under way
//!           1/  2/                       one for each run
//!       others/                          checks, hooks
//! ```
//!
//! A run that took too long, was cancelled, or whose helper died is killed with all its processes.
//! A run that ended by itself leaves its daemons alone: they stay in the group in which they were
//! born, and so are known. Without the unified hierarchy the process group takes the group's place,
//! and after the helper's death the session.

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

/// All control groups of this program are below this one.
const ROOT: &str = "heartbeat";
const OTHERS: &str = "others";
const OURSELVES: &str = "/proc/self/exe";
/// What the watcher is.
const SUBCOMMAND: &str = "helper-watcher";
/// How long what was killed may take to be gone, before its groups are left.
const GONE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Of the helper; there is none elsewhere.
static RUNS: OnceLock<Runs> = OnceLock::new();

struct Runs {
    /// `None` where there is no unified hierarchy.
    base: Option<Group>,
    number: AtomicU64,
    watched: Mutex<Watched>,
}

/// What the watcher is to end, and how it is told.
struct Watched {
    marks: BTreeSet<String>,
    watcher: Child,
}

/// Gives each run from here on a control group and a watcher. To be called once, in the helper of
/// an agent.
pub fn begin(instance: &str) -> io::Result<()> {
    // Where the table of mounts cannot be read there is none, as far as this helper knows.
    let mount = cgroup::find().ok().flatten();
    let base = mount.and_then(|mount| {
        let path = mount.join(ROOT).join(instance);
        let made = Group::make(path);
        let refused = |error: &io::Error| {
            log::warn!(
                "could not make a control group below {}: {error}; of a run that is killed, \
                 processes that left its session stay",
                mount.display()
            );
        };
        made.inspect_err(refused).ok()
    });
    match &base {
        Some(base) => base.below().iter().for_each(Group::remove_if_empty),
        None => log::info!(
            "without the unified hierarchy of control groups, runs are ended by their sessions"
        ),
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
        // What a terminal sends to the agent is for the agent.
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::other(format!("could not run {OURSELVES}: {error}")))
}

impl Runs {
    /// Where what runs of a resource is.
    fn home(&self, resource: Option<&str>) -> Option<Group> {
        let name = resource.map_or(OTHERS.to_owned(), |name| format!("resource.{name}"));
        let base = self.base.as_ref()?;
        Some(Group::at(base.path().join(name)))
    }

    fn make(&self, resource: Option<&str>) -> Option<Group> {
        let home = self.home(resource)?;
        home.below().iter().for_each(Group::remove_if_empty);
        // Never that of another life, in which something may live.
        let stamp = std::process::id();
        let number = self.number.fetch_add(1, Relaxed);
        let made = Group::make(home.path().join(format!("{stamp}.{number}")));
        made.inspect_err(|error| log::warn!("could not make a control group: {error}"))
            .ok()
    }

    fn watch(&self, mark: &str) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.marks.insert(mark.to_owned());
        if watched.say(&format!("+{mark}\n")).is_ok() {
            return;
        }
        // Somebody has killed it.
        let _ = watched.watcher.wait();
        match watcher(self.base.as_ref()) {
            Ok(watcher) => watched.watcher = watcher,
            Err(error) => return log::error!("{error}: what runs now may outlive its helper"),
        }
        let all: String = watched
            .marks
            .iter()
            .map(|mark| format!("+{mark}\n"))
            .collect();
        let _ = watched.say(&all);
    }

    fn unwatch(&self, mark: &str) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.marks.remove(mark);
        let _ = watched.say(&format!("-{mark}\n"));
    }
}

impl Watched {
    fn say(&mut self, line: &str) -> io::Result<()> {
        let Some(pipe) = &mut self.watcher.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        pipe.write_all(line.as_bytes())
    }
}

/// One run. Dropping it kills all that it started, unless it was said to have ended.
pub(super) struct Run {
    group: Option<Group>,
    marks: Vec<String>,
    ended: bool,
}

impl Run {
    /// Of a program that is to come to an end.
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

    /// Of a program that goes on whatever becomes of us.
    pub(super) fn of_service(resource: Option<&str>) -> Self {
        Self {
            group: RUNS.get().and_then(|runs| runs.make(resource)),
            marks: Vec::new(),
            ended: true,
        }
    }

    /// What its first process is to enter, if there is anything.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        let entrance = self.group.as_ref()?.entrance();
        entrance.map(File::into).ok()
    }

    /// Its first process, which leads a session, has started.
    pub(super) fn started(&mut self, leader: Pid) {
        self.watch(format!("s{leader}"));
    }

    /// What is to be gone once it is killed.
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

    /// It ended by itself: what it left goes on.
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

/// The processes that are left of a run that was killed. The first must not have been reaped yet.
pub(super) struct Remains {
    group: Option<Group>,
    leader: Pid,
}

impl Remains {
    /// Waits until nothing of it lives.
    pub(super) async fn gone(&self) {
        while self.lives() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn lives(&self) -> bool {
        match &self.group {
            Some(group) => group.is_populated(),
            None => !session(&self.leader.to_string()).is_empty(),
        }
    }

    /// One that lives, or the first of all.
    pub(super) fn process(&self) -> Pid {
        let some = match &self.group {
            Some(group) => group.processes(),
            None => session(&self.leader.to_string()),
        };
        some.first().copied().unwrap_or(self.leader)
    }
}

/// Kills the processes that a dead service left: all that were started for a resource and still
/// live. Blocks until they are gone, for some seconds at most.
pub fn clear(resource: &str) {
    let home = RUNS.get().and_then(|runs| runs.home(Some(resource)));
    let Some(home) = home.filter(Group::is_populated) else {
        return;
    };
    log::warn!("{resource}: killing what its last run left behind");
    if let Err(error) = home.kill() {
        return log::warn!("could not kill all in {}: {error}", home.path().display());
    }
    if !wait_gone(|| home.is_populated()) {
        log::warn!("{}: what was killed does not end", home.path().display());
    }
}

fn wait_gone(there: impl Fn() -> bool) -> bool {
    let until = Instant::now() + GONE;
    while there() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

/// The watcher: reads from standard input which runs are under way, and kills them when the helper
/// is gone. When all of the agent is killed on a busy machine, the kernel ends only the first
/// process of each run by itself.
pub fn watch(base: Option<PathBuf>) {
    // A signal that was sent by process name means the agent; this process ends after the agent.
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
            // Whatever it forked meanwhile.
            end(mark);
            !session(leader).is_empty()
        }
        _ => false,
    }
}

/// The live processes of a session.
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
