//! The slots of this node's acceptor, and the path of its peers' votes to the agent.
//!
//! `heartbeat_common::lease` alone decides; this file has the lock around it.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, bpf_spin_lock},
    helpers::generated::{bpf_spin_lock as lock, bpf_spin_unlock as unlock},
};
use heartbeat_common::{
    lease::{Answer, Slot},
    maps::VoteEvent,
    wire::{GroupId, LeaseEntry, MAX_LEASES},
};

use crate::{
    counters,
    maps::{LEASES, LeaseRow, VOTES},
};

/// Runs `decide` on the slot of `group` under its lock. `None` if there is no room for a slot.
#[inline(always)]
pub(crate) fn locked(group: GroupId, decide: impl FnOnce(&mut Slot) -> Answer) -> Option<Answer> {
    let key = u32::from(group.0);
    let row = match LEASES.get_ptr_mut(key) {
        Some(row) => row,
        None => {
            let empty = LeaseRow {
                lock: bpf_spin_lock { val: 0 },
                reserved: 0,
                slot: Slot {
                    owner: 0,
                    successor: 0,
                    promised: 0,
                    ballot: 0,
                    expires: 0,
                },
            };
            // Another CPU may have been faster. Then the slot exists, and this insertion fails.
            let _ = LEASES.insert(key, &empty, BPF_NOEXIST.into());
            LEASES.get_ptr_mut(key)?
        }
    };
    // SAFETY: `row` points to a map value, which lives as long as the program and is changed under
    // its lock only. No helper is called between the two calls.
    unsafe {
        lock(&raw mut (*row).lock);
        let answer = decide(&mut (*row).slot);
        unlock(&raw mut (*row).lock);
        Some(answer)
    }
}

/// Passes the event that `fill` writes to the agent. If the ring is full, the votes are lost, as on
/// the wire, and counted.
#[inline(always)]
pub(crate) fn tell(fill: impl FnOnce(&mut VoteEvent) -> Option<bool>) {
    let Some(mut event) = VOTES.reserve(0) else {
        return counters::count_lost_votes();
    };
    let told = fill(event.write(VoteEvent {
        row: 0,
        count: 0,
        sequence: 0,
        t1: 0,
        entries: [LeaseEntry {
            group: 0,
            operation: 0,
            vote: 0,
            micros: 0,
            ballot: 0,
        }; MAX_LEASES],
    }));
    match told {
        Some(true) => event.submit(BPF_RB_FORCE_WAKEUP.into()),
        Some(false) => event.submit(BPF_RB_NO_WAKEUP.into()),
        None => event.discard(0),
    }
}
