//! The pause of a node after contests that it lost.

use std::time::Duration;

/// The longest pause is two to this power intervals.
const MOST: u32 = 4;

/// The number of lost contests since the last one that was won.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    lost: u32,
}

impl Backoff {
    /// Records one more lost contest. Returns the pause before the next claim.
    pub(super) fn lose(&mut self, interval: Duration) -> Duration {
        self.lost = (self.lost + 1).min(MOST);
        interval * 2_u32.pow(self.lost)
    }

    pub(super) fn win(&mut self) {
        self.lost = 0;
    }
}
