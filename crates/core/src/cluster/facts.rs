//! Facts of one node about itself and about the cluster, by subject.

use heartbeat_common::{
    time::Boottime,
    wire::{Health, LinkId, LinkSet, NodeState},
};

use super::{Intent, reach};
use crate::{
    index_vec::{ByGroup, IndexVec},
    placement::{Constraints, GroupSnapshot, NodeView, Policy, rebalance::Rebalancer},
    reach::Distance,
    road::Road,
};

/// This node itself, and what is wanted of it.
#[derive(Clone, Debug)]
pub(super) struct LocalState {
    /// The state that it tells its peers.
    pub(super) state: NodeState,
    /// Which of its checks fail, which it tells its peers too.
    pub(super) health: Health,
    /// How loaded it is, per mille, which it tells its peers too.
    pub(super) load: u16,
    /// Its links whose interfaces are broken.
    pub(super) broken: LinkSet,
    pub(super) intent: Intent,
    /// Its agent is about to end for a restart.
    pub(super) parts: bool,
    /// Whether the control task of its agent hangs.
    pub(super) hangs: bool,
}

impl LocalState {
    pub(super) fn new() -> Self {
        Self {
            state: NodeState::Starting,
            health: Health::default(),
            load: 0,
            broken: LinkSet::default(),
            intent: Intent::default(),
            parts: false,
            hangs: false,
        }
    }
}

/// When this node stood still, so that it trusts no silence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LocalStall {
    pub(super) local_stall_since: Option<Boottime>,
    pub(super) local_stalls: u64,
    /// When the first stall since the last reply from anybody ended.
    pub(super) grace_since: Option<Boottime>,
    /// When the last reply from anybody came.
    pub(super) heard_at: Option<Boottime>,
    /// When this node last stood still for too long: the start of the clock if never.
    pub(super) woke_at: Boottime,
}

impl LocalStall {
    /// Takes note of when a peer last answered.
    pub(super) fn hear(&mut self, heard: Option<Boottime>) {
        if heard > self.heard_at {
            self.heard_at = heard;
            self.grace_since = self.grace_since.filter(|excused| heard < Some(*excused));
        }
    }
}

/// Whether a majority is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Quorum {
    /// By acceptor, this node's first: whether it is one of [`super::Cluster::voters`].
    pub(super) electors: Vec<bool>,
    pub(super) quorate: bool,
    /// Since when without interruption.
    pub(super) since: Option<Boottime>,
}

/// Where groups may go, and where they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Placing {
    pub(super) constraints: Constraints,
    pub(super) policy: Policy,
    /// The needs of each group with all that follow it.
    pub(super) burdens: ByGroup<Vec<u32>>,
    /// A snapshot of each group: of those that others have to do with at each step, of the rest
    /// when it matters.
    pub(super) seen: ByGroup<GroupSnapshot>,
    /// All nodes in the order of their ids, this one among them.
    pub(super) nodes: Vec<NodeView>,
    /// When this node last looked for groups that should move.
    pub(super) watched_at: Boottime,
    pub(super) rebalancer: Rebalancer,
}

/// How far nodes reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Reaches {
    /// How each of this node's links is.
    pub(super) links: IndexVec<LinkId, reach::Port>,
    /// By group: its addresses, and how far the nodes reach for them.
    pub(super) roads: ByGroup<Road>,
    pub(super) distances: ByGroup<Distance>,
}
