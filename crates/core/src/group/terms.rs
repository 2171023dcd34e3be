//! The types between a group and the rest of the agent: its plan, and notes about it.

use std::time::Duration;

use heartbeat_common::wire::{GroupId, LinkSet, NodeId};
use serde::{Deserialize, Serialize};

use crate::{placement::Score, resource::GroupState};

/// A group of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    pub id: GroupId,
    /// The ids of the leases of its addresses: see [`crate::group::Group::address_open_until`].
    pub addresses: Vec<GroupId>,
    /// All nodes that may serve the group, the best first among those with equal scores.
    pub ranked: Vec<NodeId>,
    /// Points for and against nodes. Nodes that are not named have none.
    pub locations: Vec<(NodeId, Score)>,
    /// Points for the node that serves the group.
    pub stickiness: Score,
    /// Whether the resource manager takes part. If so, the group contends only after its resources
    /// are reported ready, and runs only after they are reported running. A group without
    /// supervision is always ready, and runs as soon as it is served.
    pub supervised: bool,
    /// The room that the group needs on a node, by kind: see
    /// [`crate::placement::Layout::capacities`].
    pub demand: Vec<u32>,
    /// Whether the group may be moved to a node with room.
    pub rebalance: bool,
    /// The links of this node whose interfaces carry the group's addresses.
    pub links: LinkSet,
    /// Whether the group has addresses on interfaces of no link.
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

    /// Whether the configuration forbids the group on `node`.
    pub fn is_banned(&self, node: NodeId) -> bool {
        self.location(node) == Score::NEVER
    }

    /// The part of a node's load that counts as the group's, compared with other groups.
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
    /// Told to stop, and not yet confirmed.
    Stopping,
}

/// A fact about a group, from the resource manager, an operator or the interface monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A change of the group's resources here, or of the interfaces with its addresses.
    State(GroupState),
    /// The group enters maintenance, or leaves it.
    Maintained(bool),
    /// The operator wants the group to run nowhere, or somewhere again.
    Disabled(bool),
    /// The operator unpinned the group.
    Unpinned,
    /// The longest time that the group's resources may take to stop.
    StopTimeout(Duration),
}
