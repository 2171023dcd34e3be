//! In which order nodes contend for a lease that is free: the one rule that every node applies to its
//! own view.
//!
//! Views may differ, and then two nodes contend at once: that costs time, never safety.

use heartbeat_common::{time::Boottime, wire::NodeId};

use crate::{Timing, peer::Peer, placement::Ineligibility};

/// Whether a node can own, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    Eligible,
    /// Not known yet: it may be about to contend.
    Undecided,
    Ineligible,
}

impl Eligibility {
    /// That of a node that this stands against, if anything does.
    pub fn of(ineligibility: Option<Ineligibility>) -> Self {
        match ineligibility {
            None => Self::Eligible,
            Some(Ineligibility::Unknown) => Self::Undecided,
            Some(_) => Self::Ineligible,
        }
    }
}

impl Peer {
    /// Whether it could own a group at `now`, as far as is known.
    pub fn eligibility(&self, now: Boottime, timing: &Timing) -> Eligibility {
        Eligibility::of(self.ineligibility(now, timing))
    }
}

/// The one of `nodes` with the least rank.
pub fn first<R: Ord>(
    nodes: impl Iterator<Item = NodeId>,
    rank: impl Fn(NodeId) -> R,
) -> Option<NodeId> {
    nodes.min_by_key(|node| rank(*node))
}
