//! Requests and events of a group's run.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Action, Outcome};
use crate::index::ResourceIndex;

/// An action that did not do what it was to do, or a process that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub resource: ResourceIndex,
    pub action: Action,
    pub outcome: Outcome,
    pub at: Boottime,
}

/// To be carried out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Begin this; [`super::GroupRun::finished`] is to follow exactly once.
    Act {
        resource: ResourceIndex,
        action: Action,
        timeout: Duration,
    },
    /// A monitor that is in flight is to be ended at once: a stop does not wait for it. What
    /// becomes of it is not asked for any more.
    Cancel { resource: ResourceIndex },
    /// To be recorded and shown.
    Failed(Failure),
    /// To be told to [`crate::Cluster`], recorded and shown.
    State(GroupState),
}

/// A change of a group's resources on one node, or of the interfaces with its addresses. The same
/// value is decided on here, told to the core of the cluster, logged, and shown to operators by its
/// name. `R` is what a resource of the group is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState<R = ResourceIndex> {
    /// Once, after `begin`: all is known, and nothing runs here that should not. The node may
    /// contend for the lease, or goes on with the one that was inherited.
    Ready,
    /// Everything that is to run runs: all resources, or those before the first that is disabled.
    Started,
    /// That is over without `stop`: something failed, is restarted, or is to run in addition.
    /// `Started` follows if it comes to that.
    Incomplete,
    /// Answers `stop`: nothing of the group runs any more, and the lease may be released.
    Stopped,
    /// This node should give the group up: a start failed, a failure was hard, or this resource
    /// failed too often. Nothing is started before `Fit`.
    Barred { resource: R },
    /// The failures that made the group leave are forgotten: the node may take it again.
    Fit,
    /// A stop failed, or has not ended long after it should have. What runs is not known: the lease
    /// is to be kept and its guard closed, and no other node may start the group. Nothing is done
    /// with the group until an operator cleans up, or what is overdue ends well after all.
    Blocked { resource: R },
    /// Every resource that could not be stopped is now known to be.
    Unblocked,
    /// An interface with one of the group's addresses is missing here, switched off or without
    /// carrier.
    Broken,
    /// None is any more.
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

    /// The same with resources under other names.
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
