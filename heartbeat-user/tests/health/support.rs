//! A node's checks and their notices.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, Meaning},
    dataplane::ProcessExits,
    health::{Checks, Means, Notice, State, Status, Turn},
    resources::Watcher,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// Limit for anything that must happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SHORT: Duration = Duration::from_millis(20);
/// Longer than any test.
pub(crate) const NEVER: Duration = Duration::from_secs(3_600);

/// Returns a fatal check with a short interval, a long timeout, and a rise and fall of 1.
pub(crate) fn check(kind: HealthKind) -> HealthCheck {
    HealthCheck {
        name: "check".to_owned(),
        kind,
        interval: SHORT,
        timeout: PATIENCE,
        rise: 1,
        fall: 1,
        meaning: Meaning::Fatal,
    }
}

/// Running checks.
pub(crate) struct Node {
    pub(crate) checks: Checks,
    told: mpsc::UnboundedReceiver<Notice>,
}

impl Node {
    pub(crate) fn new(list: &[HealthCheck]) -> Self {
        Self::with_bus(list, None)
    }

    pub(crate) fn with_bus(list: &[HealthCheck], bus: Option<String>) -> Self {
        let means = Means {
            watcher: Watcher::start(ProcessExits::by_pidfd()),
            bus,
            mark: "here".to_owned(),
        };
        let (tell, told) = mpsc::unbounded_channel();
        let checks = Checks::start(list, means, move |notice| {
            // The send fails only after the test.
            let _ = tell.send(notice);
        });
        Self { checks, told }
    }

    /// Returns the next change of a check's state.
    pub(crate) async fn turn(&mut self) -> Turn {
        loop {
            let notice = timeout(PATIENCE, self.told.recv()).await;
            if let Notice::Turn(turn) = notice.expect("a turn").unwrap() {
                return turn;
            }
        }
    }

    /// Asserts that the next change is to this state.
    pub(crate) async fn turns(&mut self, well: bool) -> Turn {
        let turn = self.turn().await;
        assert_eq!(turn.well, well, "{turn:?}");
        turn
    }

    /// Asserts that no check has changed since the last turn.
    pub(crate) fn has_not_turned(&mut self) {
        while let Ok(notice) = self.told.try_recv() {
            assert!(!matches!(notice, Notice::Turn(_)), "{notice:?}");
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.checks.snapshot().swap_remove(0)
    }

    pub(crate) fn health(&self) -> Health {
        self.checks.sum().health
    }

    /// Waits until the first check is in this state.
    pub(crate) async fn is(&self, state: State) {
        eventually(state.as_str(), || {
            (self.status().state == state).then_some(())
        })
        .await;
    }
}

/// Waits until `attempt` returns a value.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A directory of a test, removed with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("heartbeat-health-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of a test, ended with this value.
pub(crate) struct Victim(Child);

impl Victim {
    pub(crate) fn start() -> Self {
        Self::of(Command::new("sleep").arg("600"))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
    }
}

/// Prints directly, since the test harness hides the output of passing tests.
pub(crate) fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {reason}");
}
