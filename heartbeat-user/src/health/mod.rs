//! The health of this node: checks that fate-share with its leases.
//!
//! Each check looks again and again, by itself: one that hangs holds up neither the others nor the
//! runtime. What the looks amount to is summed up to the [`Health`] that rides in the heartbeats.
//! What follows from it, for leases and placement, is for others to say.
//!
//! A check of which nothing is known yet counts as failing if it is fatal, so that a node that
//! starts unwell takes nothing before the first look has ended; where checks are exchanged at a
//! reload it counts as well, since a node that serves is not to be doubted for being asked one
//! question more.

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

/// What one look has found: good or bad, and a word on it.
pub(crate) type Verdict = Result<String, String>;

/// One look under way.
type Sampling = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// What the checks are made with.
#[derive(Clone, Debug)]
pub struct Means {
    /// Tells of the ends of processes.
    pub watcher: Watcher,
    /// D-Bus address of systemd; the system bus if not given.
    pub bus: Option<String>,
    /// In the name of the file that a disk check writes: nobody else who writes there may have the
    /// same.
    pub mark: String,
}

/// What is told, as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is this from here on. Told at the start, too; and again with nothing changed, where the
    /// kernel may have said what is not so. So each is to be gone by, not only the latest.
    Sum(Sum),
    /// A check has failed, or is well again.
    Turn(Turn),
}

/// What all checks amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub health: Health,
    /// The checks whose process the kernel watches: what it says of any other is to be taken back,
    /// see [`LocalView::set_health`](crate::dataplane::LocalView::set_health).
    pub watched: Health,
}

/// A check has changed its mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub name: String,
    pub number: usize,
    pub meaning: Meaning,
    pub well: bool,
    /// Of the look that did it.
    pub message: String,
    pub at: Boottime,
}

/// How a check stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub number: usize,
    /// As the configuration calls it.
    pub kind: &'static str,
    pub meaning: Meaning,
    pub state: State,
    /// When the state began.
    pub since: Boottime,
    /// Of the latest look; empty before the first has ended.
    pub message: String,
}

/// The checks of a node, running. They end when this drops; no further notice is given then.
#[derive(Debug)]
pub struct Checks {
    board: Arc<Board>,
    means: Means,
    disks: Disks,
    /// By number: the ticket and the task of each check.
    running: Vec<(u64, JoinHandle<()>)>,
    last_ticket: u64,
}

impl Checks {
    /// Starts to look. `tell` is called from the tasks of the runtime and from here: it must
    /// neither wait nor call back. Of `list` the first [`Health::MAX_CHECKS`] are heeded, which are
    /// all that the configuration allows.
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

    /// Goes on with other checks. One that is the same goes on as it is; one of the same name keeps
    /// its state until it has another; a new one counts as well until it has a verdict.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn replace(&mut self, list: &[HealthCheck]) {
        self.exchange(list, true);
    }

    /// What they amount to now.
    pub fn sum(&self) -> Sum {
        self.board.sum()
    }

    /// Of all checks, by number.
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

    /// Ends these tasks, and says when nothing is left of them: only then may others watch
    /// processes for checks with their numbers, since until then the kernel may say something in
    /// their name.
    fn end(&self, tasks: Vec<(u64, JoinHandle<()>)>) -> watch::Receiver<bool> {
        let (gone, go) = watch::channel(tasks.is_empty());
        for (_, task) in &tasks {
            task.abort();
        }
        if !tasks.is_empty() {
            let (board, watcher) = (Arc::clone(&self.board), self.means.watcher.clone());
            tokio::spawn(async move {
                for (_, task) in tasks {
                    // It was ended, which is an error.
                    let _ = task.await;
                }
                watcher.settled().await;
                board.tell_again();
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
