//! What goes into the core and what comes out of it.

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
    peer::PeerState,
    placement::Layout,
    reach::Reach,
    sight::ReadSlot,
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
    /// `silence` comes with `to: Down`: the one of the link that was the last to fall silent.
    PeerChanged {
        node: NodeId,
        from: PeerState,
        to: PeerState,
        silence: Option<Silence>,
    },
    /// Other checks of a peer fail than before.
    PeerHealth {
        node: NodeId,
        health: Health,
    },
    /// This node stalled: for now it trusts no silence.
    LocalStallBegan {
        late: Duration,
    },
    LocalStallEnded,
    QuorumChanged {
        quorate: bool,
        alive: usize,
    },
    /// What this node says of itself from now on.
    Announce(NodeState),
    /// Leases are claimed by a majority of the list of nodes with this number from now on.
    Settled {
        version: u16,
    },
    /// This node's own reach by a link, as it counts from now on and as the peers are to hear it: a fault counts
    /// for some time after it is gone.
    Reach {
        link: LinkId,
        reach: Reach,
    },
    /// An event of the group with this index, which the caller is to act on.
    Group {
        group: GroupIndex,
        event: GroupEvent,
    },
}

/// A member of the cluster, as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    /// Whether it only votes: then it needs no agent.
    pub witness: bool,
}

/// What a cluster is made of, as one of its nodes sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub local: NodeId,
    pub timing: Timing,
    /// The other nodes in the order of their rows: peer *i* has rows *i* · `links` to
    /// (*i* + 1) · `links` − 1.
    pub peers: Vec<Member>,
    pub links: usize,
    /// Whose votes count: of these peers and of this node.
    pub membership: Membership,
    pub layout: Layout,
    /// Whether a group goes back to a better node that is fit again.
    pub auto_failback: bool,
    /// This agent's: the ballots of this life begin behind those of the last.
    pub incarnation: Incarnation,
}

/// What one step goes by: the time, and what was read of this node's kernel.
#[derive(Clone, Copy, Debug)]
pub struct StepInput<'a> {
    pub now: Boottime,
    /// By how much the step missed the time that it was meant for.
    pub late: Duration,
    /// When the agent's control task last ticked.
    pub control_tick_at: Boottime,
    /// The rows of all peers: see [`Plan::peers`].
    pub rows: &'a [PeerRow],
    /// The slots that [`super::Cluster::slots_to_read`] named for `now`, in any order.
    pub slots: &'a [ReadSlot],
    /// Until when this node's acceptor abstains: the start of the clock if it always voted.
    pub votes_from: Boottime,
}

/// What this node does on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    #[default]
    Serve,
    Standby,
    /// An operator empties it: its groups leave one at a time, each only when another node can have it.
    Empty,
    /// It is about to stop.
    Drain,
}
