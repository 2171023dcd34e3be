//! Checks whether a process lives. Its end fails the check at once, whatever its `fall`. The kernel
//! reports the end: heartbeats carry the failure before the agent has received it.
//!
//! With several processes of the name none of them matters alone. The kernel then gets no meaning
//! for their ends, and the agent fails the check when the last one has ended. Once a poll finds a
//! single process, the kernel gets its meaning.
//!
//! If a pidfile names another process at the next poll, the check follows it.

mod find;

use std::{future::poll_fn, task::Poll};

use heartbeat_common::wire::Health;
use nix::unistd::Pid;
use tokio::{select, time::timeout};

use self::find::Finder;
use super::{Means, runner::Runner};
use crate::{
    config::{Meaning, ProcessName},
    process::Process,
    resources::{End, Watcher},
};

/// Limit for watched processes of one name, since each takes a file descriptor. More are only
/// polled.
const MOST_WATCHED: usize = 8;

/// Runs the check. Never ends. The future can be dropped at any await.
pub(super) async fn run(runner: &Runner, name: &ProcessName, means: Means) {
    let finder = Finder::new(name, means.bus);
    let limit = runner.check.timeout;
    let mut known = Known {
        runner,
        watcher: means.watcher,
        lives: Vec::new(),
    };
    loop {
        let still_there = finder.is_for_good().then(|| known.still_there()).flatten();
        let found = async {
            if let Some(processes) = still_there {
                return Ok(processes);
            }
            match timeout(limit, finder.sample()).await {
                Ok(found) => found,
                Err(_) => Err(format!("took longer than {limit:?} to look for it")),
            }
        };
        // An end is received also during the search.
        let found = select! {
            biased;
            pid = known.next_end() => Err(pid),
            found = found => Ok(found),
        };
        let ended = match found {
            Err(pid) => Some(pid),
            Ok(found) => {
                known.judge(found).await;
                select! {
                    pid = known.next_end() => Some(pid),
                    () = runner.pause() => None,
                }
            }
        };
        if let Some(pid) = ended {
            known.lost(pid);
        }
    }
}

/// The check's processes that are not known to have ended.
struct Known<'a> {
    runner: &'a Runner,
    watcher: Watcher,
    lives: Vec<Live>,
}

struct Live {
    process: Process,
    /// The checks that the kernel fails at the process's end.
    health: Health,
    /// The process's end; `None` if it cannot be watched: the next poll then finds it.
    end: Option<End>,
}

impl Known<'_> {
    /// Returns the next process that ends. The future can be dropped at any await.
    async fn next_end(&mut self) -> Pid {
        poll_fn(|context| {
            for live in &mut self.lives {
                match live.end.as_mut().map(|end| end.poll(context)) {
                    Some(Poll::Ready(Ok(()))) => return Poll::Ready(live.process.pid),
                    Some(Poll::Ready(Err(_))) => live.end = None,
                    Some(Poll::Pending) | None => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Returns all known processes, if all live.
    fn still_there(&self) -> Option<Vec<Process>> {
        let processes: Vec<_> = self.lives.iter().map(|live| live.process).collect();
        let live = !processes.is_empty() && processes.iter().all(|process| process.lives());
        live.then_some(processes)
    }

    /// Handles the end of a process.
    fn lost(&mut self, pid: Pid) {
        self.lives.retain(|live| live.process.pid != pid);
        let Runner { board, ticket, .. } = self.runner;
        if self.lives.is_empty() {
            board.fail(*ticket, format!("process {pid} has ended"));
        } else {
            // The kernel may have had the process as the only one a moment ago.
            board.unwatched(*ticket);
        }
    }

    /// Adds a result. While a known process lives, the result is a success even if the search found
    /// none: a process does not end with its pidfile.
    async fn judge(&mut self, found: Result<Vec<Process>, String>) {
        let complaint = match found {
            Ok(processes) if !processes.is_empty() => {
                self.keep(&processes).await;
                None
            }
            Ok(_) => Some("there is no such process".to_owned()),
            Err(complaint) => Some(complaint),
        };
        if let Some(complaint) = complaint {
            let ended = self.lives.iter().find(|live| !live.process.lives());
            if let Some(pid) = ended.map(|live| live.process.pid) {
                self.lost(pid);
                return;
            }
            if self.lives.is_empty() {
                self.runner.note(Err(complaint));
                return;
            }
        }
        self.runner.note(Ok(match &self.lives[..] {
            [live] => format!("process {}", live.process.pid),
            many => format!("{} processes", many.len()),
        }));
    }

    /// Watches these processes, and no others.
    async fn keep(&mut self, processes: &[Process]) {
        let fatal = self.runner.check.meaning == Meaning::Fatal;
        let health = match processes {
            [_only] => Health::of(self.runner.number, fatal),
            _ => Health::default(),
        };
        let Runner { board, ticket, .. } = self.runner;
        let mut had_meaning = false;
        self.lives.retain(|live| {
            let kept = processes.contains(&live.process);
            had_meaning |= !kept && !live.health.is_well();
            kept
        });
        if had_meaning {
            // A late report of the kernel on the earlier process must not count for its successor.
            self.watcher.settled().await;
            board.unwatched(*ticket);
        }
        board.watched(*ticket, !health.is_well());
        for process in processes {
            let known = self.lives.iter().position(|live| live.process == *process);
            if known.is_some_and(|at| self.lives[at].health == health) {
                continue;
            }
            let live = Live {
                process: *process,
                health,
                end: (processes.len() <= MOST_WATCHED)
                    .then(|| self.watcher.watch(*process, health)),
            };
            match known {
                // The earlier watch is dropped only now, so the process is never without one.
                Some(at) => self.lives[at] = live,
                None => self.lives.push(live),
            }
        }
    }
}
