//! A group's view of its node and of the cluster in one step.

use heartbeat_common::time::Boottime;

use crate::{
    Timing, index::GroupIndex, observation::Observation, placement::View, reach::Distance,
};

#[derive(Clone, Copy)]
pub(crate) struct GroupContext<'a> {
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) node: LocalNode,
    /// The index of this group.
    pub(crate) index: GroupIndex,
    /// The nodes, and where groups are.
    pub(crate) view: View<'a>,
    /// The peers and this node's own acceptor.
    pub(crate) observation: Observation<'a>,
}

/// The limits of this node's actions in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalNode {
    /// Whether groups go back to better nodes.
    pub(crate) auto_failback: bool,
    /// Whether this node may take a group.
    pub(crate) may_take: bool,
    /// Whether an operator empties this node, and it is well enough to keep groups that no other
    /// node can take.
    pub(crate) empties: bool,
    /// Whether this node may keep a group.
    pub(crate) may_keep: bool,
    /// Whether one of its checks forbids it to serve.
    pub(crate) unhealthy: bool,
    /// Whether the control task of this agent hangs.
    pub(crate) hangs: bool,
    /// The end of this node's last stall: the start of the clock if there was none.
    pub(crate) stalled_until: Boottime,
}

impl<'a> GroupContext<'a> {
    /// The reach of the nodes for the group.
    pub(crate) fn distance(&self) -> &'a Distance {
        self.observation.distance(self.index)
    }
}
