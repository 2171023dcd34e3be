//! What a group sees of its node and of the cluster in one step.

use heartbeat_common::{
    lease::Slot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use crate::{Timing, cluster::Distance, placement::View, report::Reported};

#[derive(Clone, Copy)]
pub(crate) struct GroupContext<'a> {
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) node: LocalNode,
    /// The index of this group.
    pub(crate) index: usize,
    /// What is seen of the nodes, and of where groups are.
    pub(crate) view: View<'a>,
    /// How far nodes reach, by group.
    pub(crate) distances: &'a [Distance],
    /// Since when each peer has been fit without interruption.
    pub(crate) fit_since: &'a dyn Fn(NodeId) -> Option<Boottime>,
    /// The number of a peer's acceptor.
    pub(crate) acceptor: &'a dyn Fn(NodeId) -> Option<usize>,
    /// What a peer last reported of a group.
    pub(crate) reported: &'a dyn Fn(usize, NodeId) -> Reported,
    /// Our own acceptor's slot.
    pub(crate) slot: &'a dyn Fn(GroupId) -> Slot,
    /// Until when that acceptor abstains.
    pub(crate) votes_from: Boottime,
}

/// What this node may do in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalNode {
    /// Whether groups go back to better nodes.
    pub(crate) auto_failback: bool,
    /// Whether this node may take a group.
    pub(crate) may_take: bool,
    /// Whether it is emptied, and well enough to go on with what no other node can take.
    pub(crate) empties: bool,
    /// Whether it may keep a group.
    pub(crate) may_keep: bool,
    /// Whether one of its checks says that it must serve nothing.
    pub(crate) unhealthy: bool,
    /// Whether the slow side of this agent hangs.
    pub(crate) hangs: bool,
    /// When this node last stood still for too long: the start of the clock if never.
    pub(crate) woke_at: Boottime,
}

impl<'a> GroupContext<'a> {
    /// How far nodes reach for the group.
    pub(crate) fn distance(&self) -> &'a Distance {
        &self.distances[self.index]
    }
}
