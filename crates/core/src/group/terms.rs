//! What a group is told, and what it tells.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{GroupId, LinkSet, NodeId},
};
use serde::{Deserialize, Serialize};

use crate::{placement::Score, proposer::Obstacle};

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
    /// Whether its resources take part: then it contends only once they are said to be ready, and runs
    /// only once they are said to. Where nobody says anything it always is, and runs once it is served.
    pub supervised: bool,
    /// What it needs of a node, by kind: see [`crate::placement::Layout::capacities`].
    pub demand: Vec<u32>,
    /// Whether it may be moved to where there is room.
    pub rebalance: bool,
    /// The links of this node whose interfaces carry its addresses.
    pub links: LinkSet,
    /// Whether it has addresses on interfaces of no link.
    pub beside_links: bool,
}

impl GroupPlan {
    /// What the configuration says for and against `node`.
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

    /// How much of its node's load is taken to be its, compared with other groups.
    pub fn weight(&self) -> u32 {
        let mut demand = self.demand.iter().copied();
        demand.find(|demand| *demand > 0).unwrap_or(1)
    }
}

/// What runs here.
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

    /// Whom it is for, if that was decided.
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

/// What those who run a group's resources, and operators, say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Nothing of it runs here that should not: it may be contended for.
    Ready,
    /// All of it that is to run does, or not.
    Running(bool),
    /// Its resources cannot run here for now, or can again.
    Barred(bool),
    /// An interface with one of its addresses is missing here, switched off or without carrier; or none is.
    Broken(bool),
    /// It failed to stop, and may still run; or that was mended. While it may, nobody else must start it.
    Blocked(bool),
    /// It is left alone, or no longer.
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
pub struct Course {
    /// When the lease was free.
    pub free: Boottime,
    /// When a majority had granted it.
    pub majority: Boottime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupCommand {
    /// Serve it.
    Start(Course),
    /// Stop all of it, and say so by [`crate::Cluster::stopped`].
    Stop(Reason),
    /// Its lease had run out, and is had again, with a higher ballot, before anything had to stop. Another node
    /// may have had it meanwhile, and announced its addresses.
    Regained(Course),
    /// Its lease was released for this node, whose claim came to nothing for this reason, and is
    /// tried again. Told once for each reason while the lease is free.
    ClaimGivenUp(Obstacle),
    /// Whether it is [`Note::Broken`], as it counts from now on and as the peers are to hear it: a fault counts for
    /// some time after it is gone.
    Broken(bool),
    /// There is no higher ballot left to claim the lease with.
    BallotsExhausted,
}
