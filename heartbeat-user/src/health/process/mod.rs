//! Whether a process lives. Its end fails the check at once, whatever its `fall`: the kernel tells of it, and
//! heartbeats say so from then on, before the agent has heard.
//!
//! Where there is more than one process of the name, none of them alone matters, so the kernel is told
//! nothing, and the agent decides when the last one has ended. Once a look finds a single one, the kernel is told.
//! A pidfile that names another process by the next look is followed.

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

/// More processes of one name than this are looked at only: each that is watched takes a file descriptor.
const MOST_WATCHED: usize = 8;

/// Never ends. Can be dropped at any await.
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
        let looked = async {
            if let Some(processes) = still_there {
                return Ok(processes);
            }
            match timeout(limit, finder.sample()).await {
                Ok(found) => found,
                Err(_) => Err(format!("took longer than {limit:?} to look for it")),
            }
        };
        // An end is heard of while others are looked for, too.
        let looked = select! {
            biased;
            pid = known.next_end() => Err(pid),
            looked = looked => Ok(looked),
        };
        let ended = match looked {
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

/// The processes that the check is about, as far as they are known to live.
struct Known<'a> {
    runner: &'a Runner,
    watcher: Watcher,
    lives: Vec<Live>,
}

struct Live {
    process: Process,
    /// What its end means to the kernel.
    health: Health,
    /// `None` if it cannot be watched: then its end is seen by the next look.
    end: Option<End>,
}

impl Known<'_> {
    /// The next process that ends. Can be dropped at any await.
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

    /// All that are known, if they live.
    fn still_there(&self) -> Option<Vec<Process>> {
        let processes: Vec<_> = self.lives.iter().map(|live| live.process).collect();
        let live = !processes.is_empty() && processes.iter().all(|process| process.lives());
        live.then_some(processes)
    }

    /// One has ended.
    fn lost(&mut self, pid: Pid) {
        self.lives.retain(|live| live.process.pid != pid);
        let Runner { board, ticket, .. } = self.runner;
        if self.lives.is_empty() {
            board.fail(*ticket, format!("process {pid} has ended"));
        } else {
            // The kernel may have taken it for the only one a moment ago.
            board.unwatched(*ticket);
        }
    }

    /// Counts a look. While one lives that is known, it is good even if it found nobody: a process does not end
    /// with its pidfile.
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
        let mut spoke = false;
        self.lives.retain(|live| {
            let kept = processes.contains(&live.process);
            spoke |= !kept && !live.health.is_well();
            kept
        });
        if spoke {
            // What the kernel said of the one before, perhaps only now, is not said of the one that follows.
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
                // Only now the earlier watch is dropped: it is never unwatched.
                Some(at) => self.lives[at] = live,
                None => self.lives.push(live),
            }
        }
    }
}
