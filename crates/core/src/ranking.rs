//! In which order nodes contend for a lease that is free: the one rule that every node applies to its
//! own view.
//!
//! Views may differ, and then two nodes contend at once: that costs time, never safety.

use heartbeat_common::{time::Boottime, wire::NodeId};

use crate::{Timing, peer::Peer, placement::Bar};

/// Whether a node can own, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Fit,
    /// Not known yet: it may be about to contend.
    Open,
    Out,
}

impl Standing {
    /// That of a node that this stands against, if anything does.
    pub fn of(bar: Option<Bar>) -> Self {
        match bar {
            None => Self::Fit,
            Some(Bar::Unknown) => Self::Open,
            Some(_) => Self::Out,
        }
    }
}

impl Peer {
    /// Whether it could own a group at `now`, as far as is known.
    pub fn standing(&self, now: Boottime, timing: &Timing) -> Standing {
        Standing::of(self.bar(now, timing))
    }
}

/// The one of `nodes` with the least rank.
pub fn first<R: Ord>(
    nodes: impl Iterator<Item = NodeId>,
    rank: impl Fn(NodeId) -> R,
) -> Option<NodeId> {
    nodes.min_by_key(|node| rank(*node))
}
