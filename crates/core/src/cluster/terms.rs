//! What goes into the core and what comes out of it.

use std::time::Duration;

use heartbeat_common::{
    lease::Slot,
    maps::PeerRow,
    time::Boottime,
    wire::{GroupId, Health, Incarnation, LinkId, NodeId, NodeState},
};

use crate::{
    group::GroupCommand,
    link::{LinkState, Silence},
    membership::Membership,
    peer::PeerState,
    placement::Layout,
    reach::Reach,
    timing::Timing,
};

/// The kernel's rows, by index.
pub trait Rows {
    fn row(&self, index: usize) -> PeerRow;
}

impl Rows for [PeerRow] {
    fn row(&self, index: usize) -> PeerRow {
        self[index]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    BecameDeaf {
        late: Duration,
    },
    Hears,
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
    /// What the group with this index is to do.
    Group {
        group: usize,
        command: GroupCommand,
    },
}

/// One node's acceptor as its own node sees it.
pub trait Slots {
    fn slot(&self, group: GroupId) -> Slot;

    /// Until when it abstains: the start of the clock if it always voted.
    fn votes_from(&self) -> Boottime;
}

/// A member of the cluster, as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub node: NodeId,
    /// Whether it only votes: then it needs no agent.
    pub witness: bool,
}

/// What a cluster is made of, as one of its nodes sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The time of this node, and the two looks at its kernel, of one step.
#[expect(
    missing_debug_implementations,
    reason = "borrows what it is given for one call"
)]
pub struct Moment<'a, R: ?Sized> {
    pub now: Boottime,
    /// By how much the step missed the time that it was meant for.
    pub late: Duration,
    /// When the agent's slow side last ticked.
    pub reason_tick: Boottime,
    pub rows: &'a R,
    pub slots: &'a dyn Slots,
}

/// What this node does on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    #[default]
    Serve,
    Standby,
    /// An operator empties it: its groups leave one at a time, each only when another node can have it.
    Empty,
    /// It is about to stop.
    Drain,
}
