//! The inputs and outputs of the core.

use std::time::Duration;

use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{Health, Incarnation, LinkId, NodeId, NodeState},
};
use serde::{Deserialize, Serialize};

use crate::{
    group::GroupEvent,
    index::GroupIndex,
    link::{LinkState, Silence},
    membership::Membership,
    observation::ReadSlot,
    peer::PeerState,
    placement::Layout,
    reach::Reach,
    timing::Timing,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    LinkChanged {
        node: NodeId,
        link: LinkId,
        from: LinkState,
        to: LinkState,
    },
    /// A change of a peer's state. `silence` comes with `to: Down`: it is the silence of the last
    /// link to fall silent.
    PeerChanged {
        node: NodeId,
        from: PeerState,
        to: PeerState,
        silence: Option<Silence>,
    },
    /// A change of the set of a peer's failing checks.
    PeerHealth {
        node: NodeId,
        health: Health,
    },
    /// A local stall began, because a check was late by `late`. This node counts silence anew, and
    /// takes no group until the local stall has ended.
    LocalStallBegan {
        late: Duration,
    },
    LocalStallEnded,
    QuorumChanged {
        quorate: bool,
        alive: usize,
    },
    /// The state that this node's heartbeats carry from now on.
    Announce(NodeState),
    /// From now on, claims need a majority of the list of nodes with this number.
    Settled {
        version: u16,
    },
    /// This node's own reach on a link, as it counts from now on and as the peers receive it. A
    /// fault counts for some time after it is gone.
    Reach {
        link: LinkId,
        reach: Reach,
    },
    /// An event of the group with this index. The caller acts on it.
    Group {
        group: GroupIndex,
        event: GroupEvent,
    },
}

/// A node of the cluster, from the configuration: a member or a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    /// Whether the node only votes. It then needs no agent.
    pub witness: bool,
}

/// The parts of a cluster, from the view of one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub local: NodeId,
    pub timing: Timing,
    /// The other nodes in the order of their rows: peer *i* has rows *i* · `links` to
    /// (*i* + 1) · `links` − 1.
    pub peers: Vec<Member>,
    pub links: usize,
    /// The nodes whose votes count, among these peers and this node.
    pub membership: Membership,
    pub layout: Layout,
    /// Whether a group goes back to a better node that is fit again.
    pub auto_failback: bool,
    /// This agent's incarnation. The ballots of this incarnation begin behind those of the last.
    pub incarnation: Incarnation,
}

/// The input of one step: the time, and the data that the caller read from this node's kernel.
#[derive(Clone, Copy, Debug)]
pub struct StepInput<'a> {
    pub now: Boottime,
    /// The time by which the step missed its schedule.
    pub late: Duration,
    /// The last tick of the agent's control task.
    pub control_tick_at: Boottime,
    /// The rows of all peers: see [`Plan::peers`].
    pub rows: &'a [PeerRow],
    /// The slots that [`super::Cluster::slots_to_read`] named for `now`, in any order.
    pub slots: &'a [ReadSlot],
    /// The time until which this node's acceptor abstains: the start of the clock if it never
    /// abstained.
    pub votes_from: Boottime,
}

/// The intended role of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    #[default]
    Serve,
    Standby,
    /// An operator empties the node: its groups leave one at a time, each only when another node
    /// can have it.
    Empty,
    /// The node is about to stop.
    Drain,
}
