//! Samples that are had beside whoever waits for them, one after the other.

use std::time::Duration;

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Interval, MissedTickBehavior, interval},
};

/// Begins a look in each interval, unless the one before has not ended. When this drops, one that is under
/// way is given up.
#[derive(Debug)]
pub(super) struct Samples<T> {
    ticks: Interval,
    /// A look that is under way.
    pending: Option<JoinHandle<T>>,
}

impl<T> Samples<T> {
    /// Must be called inside a tokio runtime. The first look is due at once.
    pub(super) fn each(period: Duration) -> Self {
        // A zero would panic.
        let mut ticks = interval(period.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            pending: None,
        }
    }

    /// What the next look saw, which `begin` begins when it is due.
    ///
    /// Cancel-safe: a look that is under way goes on, and the next call takes what it saw.
    pub(super) async fn next(
        &mut self,
        begin: impl FnOnce() -> JoinHandle<T>,
    ) -> Result<T, JoinError> {
        let pending = match &mut self.pending {
            Some(pending) => pending,
            none => {
                self.ticks.tick().await;
                none.insert(begin())
            }
        };
        let seen = pending.await;
        self.pending = None;
        seen
    }

    /// The next look is this one, and not when it is due.
    pub(super) fn at_once(&mut self, look: JoinHandle<T>) {
        self.pending = Some(look);
    }
}

impl<T> Drop for Samples<T> {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abort();
        }
    }
}
