//! Reports that this agent got no processor for long, and which real-time task ran instead.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use tokio::{sync::mpsc::UnboundedSender, task::spawn_blocking};

use super::ControlTask;
use crate::{
    agent::view,
    clock,
    control::protocol::{self, EventKind},
    load::culprit,
    messages::ResourceCommand,
};

/// The shortest time between two searches: each reads the times of all tasks of the host.
const AGAIN: Duration = Duration::from_secs(10);

/// A pause, and its cause if the search found one.
#[derive(Debug)]
pub(super) struct Found {
    at: Boottime,
    pause: Duration,
    culprits: Option<String>,
}

/// The starts of searches for causes, and the channel for their results.
#[derive(Debug)]
pub(super) struct Search {
    last: Option<Boottime>,
    found: UnboundedSender<Found>,
}

impl Search {
    pub(super) fn new(found: UnboundedSender<Found>) -> Self {
        Self { last: None, found }
    }

    /// Begins to search for the cause of a pause that ended now, unless the last search was recent.
    fn begin(&mut self, pause: Duration, at: Boottime) {
        if self.last.is_some_and(|last| at.since(last) < AGAIN) {
            return;
        }
        self.last = Some(at);
        let found = self.found.clone();
        spawn_blocking(move || {
            let culprits = culprit::find();
            // The agent may have ended.
            let _ = found.send(Found {
                at,
                pause,
                culprits,
            });
        });
    }
}

impl ControlTask<'_> {
    /// Handles a pause in which the tick thread got no processor.
    pub(super) fn pause_ended(&mut self, pause: Duration) {
        if pause > self.config.agent_stall {
            log::warn!(
                "agent got no CPU for {} ms (agent_stall is {} ms): peers may have taken over its \
                 groups. Check for other real-time tasks",
                pause.as_millis(),
                self.config.agent_stall.as_millis()
            );
            self.commands.send(ResourceCommand::Reassert);
        }
        self.search.begin(pause, clock::now());
    }

    /// Logs the cause of a pause, once the search for it has ended.
    pub(super) fn explain_pause(&mut self, found: Found) {
        let Found {
            at,
            pause,
            culprits,
        } = found;
        let reason = culprits.unwrap_or_else(|| {
            "no real-time task runs any more that would explain it (see the load, and steal \
             time)"
                .to_owned()
        });
        let pause_ns = pause.as_nanos() as u64;
        view::lock(&self.view).vitals.starved(protocol::Starved {
            at_ns: at.as_nanos(),
            pause_ns,
            reason: reason.clone(),
        });
        self.note(at, EventKind::Starved { pause_ns, reason });
    }
}
