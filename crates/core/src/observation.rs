//! The information of one step about the other nodes and about this node's own acceptor, by node or
//! by lease.

use heartbeat_common::{
    lease::Slot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use serde::{Deserialize, Serialize};

use crate::{
    index::{AcceptorIndex, GroupIndex, PeerIndex},
    index_vec::{ByGroup, IndexVec},
    network::AddressNetwork,
    peer::Peer,
    reach::Distance,
    report::Reported,
};

/// One slot of this node's own acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSlot {
    pub lease: GroupId,
    /// The slot, or the default if no node has asked for the lease yet.
    pub slot: Slot,
}

/// The peers as last seen, and the acceptor's slots as read for this step.
#[derive(Clone, Copy)]
pub(crate) struct Observation<'a> {
    pub(crate) peers: &'a IndexVec<PeerIndex, Peer>,
    /// By group.
    pub(crate) networks: &'a ByGroup<AddressNetwork>,
    /// By group.
    pub(crate) distances: &'a ByGroup<Distance>,
    pub(crate) slots: &'a [ReadSlot],
    /// The time until which this node's own acceptor abstains.
    pub(crate) votes_from: Boottime,
}

impl<'a> Observation<'a> {
    fn peer(&self, node: NodeId) -> Option<&'a Peer> {
        self.peers.iter().find(|peer| peer.node == node)
    }

    /// The slot of this lease. `None` if the caller did not read it for this step.
    pub(crate) fn slot(&self, lease: GroupId) -> Option<Slot> {
        let read = self.slots.iter().find(|read| read.lease == lease);
        read.map(|read| read.slot)
    }

    /// The time since which a peer has been fit without interruption.
    pub(crate) fn fit_since(&self, node: NodeId) -> Option<Boottime> {
        self.peer(node)?.fit_since
    }

    /// The index of a peer's acceptor.
    pub(crate) fn acceptor(&self, node: NodeId) -> Option<AcceptorIndex> {
        let peer = self.peers.position(|peer| peer.node == node)?;
        Some(AcceptorIndex::of_peer(peer))
    }

    /// Whether a peer's agent runs without a current report that it is ready for this group: see
    /// [`Peer::lacks`].
    pub(crate) fn lacks(&self, group: GroupIndex, node: NodeId) -> bool {
        self.peer(node).is_some_and(|peer| peer.lacks(group))
    }

    /// The last report of a peer about the group with this index.
    pub(crate) fn reported(&self, group: GroupIndex, node: NodeId) -> Reported {
        match self.peer(node) {
            Some(peer) => peer.reported_with(group, &self.networks[group], &self.distances[group]),
            None => Reported::default(),
        }
    }

    /// The reach of the nodes for the group with this index.
    pub(crate) fn distance(&self, group: GroupIndex) -> &'a Distance {
        &self.distances[group]
    }
}
