//! The order in which nodes contend for a free lease: one rule, which every node applies to its own
//! view.
//!
//! Views may differ, and then two nodes contend at once. This costs time, never safety.

use heartbeat_common::{time::Boottime, wire::NodeId};

use crate::{Timing, peer::Peer, placement::Ineligibility};

/// Whether a node can own a group, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    Eligible,
    /// Not known yet: the node may be about to contend.
    Undecided,
    Ineligible,
}

impl Eligibility {
    /// The eligibility of a node with this ineligibility, if there is one.
    pub fn of(ineligibility: Option<Ineligibility>) -> Self {
        match ineligibility {
            None => Self::Eligible,
            Some(Ineligibility::Unknown) => Self::Undecided,
            Some(_) => Self::Ineligible,
        }
    }
}

impl Peer {
    /// Whether this peer could own a group at `now`, as far as this node knows.
    pub fn eligibility(&self, now: Boottime, timing: &Timing) -> Eligibility {
        Eligibility::of(self.ineligibility(now, timing))
    }
}

/// The node of `nodes` with the least rank.
pub fn first<R: Ord>(
    nodes: impl Iterator<Item = NodeId>,
    rank: impl Fn(NodeId) -> R,
) -> Option<NodeId> {
    nodes.min_by_key(|node| rank(*node))
}
