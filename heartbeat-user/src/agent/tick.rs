//! The tick by which the pulse, and by it the peers, see that the slow side of this agent lives.
//!
//! It is a task of its own: work that takes the reason task long must not look as if the agent hung. It stops with that
//! task all the same, once that has made no progress for `agent_stall`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use heartbeat_common::time::Boottime;
use tokio::{sync::mpsc::UnboundedSender, time::MissedTickBehavior};

use crate::{clock, dataplane::LocalView};

/// From one tick to the next at most.
const LONGEST: Duration = Duration::from_millis(50);
/// A task that waits longer than this for a processor is starved: ordinary load delays it by much less.
pub(super) const STARVED: Duration = Duration::from_millis(500);

/// When the reason task last went on.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn is_made(&self, now: Boottime) {
        self.0.store(now.as_nanos(), Relaxed);
    }

    fn last(&self) -> Boottime {
        Boottime::from_nanos(self.0.load(Relaxed))
    }
}

/// How often to tick: well within the time after which peers take this side to be stalled.
pub(super) fn period(agent_stall: Duration) -> Duration {
    (agent_stall / 8).clamp(Duration::from_millis(1), LONGEST)
}

/// Ticks from now on. Each time for which the ticks stood still for longer than [`STARVED`] goes to `pauses`. Must be
/// called inside a tokio runtime.
pub(super) fn start(
    local: LocalView,
    agent_stall: Duration,
    pauses: UnboundedSender<Duration>,
) -> Progress {
    let progress = Progress(Arc::new(AtomicU64::new(clock::now().as_nanos())));
    tokio::spawn(tick(local, agent_stall, progress.clone(), pauses));
    progress
}

async fn tick(
    local: LocalView,
    agent_stall: Duration,
    progress: Progress,
    pauses: UnboundedSender<Duration>,
) {
    let mut beat = tokio::time::interval(period(agent_stall));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = clock::now();
    loop {
        beat.tick().await;
        let now = clock::now();
        if now.since(progress.last()) > agent_stall {
            continue;
        }
        local.reason_tick(now);
        let pause = now.since(std::mem::replace(&mut last, now));
        if pause > STARVED && pauses.send(pause).is_err() {
            // The agent ends.
            return;
        }
    }
}
