//! The words between a group and the rest: its plan, notes about it, and its commands.

use std::time::Duration;

use heartbeat_common::{
    lease::Successor,
    time::Boottime,
    wire::{GroupId, LinkSet, NodeId},
};
use serde::{Deserialize, Serialize};

use crate::{placement::Score, proposer::Obstacle, resource::GroupEvent};

/// A group as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    pub id: GroupId,
    /// The ids of the leases of its addresses: see [`crate::group::Group::address_open_until`].
    pub addresses: Vec<GroupId>,
    /// All nodes that may serve it, the best first among those with equal scores.
    pub ranked: Vec<NodeId>,
    /// Points for and against nodes; those that are not named have none.
    pub locations: Vec<(NodeId, Score)>,
    /// Points for the node that serves it.
    pub stickiness: Score,
    /// Whether the resource manager takes part: then the group contends only once its resources are
    /// said to be ready, and runs only once they are said to run. A group without it is always
    /// ready, and runs once it is served.
    pub supervised: bool,
    /// The room that it needs on a node, by kind: see [`crate::placement::Layout::capacities`].
    pub demand: Vec<u32>,
    /// Whether it may be moved to where there is room.
    pub rebalance: bool,
    /// The links of this node whose interfaces carry its addresses.
    pub links: LinkSet,
    /// Whether it has addresses on interfaces of no link.
    pub beside_links: bool,
}

impl GroupPlan {
    /// The points that the configuration gives `node`.
    pub fn location(&self, node: NodeId) -> Score {
        let locations = self.locations.iter();
        locations
            .filter(|(at, _)| *at == node)
            .map(|(_, score)| *score)
            .sum()
    }

    /// Whether the configuration forbids it on `node`.
    pub fn is_banned(&self, node: NodeId) -> bool {
        self.location(node) == Score::NEVER
    }

    /// The part of its node's load that counts as the group's, compared with other groups.
    pub fn weight(&self) -> u32 {
        let mut demand = self.demand.iter().copied();
        demand.find(|demand| *demand > 0).unwrap_or(1)
    }
}

/// Whether the group runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    Stopped,
    Started,
    /// Told to stop, and not yet said to have.
    Stopping,
}

/// Why a group stops being served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A majority could not be had in time.
    LeaseLost,
    /// The operator wants it elsewhere.
    Moved { to: NodeId },
    /// A better node is fit again.
    FailBack { to: NodeId },
    /// This node may not serve just now: it is on standby, about to stop, or its slow side hangs.
    NodeUnfit,
    /// A check of this node says that it must serve nothing.
    Unhealthy,
    /// An operator empties this node, and another can have it.
    Drained { to: NodeId },
    /// This node has too much, and another has room.
    Rebalanced { to: NodeId },
    /// Its resources failed here.
    Failed,
    /// The operator wants it to run nowhere.
    Disabled,
    /// Another group forbids it to be here, or to run at all.
    Constrained,
    /// This node's interfaces do not reach the network of its addresses, and another node's do.
    CutOff,
}

impl Reason {
    /// Whether it is decided once, and not seen anew at each look.
    pub(super) const fn is_lasting(self) -> bool {
        self.to().is_some()
    }

    /// The node that the lease is released for, as far as the reason says.
    pub(super) const fn successor(self) -> Successor {
        match self {
            // The group stays there until that node fails, or the operator does not mind any more.
            Self::Moved { to } | Self::Rebalanced { to } => Successor::chosen(to),
            Self::FailBack { to } | Self::Drained { to } => Successor::fit(to),
            _ => Successor(0),
        }
    }

    /// The node that the group is for, if one was decided on.
    pub const fn to(self) -> Option<NodeId> {
        match self {
            Self::Moved { to }
            | Self::FailBack { to }
            | Self::Drained { to }
            | Self::Rebalanced { to } => Some(to),
            Self::LeaseLost
            | Self::NodeUnfit
            | Self::Unhealthy
            | Self::Failed
            | Self::Disabled
            | Self::Constrained
            | Self::CutOff => None,
        }
    }
}

/// A fact about a group, from the resource manager, an operator or the interface monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// An event of its resources here.
    Event(GroupEvent),
    /// An interface with one of its addresses is missing here, switched off or without carrier; or
    /// none is.
    Broken(bool),
    /// The group is left alone, or no longer.
    Maintained(bool),
    /// The operator wants it to run nowhere, or somewhere again.
    Disabled(bool),
    /// The operator does not mind any more where it is.
    Unpinned,
    /// How long its resources may take to stop.
    StopTimeout(Duration),
}

/// How a lease came to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquisitionTimeline {
    /// When the lease was free.
    pub free: Boottime,
    /// When a majority had granted it.
    pub majority: Boottime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupCommand {
    /// Serve it.
    Start(AcquisitionTimeline),
    /// Stop all of it, and say so by [`crate::Cluster::stopped`].
    Stop(Reason),
    /// Its lease had run out, and was granted again, under a higher ballot, before anything had to
    /// stop. Another node may have owned it meanwhile, and announced its addresses.
    Regained(AcquisitionTimeline),
    /// The lease was released for this node, whose claim failed for this reason and is tried again.
    /// Told once for each reason while the lease is free.
    ClaimGivenUp(Obstacle),
    /// Whether the group counts as [`Note::Broken`] from now on, which the peers are told: a fault
    /// counts for some time after it is gone.
    Broken(bool),
    /// There is no higher ballot left to claim the lease with.
    BallotsExhausted,
}
