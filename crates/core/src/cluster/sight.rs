//! What one step knows of the other nodes and of this node's own acceptor, looked up by node or
//! lease.

use heartbeat_common::{
    lease::Slot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use super::{Distance, ReadSlot, reach::Road};
use crate::{index::Seat, peer::Peer, report::Reported};

/// The peers as they were seen last, and the acceptor's slots as they were read for this step.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(super) peers: &'a [Peer],
    /// By group.
    pub(super) roads: &'a [Road],
    /// By group.
    pub(super) distances: &'a [Distance],
    pub(super) slots: &'a [ReadSlot],
    /// Until when this node's own acceptor abstains.
    pub(crate) votes_from: Boottime,
}

impl<'a> Sight<'a> {
    fn peer(&self, node: NodeId) -> Option<&'a Peer> {
        self.peers.iter().find(|peer| peer.node == node)
    }

    /// The slot of this lease: `None` if it was not read for this step.
    pub(crate) fn slot(&self, lease: GroupId) -> Option<Slot> {
        let read = self.slots.iter().find(|read| read.lease == lease);
        read.map(|read| read.slot)
    }

    /// Since when a peer has been fit without interruption.
    pub(crate) fn fit_since(&self, node: NodeId) -> Option<Boottime> {
        self.peer(node)?.fit_since
    }

    /// The number of a peer's acceptor.
    pub(crate) fn acceptor(&self, node: NodeId) -> Option<Seat> {
        let peer = self.peers.iter().position(|peer| peer.node == node)?;
        Some(Seat::of_peer(peer))
    }

    /// What a peer last reported of the group with this index.
    pub(crate) fn reported(&self, group: usize, node: NodeId) -> Reported {
        match self.peer(node) {
            Some(peer) => peer.reported_with(group, &self.roads[group], &self.distances[group]),
            None => Reported::default(),
        }
    }

    /// How far nodes reach for the group with this index.
    pub(crate) fn distance(&self, group: usize) -> &'a Distance {
        &self.distances[group]
    }
}
