//! What happens to a group on this node: one enum from the decision to the log.
//!
//! The core decides it, the agent carries it out, and log, events and their readers show it. A node
//! and a resource are known by number here and by name to people: [`GroupEvent::named`] is the step
//! from one to the other.

use heartbeat_common::{lease::Successor, time::Boottime, wire::NodeId};
use serde::{Deserialize, Serialize};

use crate::{index::ResourceIndex, proposer::Obstacle, resource::GroupState};

/// An event of a group. `N` is what a node is known by, `R` what a resource of the group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupEvent<N = NodeId, R = ResourceIndex> {
    /// This node has acquired the lease, and is to serve the group.
    LeaseAcquired {
        timeline: AcquisitionTimeline,
        /// The lease had run out, and was granted again, under a higher ballot, before anything had
        /// to stop. Another node may have owned it meanwhile, and announced its addresses.
        regained: bool,
    },
    /// This node is to stop all of the group, and to say so by [`crate::Cluster::stopped`].
    LeaseGivenUp(Reason<N>),
    /// The lease was released for this node, whose claim failed for this reason and is tried again.
    /// Told once for each reason while the lease is free.
    ClaimGivenUp(Obstacle<N>),
    /// There is no higher ballot left to claim the lease with.
    BallotsExhausted,
    /// The group's resources changed, or the interfaces with its addresses. [`GroupState::Broken`]
    /// and [`GroupState::Mended`] say here what counts and what the peers are told: a fault counts
    /// for some time after it is gone.
    State(GroupState<R>),
}

impl<N, R> GroupEvent<N, R> {
    /// The same with nodes and resources under other names.
    pub fn named<M, S>(self, node: impl Fn(N) -> M, resource: impl Fn(R) -> S) -> GroupEvent<M, S> {
        match self {
            Self::LeaseAcquired { timeline, regained } => {
                GroupEvent::LeaseAcquired { timeline, regained }
            }
            Self::LeaseGivenUp(reason) => GroupEvent::LeaseGivenUp(reason.named(node)),
            Self::ClaimGivenUp(obstacle) => GroupEvent::ClaimGivenUp(obstacle.named(node)),
            Self::BallotsExhausted => GroupEvent::BallotsExhausted,
            Self::State(state) => GroupEvent::State(state.named(resource)),
        }
    }
}

/// Why a group stops being served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason<N = NodeId> {
    /// A majority could not be had in time.
    LeaseLost,
    /// The operator wants it elsewhere.
    Moved { to: N },
    /// A better node is fit again.
    FailBack { to: N },
    /// This node may not serve just now: it is on standby, about to stop, or its control task hangs.
    NodeUnfit,
    /// A check of this node says that it must serve nothing.
    Unhealthy,
    /// An operator empties this node, and another can have it.
    Drained { to: N },
    /// This node has too much, and another has room.
    Rebalanced { to: N },
    /// Its resources failed here.
    Failed,
    /// The operator wants it to run nowhere.
    Disabled,
    /// The configuration has the group no longer.
    Removed,
    /// Another group forbids it to be here, or to run at all.
    Constrained,
    /// This node's interfaces do not reach the network of its addresses, and another node's do.
    CutOff,
}

impl Reason {
    /// Whether it is decided once, and not seen anew at each look.
    pub(super) fn is_lasting(self) -> bool {
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
}

impl<N> Reason<N> {
    /// The node that the group is for, if one was decided on.
    pub fn to(self) -> Option<N> {
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
            | Self::Removed
            | Self::Constrained
            | Self::CutOff => None,
        }
    }

    /// The same with nodes under other names.
    fn named<M>(self, name: impl Fn(N) -> M) -> Reason<M> {
        match self {
            Self::LeaseLost => Reason::LeaseLost,
            Self::Moved { to } => Reason::Moved { to: name(to) },
            Self::FailBack { to } => Reason::FailBack { to: name(to) },
            Self::NodeUnfit => Reason::NodeUnfit,
            Self::Unhealthy => Reason::Unhealthy,
            Self::Drained { to } => Reason::Drained { to: name(to) },
            Self::Rebalanced { to } => Reason::Rebalanced { to: name(to) },
            Self::Failed => Reason::Failed,
            Self::Disabled => Reason::Disabled,
            Self::Removed => Reason::Removed,
            Self::Constrained => Reason::Constrained,
            Self::CutOff => Reason::CutOff,
        }
    }
}

/// How a lease came to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquisitionTimeline {
    /// When the lease was free.
    #[serde(rename = "free_ns")]
    pub free: Boottime,
    /// When a majority had granted it.
    #[serde(rename = "majority_ns")]
    pub majority: Boottime,
}
