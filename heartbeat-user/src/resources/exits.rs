//! Lets many wait for the ends of processes that the kernel program tells.
//!
//! Several may wait for the same process. Its end means for the node what it means to any of them.

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

/// A handle for those who wait. The task behind it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Watcher {
    asked: mpsc::UnboundedSender<Asked>,
}

#[derive(Debug)]
enum Asked {
    Watch(Process, Waiter),
    /// Somebody does not wait any more, or means something else by it.
    Changed,
    /// Whether all before this has been heard.
    Settled(oneshot::Sender<()>),
}

/// Who waits for the end of a process, and how to tell.
#[derive(Debug)]
struct Waiter {
    health: Health,
    until: Until,
    told: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The end begins.
    Ends,
    /// Nothing is left but what the parent has to reap.
    Gone,
}

/// The end of a process, to be waited for. Dropping it takes back what was asked.
#[derive(Debug)]
pub struct End {
    process: Process,
    told: oneshot::Receiver<()>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Watcher {
    /// Must be called inside a tokio runtime.
    pub fn start(exits: ProcessExits) -> Self {
        let (asked, inbox) = mpsc::unbounded_channel();
        tokio::spawn(serve(exits, inbox));
        Self { asked }
    }

    /// To hear of the end of `process` as it begins. `health` is what it means for the node, see
    /// [`ProcessExits::watch`].
    pub fn watch(&self, process: Process, health: Health) -> End {
        self.ask(process, health, Until::Ends)
    }

    /// Ends when all that was taken back before has been.
    pub async fn settled(&self) {
        let (told, settled) = oneshot::channel();
        let _ = self.asked.send(Asked::Settled(told));
        let _ = settled.await;
    }

    /// Ends when nothing is left of `process` but what its parent has to reap. Fails only if the
    /// kernel lets it not be watched.
    pub(super) async fn end(&self, process: Process) -> std::io::Result<()> {
        let mut end = self.ask(process, Health::default(), Until::Gone);
        match std::future::poll_fn(|context| end.poll(context)).await {
            Ok(()) => Ok(()),
            Err(Unwatched) => process_end(process).await,
        }
    }

    fn ask(&self, process: Process, health: Health, until: Until) -> End {
        let (told, end) = oneshot::channel();
        let waiter = Waiter {
            health,
            until,
            told,
        };
        let _ = self.asked.send(Asked::Watch(process, waiter));
        End {
            process,
            told: end,
            asked: self.asked.clone(),
        }
    }
}

/// It could not be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwatched;

impl End {
    pub fn process(&self) -> Process {
        self.process
    }

    /// Ready when it has come, which can be asked for once.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unwatched>> {
        Pin::new(&mut self.told)
            .poll(context)
            .map_err(|_| Unwatched)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.told.close();
        let _ = self.asked.send(Asked::Changed);
    }
}

/// A process that somebody waits for.
struct Watched {
    process: Process,
    token: u32,
    /// As the kernel has it.
    health: Health,
    waiters: Vec<Waiter>,
}

impl Watched {
    fn meaning(&self) -> Health {
        let all = self.waiters.iter().map(|waiter| waiter.health);
        all.fold(Health::default(), Health::and)
    }

    fn tell(self, exit: Option<Exit>) {
        let (now, later): (Vec<_>, Vec<_>) = self
            .waiters
            .into_iter()
            .partition(|waiter| exit.is_none() || waiter.until == Until::Ends);
        for waiter in now {
            let _ = waiter.told.send(());
        }
        if let Some(exit) = exit.filter(|_| !later.is_empty()) {
            tokio::spawn(async move {
                exit.gone().await;
                for waiter in later {
                    let _ = waiter.told.send(());
                }
            });
        }
    }
}

/// All processes that somebody waits for, by their number.
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
                Some(Asked::Settled(told)) => drop(told.send(())),
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
            // Whoever waited for an earlier process with this number finds another way.
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
            // From here on the number stays that of the process behind it: is it the one that is
            // meant?
            Ok(()) if process.lives() => {
                self.watched.insert(pid, watched);
            }
            Ok(()) => {
                self.exits.unwatch(pid);
                self.watched.remove(&pid);
                watched.tell(None);
            }
            Err(WatchError::Gone { .. }) => watched.tell(None),
            Err(error @ WatchError::Refused { .. }) => log::warn!("{error}"),
        }
    }

    /// Goes by who still waits, and for what.
    fn review(&mut self) {
        let Self { exits, watched, .. } = self;
        watched.retain(|pid, watched| {
            watched.waiters.retain(|waiter| !waiter.told.is_closed());
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
            watched.tell(Some(exit));
        }
    }
}
