//! The tick that shows the pulse, and through it the peers, that the control task is alive.
//!
//! The tick runs in a thread of its own: long work in the control task, or a call that blocks a
//! tokio worker, must not look like a hung agent. After half of `agent_stall` without progress of
//! the control task, the tick shows the time of the last progress. The task therefore counts as
//! hung after `agent_stall` in all.
//!
//! The control task shows its progress itself, too. Beside real-time tasks that take all
//! processors, either thread gets a turn about once in a second: progress that waited for the next
//! tick would be shown a second late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use tokio::sync::mpsc::UnboundedSender;

use crate::{clock, dataplane::LocalView};

/// The longest time between two ticks.
const LONGEST: Duration = Duration::from_millis(50);
/// The longest normal wait for a processor. A thread that waits longer is starved: ordinary load
/// delays it by much less.
pub(super) const STARVED: Duration = Duration::from_millis(500);

/// The control task's last progress. The ticks end when this value is dropped.
#[derive(Debug)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The time of the last progress, in nanoseconds.
    at: AtomicU64,
    local: LocalView,
}

impl Progress {
    pub(super) fn is_made(&self, now: Boottime) {
        self.0.at.store(now.as_nanos(), SeqCst);
        self.0.local.reason_tick(now);
    }
}

impl Shared {
    fn progress(&self) -> Boottime {
        Boottime::from_nanos(self.at.load(SeqCst))
    }

    /// Shows the control task's state at `now`.
    fn show(&self, now: Boottime, agent_stall: Duration) {
        let mut went_on = self.progress();
        loop {
            self.local.reason_tick(shown(went_on, now, agent_stall));
            // The control task may have shown newer progress in between.
            match self.progress() {
                same if same == went_on => return,
                newer => went_on = newer,
            }
        }
    }
}

/// Returns the tick period: well below the time after which peers treat this side as stalled.
pub(super) fn period(agent_stall: Duration) -> Duration {
    (agent_stall / 8).clamp(Duration::from_millis(1), LONGEST)
}

/// Starts the ticks. Each pause of this thread longer than [`STARVED`] goes to `pauses`.
pub(super) fn start(
    local: LocalView,
    agent_stall: Duration,
    pauses: UnboundedSender<Duration>,
) -> Result<Progress> {
    let progress = Arc::new(Shared {
        at: AtomicU64::new(clock::now().as_nanos()),
        local,
    });
    let seen = Arc::clone(&progress);
    thread::Builder::new()
        .name("tick".to_owned())
        .spawn(move || tick(agent_stall, &seen, &pauses))
        .context("could not start the tick thread")?;
    Ok(Progress(progress))
}

fn tick(agent_stall: Duration, progress: &Arc<Shared>, pauses: &UnboundedSender<Duration>) {
    let mut last = clock::now();
    while Arc::strong_count(progress) > 1 {
        let now = clock::now();
        progress.show(now, agent_stall);
        let pause = now.since(std::mem::replace(&mut last, now));
        if pause > STARVED {
            // The agent may be ending.
            let _ = pauses.send(pause);
        }
        thread::sleep(period(agent_stall));
    }
}

/// Returns the time of the last progress to show at `now`, if the control task last `went_on` then.
fn shown(went_on: Boottime, now: Boottime, agent_stall: Duration) -> Boottime {
    match now.since(went_on) <= agent_stall / 2 {
        true => now.max(went_on),
        false => went_on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hung_control_task_counts_as_stalled_within_agent_stall_of_its_last_progress() {
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
        let later = went_on.after(Duration::from_millis(1));
        assert_eq!(
            shown(later, went_on, stall),
            later,
            "progress is not taken back"
        );
        for hangs in [1_001, 2_000, 2_001, 60_000] {
            assert_eq!(age(hangs), Duration::from_millis(hangs));
        }
    }
}
