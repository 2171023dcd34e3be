//! A group's view of its node and of the cluster in one step.

use heartbeat_common::time::Boottime;

use crate::{Timing, index::GroupIndex, placement::View, reach::Distance, sight::Sight};

#[derive(Clone, Copy)]
pub(crate) struct GroupContext<'a> {
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) node: LocalNode,
    /// The index of this group.
    pub(crate) index: GroupIndex,
    /// The nodes, and where groups are.
    pub(crate) view: View<'a>,
    /// The peers and our own acceptor.
    pub(crate) sight: Sight<'a>,
}

/// The limits of what this node may do in one step.
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
    /// Whether the control task of this agent hangs.
    pub(crate) hangs: bool,
    /// When this node last stood still for too long: the start of the clock if never.
    pub(crate) woke_at: Boottime,
}

impl<'a> GroupContext<'a> {
    /// How far nodes reach for the group.
    pub(crate) fn distance(&self) -> &'a Distance {
        self.sight.distance(self.index)
    }
}
