//! The words between a group and the rest: its plan, and notes about it.

use std::time::Duration;

use heartbeat_common::wire::{GroupId, LinkSet, NodeId};
use serde::{Deserialize, Serialize};

use crate::{placement::Score, resource::GroupState};

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

/// A fact about a group, from the resource manager, an operator or the interface monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A change of its resources here, or of the interfaces with its addresses.
    State(GroupState),
    /// The group is left alone, or no longer.
    Maintained(bool),
    /// The operator wants it to run nowhere, or somewhere again.
    Disabled(bool),
    /// The operator does not mind any more where it is.
    Unpinned,
    /// How long its resources may take to stop.
    StopTimeout(Duration),
}
