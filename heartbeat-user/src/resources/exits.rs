//! Lets several tasks wait for the ends of processes, which the kernel's program reports.
//!
//! Several tasks may wait for one process. Its end then fails the checks of all of them.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
};

use heartbeat_common::wire::Health;
use tokio::sync::{mpsc, oneshot};

use crate::{
    dataplane::{Exit, ProcessExits, WatchError},
    process::{Process, process_end},
};

/// A handle for waiting tasks. The task behind it ends with the last handle.
#[derive(Clone, Debug)]
pub struct Watcher {
    asked: mpsc::UnboundedSender<Asked>,
}

#[derive(Debug)]
enum Asked {
    Watch(Process, Waiter),
    /// A task no longer waits, or its check has another meaning.
    Changed,
    /// Answered when all earlier requests have been handled.
    Settled(oneshot::Sender<()>),
}

/// A waiting task: the meaning of the process's end, and the channel to wake it.
#[derive(Debug)]
struct Waiter {
    health: Health,
    until: Until,
    wake: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The end begins.
    Ends,
    /// Only the parent's reaping is left.
    Gone,
}

/// A future end of a process. Dropping this value cancels the request.
#[derive(Debug)]
pub struct End {
    process: Process,
    wake: oneshot::Receiver<()>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Watcher {
    /// Must be called inside a tokio runtime.
    pub fn start(exits: ProcessExits) -> Self {
        let (asked, inbox) = mpsc::unbounded_channel();
        tokio::spawn(serve(exits, inbox));
        Self { asked }
    }

    /// Returns the end of `process`, which is reported as it begins. `health` is the end's meaning
    /// for the node, see [`ProcessExits::watch`].
    pub fn watch(&self, process: Process, health: Health) -> End {
        self.ask(process, health, Until::Ends)
    }

    /// Ends when all earlier cancellations have been handled.
    pub async fn settled(&self) {
        let (wake, settled) = oneshot::channel();
        let _ = self.asked.send(Asked::Settled(wake));
        let _ = settled.await;
    }

    /// Ends when only the parent's reaping of `process` is left. Fails only if the kernel refuses
    /// to watch it.
    pub(super) async fn end(&self, process: Process) -> std::io::Result<()> {
        let mut end = self.ask(process, Health::default(), Until::Gone);
        match std::future::poll_fn(|context| end.poll(context)).await {
            Ok(()) => Ok(()),
            Err(Unwatched) => process_end(process).await,
        }
    }

    fn ask(&self, process: Process, health: Health, until: Until) -> End {
        let (wake, end) = oneshot::channel();
        let waiter = Waiter {
            health,
            until,
            wake,
        };
        let _ = self.asked.send(Asked::Watch(process, waiter));
        End {
            process,
            wake: end,
            asked: self.asked.clone(),
        }
    }
}

/// The process could not be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwatched;

impl End {
    pub fn process(&self) -> Process {
        self.process
    }

    /// Ready when the process has ended; must not be polled after that.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unwatched>> {
        Pin::new(&mut self.wake)
            .poll(context)
            .map_err(|_| Unwatched)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.wake.close();
        let _ = self.asked.send(Asked::Changed);
    }
}

/// A process for which some task waits.
struct Watched {
    process: Process,
    token: u32,
    /// The meaning of its end that the kernel has.
    health: Health,
    waiters: Vec<Waiter>,
}

impl Watched {
    fn meaning(&self) -> Health {
        let all = self.waiters.iter().map(|waiter| waiter.health);
        all.fold(Health::default(), Health::and)
    }

    fn wake(self, exit: Option<Exit>) {
        let (now, later): (Vec<_>, Vec<_>) = self
            .waiters
            .into_iter()
            .partition(|waiter| exit.is_none() || waiter.until == Until::Ends);
        for waiter in now {
            let _ = waiter.wake.send(());
        }
        if let Some(exit) = exit.filter(|_| !later.is_empty()) {
            tokio::spawn(async move {
                exit.gone().await;
                for waiter in later {
                    let _ = waiter.wake.send(());
                }
            });
        }
    }
}

/// All watched processes, by their ids.
struct Service {
    exits: ProcessExits,
    watched: HashMap<u32, Watched>,
    token: u32,
}

async fn serve(exits: ProcessExits, mut inbox: mpsc::UnboundedReceiver<Asked>) {
    let mut service = Service {
        exits,
        watched: HashMap::new(),
        token: 0,
    };
    loop {
        tokio::select! {
            asked = inbox.recv() => match asked {
                Some(Asked::Watch(process, waiter)) => service.watch(process, waiter),
                Some(Asked::Changed) => service.review(),
                Some(Asked::Settled(wake)) => drop(wake.send(())),
                None => return,
            },
            exit = service.exits.next() => service.ended(exit),
        }
    }
}

impl Service {
    fn watch(&mut self, process: Process, waiter: Waiter) {
        let Ok(pid) = u32::try_from(process.pid.as_raw()) else {
            return;
        };
        match self.watched.get_mut(&pid) {
            Some(watched) if watched.process == process => {
                watched.waiters.push(waiter);
                self.review();
            }
            // The waiters of an earlier process with this id are told that it is not watched.
            _ => self.begin(pid, process, waiter),
        }
    }

    fn begin(&mut self, pid: u32, process: Process, waiter: Waiter) {
        self.token = self.token.wrapping_add(1);
        let watched = Watched {
            process,
            token: self.token,
            health: waiter.health,
            waiters: vec![waiter],
        };
        match self.exits.watch(pid, watched.token, watched.health) {
            // From here on the id belongs to the watched process. The check is whether that is the
            // requested one.
            Ok(()) if process.lives() => {
                self.watched.insert(pid, watched);
            }
            Ok(()) => {
                self.exits.unwatch(pid);
                self.watched.remove(&pid);
                watched.wake(None);
            }
            Err(WatchError::Gone { .. }) => watched.wake(None),
            Err(error @ WatchError::Refused { .. }) => log::warn!("{error}"),
        }
    }

    /// Updates the kernel's watches to the tasks that still wait.
    fn review(&mut self) {
        let Self { exits, watched, .. } = self;
        watched.retain(|pid, watched| {
            watched.waiters.retain(|waiter| !waiter.wake.is_closed());
            if watched.waiters.is_empty() {
                exits.unwatch(*pid);
                return false;
            }
            let meaning = watched.meaning();
            if meaning != watched.health {
                watched.health = meaning;
                exits.set_health(*pid, meaning);
            }
            true
        });
    }

    fn ended(&mut self, exit: Exit) {
        let found = self.watched.get(&exit.pid);
        if found.is_some_and(|watched| watched.token == exit.token)
            && let Some(watched) = self.watched.remove(&exit.pid)
        {
            watched.wake(Some(exit));
        }
    }
}
