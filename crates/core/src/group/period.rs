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
    stall_end: Option<Boottime>,
}

impl Period {
    pub(super) const fn since(since: Boottime) -> Self {
        Self {
            since,
            stall_end: None,
        }
    }

    /// The start of the period, or `moment` after the end of the first stall if that is later. The
    /// last stall of this node ended at `stalled_until`.
    pub(super) fn or_stall_end(&mut self, stalled_until: Boottime, moment: Duration) -> Boottime {
        if self.stall_end.is_none() && stalled_until.after(moment) > self.since {
            self.stall_end = Some(stalled_until);
        }
        self.stall_end
            .map_or(self.since, |stall_end| stall_end.after(moment))
    }
}
