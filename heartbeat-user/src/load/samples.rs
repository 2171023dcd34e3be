//! Samples that are taken one after the other, beside the task that awaits them.

use std::time::Duration;

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Interval, MissedTickBehavior, interval},
};

/// Begins a sample in each interval, unless the one before is still under way. Dropping this value
/// aborts the sample under way.
#[derive(Debug)]
pub(super) struct Samples<T> {
    ticks: Interval,
    /// The sample under way.
    pending: Option<JoinHandle<T>>,
}

impl<T> Samples<T> {
    /// Must be called inside a tokio runtime. The first sample is due at once.
    pub(super) fn each(period: Duration) -> Self {
        // A period of zero would panic.
        let mut ticks = interval(period.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            pending: None,
        }
    }

    /// Returns the next sample, which `begin` begins when it is due.
    ///
    /// Cancel-safe: a sample under way continues, and the next call returns it.
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

    /// Makes `sample` the next one, although none is due.
    pub(super) fn at_once(&mut self, sample: JoinHandle<T>) {
        self.pending = Some(sample);
    }
}

impl<T> Drop for Samples<T> {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abort();
        }
    }
}
