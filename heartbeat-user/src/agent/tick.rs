//! The tick by which the pulse, and by it the peers, see that the control task of this agent lives.
//!
//! It is a thread of its own: work that takes the control task long, or a call that keeps a worker
//! of tokio's waiting, must not look as if the agent hung. Once the control task has made no
//! progress for half of `agent_stall`, the tick shows when it last did: after `agent_stall` in all
//! it counts as hung.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use tokio::sync::mpsc::UnboundedSender;

use crate::{clock, dataplane::LocalView};

/// From one tick to the next at most.
const LONGEST: Duration = Duration::from_millis(50);
/// A thread that waits longer than this for a processor is starved: ordinary load delays it by much
/// less.
pub(super) const STARVED: Duration = Duration::from_millis(500);

/// When the control task last went on. The ticks end with it.
#[derive(Debug)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn is_made(&self, now: Boottime) {
        self.0.store(now.as_nanos(), Relaxed);
    }
}

/// How often to tick: well within the time after which peers take this side to be stalled.
pub(super) fn period(agent_stall: Duration) -> Duration {
    (agent_stall / 8).clamp(Duration::from_millis(1), LONGEST)
}

/// Ticks from now on. Each time for which this thread stood still for longer than [`STARVED`] goes
/// to `pauses`.
pub(super) fn start(
    local: LocalView,
    agent_stall: Duration,
    pauses: UnboundedSender<Duration>,
) -> Result<Progress> {
    let progress = Arc::new(AtomicU64::new(clock::now().as_nanos()));
    let seen = Arc::clone(&progress);
    thread::Builder::new()
        .name("tick".to_owned())
        .spawn(move || tick(&local, agent_stall, &seen, &pauses))
        .context("could not start the thread that shows that the agent lives")?;
    Ok(Progress(progress))
}

fn tick(
    local: &LocalView,
    agent_stall: Duration,
    progress: &Arc<AtomicU64>,
    pauses: &UnboundedSender<Duration>,
) {
    let mut last = clock::now();
    while Arc::strong_count(progress) > 1 {
        let now = clock::now();
        let went_on = Boottime::from_nanos(progress.load(Relaxed));
        local.reason_tick(shown(went_on, now, agent_stall));
        let pause = now.since(std::mem::replace(&mut last, now));
        if pause > STARVED {
            // The agent may be about to end.
            let _ = pauses.send(pause);
        }
        thread::sleep(period(agent_stall));
    }
}

/// When the control task last lived, as the pulse and the peers are to see it at `now`: it last
/// `went_on` then.
fn shown(went_on: Boottime, now: Boottime, agent_stall: Duration) -> Boottime {
    match now.since(went_on) <= agent_stall / 2 {
        true => now,
        false => went_on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_side_that_hangs_is_stalled_within_agent_stall_of_its_last_progress() {
        let stall = Duration::from_secs(2);
        let went_on = Boottime::from_nanos(7_000_000_000);
        let age = |millis| {
            let now = went_on.after(Duration::from_millis(millis));
            now.since(shown(went_on, now, stall))
        };
        for busy in [0, 100, 500, 1_000] {
            assert_eq!(age(busy), Duration::ZERO, "busy for {busy} ms");
        }
        assert!(age(1_999) < stall);
        for hangs in [1_001, 2_000, 2_001, 60_000] {
            assert_eq!(age(hangs), Duration::from_millis(hangs));
        }
    }
}
