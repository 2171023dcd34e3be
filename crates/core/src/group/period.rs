//! A time in which no node has a lease, and the one stall of this node that prolongs the waits in
//! it.
//!
//! A node that stalled may only have to wait for another moment, because the other nodes may have
//! stalled with it. The extension must be granted once: an agent whose every wake-up is late would
//! otherwise wait for ever.

use std::time::Duration;

use heartbeat_common::time::Boottime;

#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) since: Boottime,
    /// The end of the first stall that reached into the period.
    woken_at: Option<Boottime>,
}

impl Period {
    pub(super) const fn since(since: Boottime) -> Self {
        Self {
            since,
            woken_at: None,
        }
    }

    /// The start of the period, or `moment` after the end of the first stall if that is later. The
    /// last stall of this node ended at `woke_at`.
    pub(super) fn or_woken(&mut self, woke_at: Boottime, moment: Duration) -> Boottime {
        if self.woken_at.is_none() && woke_at.after(moment) > self.since {
            self.woken_at = Some(woke_at);
        }
        self.woken_at
            .map_or(self.since, |woken_at| woken_at.after(moment))
    }
}
