//! Facts of one node about itself and about the cluster, by subject.

use heartbeat_common::{
    time::Boottime,
    wire::{Health, LinkId, LinkSet, NodeState},
};

use super::{Intent, reach};
use crate::{
    index_vec::{ByGroup, IndexVec},
    network::AddressNetwork,
    placement::{Constraints, GroupSnapshot, NodeView, Policy, rebalance::Rebalancer},
    reach::Distance,
};

/// This node's own state, and its intended role.
#[derive(Clone, Debug)]
pub(super) struct LocalState {
    /// The state that its heartbeats carry.
    pub(super) state: NodeState,
    /// Its failing checks, which its heartbeats carry too.
    pub(super) health: Health,
    /// Its load, per mille, which its heartbeats carry too.
    pub(super) load: u16,
    /// Its links whose interfaces are broken.
    pub(super) broken: LinkSet,
    pub(super) intent: Intent,
    /// Whether its agent prepares a graceful restart.
    pub(super) restarts: bool,
    /// Whether the control task of its agent hangs: the dead-man rule,
    /// docs/design/leases.md#rule-6.
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
            restarts: false,
            hangs: false,
        }
    }
}

/// The stalls of this node, and the local stall that may follow from one.
///
/// A *stall* is a time in which this node did not run. It ends when a step finds itself late. A
/// *local stall* begins when a stall may explain a peer's silence, and lasts beyond the stall.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LocalStall {
    /// The last time at which a stall explained a silence. `None` while there is no local stall.
    pub(super) local_stall_since: Option<Boottime>,
    /// The number of local stalls since the start.
    pub(super) local_stalls: u64,
    /// The end of the first stall since the last reply from any peer, if a majority was alive then.
    pub(super) grace_since: Option<Boottime>,
    /// The arrival of the last reply from any peer.
    pub(super) last_reply_at: Option<Boottime>,
    /// The end of this node's last stall: the start of the clock if there was none.
    pub(super) stalled_until: Boottime,
}

impl LocalStall {
    /// Records the time of a peer's last reply.
    pub(super) fn record_reply(&mut self, at: Option<Boottime>) {
        if at > self.last_reply_at {
            self.last_reply_at = at;
            self.grace_since = self.grace_since.filter(|since| at < Some(*since));
        }
    }
}

/// Whether a majority is alive.
#[derive(Clone, Debug, Default)]
pub(super) struct Quorum {
    /// By acceptor, this node's first: whether the node is one of [`super::Cluster::voters`].
    pub(super) voting: Vec<bool>,
    pub(super) quorate: bool,
    /// The time since which a majority has been alive without interruption.
    pub(super) since: Option<Boottime>,
}

/// The placement of the groups, and its rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Placing {
    pub(super) constraints: Constraints,
    pub(super) policy: Policy,
    /// The needs of each group, together with all groups that follow it.
    pub(super) burdens: ByGroup<Vec<u32>>,
    /// A snapshot of each group. Snapshots of groups in constraints are taken at each step, the
    /// others when they matter.
    pub(super) seen: ByGroup<GroupSnapshot>,
    /// All nodes in the order of their ids, including this one.
    pub(super) nodes: Vec<NodeView>,
    /// The time of this node's last check for groups that should move.
    pub(super) checked_at: Boottime,
    pub(super) rebalancer: Rebalancer,
}

/// The reach of the nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Reaches {
    /// The condition of each of this node's links.
    pub(super) links: IndexVec<LinkId, reach::Port>,
    /// By group: its addresses, and the nodes' reach for them.
    pub(super) networks: ByGroup<AddressNetwork>,
    pub(super) distances: ByGroup<Distance>,
}
