//! The counters of the programs, on each CPU apart.

use heartbeat_common::{
    maps::arrival_slot,
    verdict::{self, Verdict},
};

use crate::maps::{ARRIVALS, COUNTERS};

#[inline(always)]
pub(crate) fn count(verdict: Verdict) {
    add_one(verdict as u32);
}

/// Counts votes that the agent does not receive.
#[inline(always)]
pub(crate) fn count_lost_votes() {
    add_one(verdict::VOTES_LOST);
}

#[inline(always)]
fn add_one(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: this CPU's slot; programs of one CPU do not preempt each other on it.
        unsafe { *counter += 1 };
    }
}

/// Counts a frame that arrived on the interface with this index.
#[inline(always)]
pub(crate) fn arrived(ifindex: u32) {
    if let Some(counter) = ARRIVALS.get_ptr_mut(arrival_slot(ifindex)) {
        // SAFETY: as in `add_one`.
        unsafe { *counter += 1 };
    }
}
