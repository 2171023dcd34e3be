//! Requests and events of a group's run.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Action, Outcome};
use crate::index::ResourceIndex;

/// An action that failed, or a process that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub resource: ResourceIndex,
    pub action: Action,
    pub outcome: Outcome,
    pub at: Boottime,
}

/// An effect of a step. The caller executes effects in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Begin this action; exactly one [`super::GroupRun::finished`] must follow.
    Act {
        resource: ResourceIndex,
        action: Action,
        timeout: Duration,
    },
    /// End a monitor in flight at once: a stop does not wait for it. Its outcome is not needed any
    /// more.
    Cancel { resource: ResourceIndex },
    /// Record and show this failure.
    Failed(Failure),
    /// Pass this state to [`crate::Cluster`], record it and show it.
    State(GroupState),
}

/// A change of a group's resources on one node, or of the interfaces with its addresses. The same
/// value is decided here, passed to the core of the cluster, logged, and shown to operators by its
/// name. `R` identifies a resource of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState<R = ResourceIndex> {
    /// Once, after `begin`: all states are known, and no resource runs here that should not. The
    /// node may contend for the lease, or goes on with the inherited one.
    Ready,
    /// Every resource runs that should: all of them, or those before the first disabled one.
    Started,
    /// The group is no longer started, without a `stop`: a resource failed, is restarted, or must
    /// run in addition. `Started` follows if all of them run again.
    Incomplete,
    /// The answer to `stop`: no resource of the group runs any more, and the lease may be released.
    Stopped,
    /// This node should release the group: a start failed, a failure was hard, or this resource
    /// failed too often. No resource is started before `Fit`.
    Barred { resource: R },
    /// The failures that barred the group are forgotten: the node may take it again.
    Fit,
    /// A stop failed, or has not ended long after its timeout. The states are unknown: the lease
    /// must be kept and its guard closed, and no other node may start the group. The group waits
    /// until an operator cleans up, or until the overdue action ends well after all.
    Blocked { resource: R },
    /// The state of every resource that could not be stopped is known again.
    Unblocked,
    /// An interface with one of the group's addresses is missing here, switched off or without
    /// carrier.
    Broken,
    /// No such interface is broken any more.
    Mended,
}

impl<R> GroupState<R> {
    /// The state of the interfaces with the group's addresses.
    pub const fn of_interfaces(broken: bool) -> Self {
        match broken {
            true => Self::Broken,
            false => Self::Mended,
        }
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Started => "started",
            Self::Incomplete => "incomplete",
            Self::Stopped => "stopped",
            Self::Barred { .. } => "barred",
            Self::Fit => "fit",
            Self::Blocked { .. } => "blocked",
            Self::Unblocked => "unblocked",
            Self::Broken => "broken",
            Self::Mended => "mended",
        }
    }

    /// The same state with resources under other names.
    pub(crate) fn named<S>(self, name: impl Fn(R) -> S) -> GroupState<S> {
        match self {
            Self::Ready => GroupState::Ready,
            Self::Started => GroupState::Started,
            Self::Incomplete => GroupState::Incomplete,
            Self::Stopped => GroupState::Stopped,
            Self::Barred { resource } => GroupState::Barred {
                resource: name(resource),
            },
            Self::Fit => GroupState::Fit,
            Self::Blocked { resource } => GroupState::Blocked {
                resource: name(resource),
            },
            Self::Unblocked => GroupState::Unblocked,
            Self::Broken => GroupState::Broken,
            Self::Mended => GroupState::Mended,
        }
    }
}
