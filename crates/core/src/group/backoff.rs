//! How long a node makes way after contests that it lost.

use std::time::Duration;

/// The longest pause is two to this power intervals.
const MOST: u32 = 4;

/// Contests that were lost since one was won.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    lost: u32,
}

impl Backoff {
    /// One more was lost: the pause before the next.
    pub(super) fn lose(&mut self, interval: Duration) -> Duration {
        self.lost = (self.lost + 1).min(MOST);
        interval * 2_u32.pow(self.lost)
    }

    pub(super) fn win(&mut self) {
        self.lost = 0;
    }
}
