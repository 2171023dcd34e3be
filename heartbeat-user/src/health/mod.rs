//! The health of this node: checks that share the fate of its leases.
//!
//! Each check polls by itself, so one that hangs delays neither the others nor the runtime. The
//! results are summed up to the [`Health`] that heartbeats carry. Leases and placement act on it
//! elsewhere.
//!
//! A fatal check without a result counts as failing at the start. So a node that starts unhealthy
//! acquires nothing before the first result. A check that a reload adds counts as passing until its
//! first result: a new check alone does not make a serving node unhealthy.

mod blocking;
mod board;
mod disk;
mod http;
mod hysteresis;
mod interface;
mod kinds;
mod process;
mod runner;
mod sampler;
mod tcp;

use std::{pin::Pin, sync::Arc};

use heartbeat_common::{time::Boottime, wire::Health};
use tokio::{sync::watch, task::JoinHandle};

pub use self::hysteresis::{Hysteresis, State};
use self::{
    board::{Board, Entry},
    disk::Disks,
    runner::Runner,
};
use crate::{
    config::{HealthCheck, Meaning},
    resources::Watcher,
};

/// The result of one check: success or failure, each with a message.
pub(crate) type Verdict = Result<String, String>;

/// One check under way.
type Sampling = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// What the checks need of the process.
#[derive(Clone, Debug)]
pub struct Means {
    /// Reports the ends of processes.
    pub watcher: Watcher,
    /// D-Bus address of systemd; `None` is the system bus.
    pub bus: Option<String>,
    /// Part of the name of the file that a disk check writes. No other process that writes there
    /// may use the same.
    pub mark: String,
}

/// A report to the owner of the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The sum from now on. The first one comes at the start. An unchanged sum comes again where
    /// the kernel may have set a wrong one, so each notice must be applied, not only the latest.
    Sum(Sum),
    /// A check has failed, or passes again.
    Turn(Turn),
}

/// The sum of all checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub health: Health,
    /// The checks whose process the kernel watches. The kernel's report on any other check must be
    /// taken back, see [`LocalView::set_health`](crate::dataplane::LocalView::set_health).
    pub watched: Health,
}

/// A change of a check's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub name: String,
    pub number: usize,
    pub meaning: Meaning,
    pub well: bool,
    /// The message of the result that changed the state.
    pub message: String,
    pub at: Boottime,
}

/// The state of a check, for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub number: usize,
    /// The check's kind by its name in the configuration.
    pub kind: &'static str,
    pub meaning: Meaning,
    pub state: State,
    /// Begin of the state.
    pub since: Boottime,
    /// The message of the latest result; empty before the first.
    pub message: String,
}

/// The running checks of a node. They end when this value is dropped; no notice is given after
/// that.
#[derive(Debug)]
pub struct Checks {
    board: Arc<Board>,
    means: Means,
    disks: Disks,
    /// The ticket and the task of each check, by number.
    running: Vec<(u64, JoinHandle<()>)>,
    last_ticket: u64,
}

impl Checks {
    /// Starts the checks. `tell` is called from tasks of the runtime and from this thread: it must
    /// neither wait nor call back. Only the first [`Health::MAX_CHECKS`] of `list` run; the
    /// configuration allows no more.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        list: &[HealthCheck],
        means: Means,
        tell: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Self {
        let mut checks = Self {
            board: Arc::new(Board::new(Box::new(tell))),
            means,
            disks: Disks::default(),
            running: Vec::new(),
            last_ticket: 0,
        };
        checks.exchange(list, false);
        checks
    }

    /// Replaces the checks. An unchanged check continues. A changed check of the same name keeps
    /// its state until it has a new one. A new check counts as passing until it has a state.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn replace(&mut self, list: &[HealthCheck]) {
        self.exchange(list, true);
    }

    /// Returns the present sum.
    pub fn sum(&self) -> Sum {
        self.board.sum()
    }

    /// Returns the states of all checks, by number.
    pub fn snapshot(&self) -> Vec<Status> {
        self.board.statuses()
    }

    fn exchange(&mut self, list: &[HealthCheck], trusted: bool) {
        let before = self.board.entries();
        let mut stopped = std::mem::take(&mut self.running);
        let mut entries = Vec::new();
        let mut begin = Vec::new();
        for (number, check) in list.iter().take(Health::MAX_CHECKS).enumerate() {
            let old = before.iter().find(|old| old.check.name == check.name);
            let same = before.get(number).filter(|old| old.check == *check);
            if let Some(entry) = same
                && let Some(at) = stopped.iter().position(|(t, _)| *t == entry.ticket)
            {
                self.running.push(stopped.swap_remove(at));
                entries.push(entry.clone());
                continue;
            }
            self.last_ticket += 1;
            let trusted = trusted && !old.is_some_and(Entry::counts);
            let mut entry = Entry::new(check.clone(), self.last_ticket, trusted);
            if let Some(old) = old {
                (entry.hysteresis, entry.since) = (old.hysteresis, old.since);
                entry.message.clone_from(&old.message);
            }
            begin.push(Runner {
                board: Arc::clone(&self.board),
                ticket: entry.ticket,
                number,
                check: check.clone(),
            });
            entries.push(entry);
        }
        self.board.set(entries);
        let go = self.end(stopped);
        for runner in begin {
            let ticket = runner.ticket;
            let work = kinds::run(runner, &self.means, &self.disks);
            let mut go = go.clone();
            let task = tokio::spawn(async move {
                // An error means that the runtime ends.
                let _ = go.wait_for(|go| *go).await;
                work.await;
            });
            self.running.push((ticket, task));
        }
        self.disks.prune();
    }

    /// Ends these tasks, and reports when all are gone. Only then may other checks with their
    /// numbers watch processes: until then the kernel may still report an end under such a number.
    fn end(&self, tasks: Vec<(u64, JoinHandle<()>)>) -> watch::Receiver<bool> {
        let (gone, go) = watch::channel(tasks.is_empty());
        for (_, task) in &tasks {
            task.abort();
        }
        if !tasks.is_empty() {
            let (board, watcher) = (Arc::clone(&self.board), self.means.watcher.clone());
            tokio::spawn(async move {
                for (_, task) in tasks {
                    // The task was aborted, which is an error here.
                    let _ = task.await;
                }
                watcher.settled().await;
                board.report_again();
                let _ = gone.send(true);
            });
        }
        go
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        for (_, task) in &self.running {
            task.abort();
        }
    }
}
