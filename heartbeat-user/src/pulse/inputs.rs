//! What the core reads of the kernel, by the core's own traits.

use heartbeat_common::{lease::Slot, maps::PeerRow, time::Boottime, wire::GroupId};
use heartbeat_core::{Rows, cluster::Slots};

use crate::dataplane::{LeaseSlots, PeerRows};

/// The rows of the peers.
#[derive(Debug)]
pub(super) struct CoreRows<'a>(pub(super) &'a PeerRows);

impl Rows for CoreRows<'_> {
    fn row(&self, index: usize) -> PeerRow {
        self.0.row(index)
    }
}

/// The slots of this node's acceptor.
#[derive(Debug)]
pub(super) struct CoreSlots<'a>(pub(super) &'a LeaseSlots);

impl Slots for CoreSlots<'_> {
    fn slot(&self, group: GroupId) -> Slot {
        self.0.slot(group)
    }

    fn votes_from(&self) -> Boottime {
        self.0.votes_from()
    }
}
