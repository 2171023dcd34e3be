//! Events of a group on this node: one enum from the decision to the log.
//!
//! The core decides an event, the agent executes it, and the log and the event stream show it.
//! Nodes and resources have numbers here and names for people: [`GroupEvent::named`] converts one
//! to the other.

use heartbeat_common::{lease::Successor, time::Boottime, wire::NodeId};
use serde::{Deserialize, Serialize};

use crate::{index::ResourceIndex, proposer::Obstacle, resource::GroupState};

/// An event of a group. `N` identifies a node, and `R` a resource of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupEvent<N = NodeId, R = ResourceIndex> {
    /// This node has acquired the lease, and must serve the group.
    LeaseAcquired {
        timeline: AcquisitionTimeline,
        /// The lease had run out, and was granted again under a higher ballot before any resource
        /// had to stop. Another node may have owned the lease meanwhile, and announced its
        /// addresses.
        regained: bool,
    },
    /// This node must stop all of the group, and confirm by [`crate::Cluster::stopped`].
    LeaseGivenUp(Reason<N>),
    /// The lease was released for this node, whose claim failed for this reason and is repeated.
    /// The event comes once for each reason while the lease is free.
    ClaimGivenUp(Obstacle<N>),
    /// There is no higher ballot left for a claim.
    BallotsExhausted,
    /// The group's resources changed, or the interfaces with its addresses. [`GroupState::Broken`]
    /// and [`GroupState::Mended`] are here the effective states, which the peers receive: a fault
    /// counts for some time after it is gone.
    State(GroupState<R>),
}

impl<N, R> GroupEvent<N, R> {
    /// The same event with nodes and resources under other names.
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

/// The reason why a group stops being served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason<N = NodeId> {
    /// A majority did not grant the lease in time.
    LeaseLost,
    /// The operator wants the group on another node.
    Moved { to: N },
    /// A better node is fit again.
    FailBack { to: N },
    /// This node may not serve now: it is on standby, about to stop, or its control task hangs.
    NodeUnfit,
    /// A check of this node forbids it to serve.
    Unhealthy,
    /// An operator empties this node, and another node can have the group.
    Drained { to: N },
    /// This node has too much load, and another has room.
    Rebalanced { to: N },
    /// The group's resources failed here.
    Failed,
    /// The operator wants the group to run nowhere.
    Disabled,
    /// The configuration no longer has the group.
    Removed,
    /// Another group forbids the group to run here, or at all.
    Constrained,
    /// This node's interfaces do not reach the network of the group's addresses, and another node's
    /// do.
    CutOff,
}

impl Reason {
    /// Whether the reason is decided once, and not anew at each step.
    pub(super) fn is_lasting(self) -> bool {
        self.to().is_some()
    }

    /// The node for which the lease is released, as far as the reason names it.
    pub(super) const fn successor(self) -> Successor {
        match self {
            // The group stays there until that node fails, or until the operator unpins the group.
            Self::Moved { to } | Self::Rebalanced { to } => Successor::chosen(to),
            Self::FailBack { to } | Self::Drained { to } => Successor::fit(to),
            _ => Successor(0),
        }
    }
}

impl<N> Reason<N> {
    /// The node that should have the group, if one was decided on.
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

    /// The same reason with nodes under other names.
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

/// The course of an acquisition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquisitionTimeline {
    /// The time since which the lease was free.
    #[serde(rename = "free_ns")]
    pub free: Boottime,
    /// The time at which a majority had granted it.
    #[serde(rename = "majority_ns")]
    pub majority: Boottime,
}
