//! Events of a group and of an address as JSON.
//!
//! The group's event is the core's own value with names in the place of numbers. Only its encoding
//! is declared here, field for field. The compiler rejects this file once the two differ.

use std::time::Duration;

use heartbeat_common::lease::Ballot;
use heartbeat_core::{
    group::{AcquisitionTimeline, GroupEvent, Reason},
    proposer::Obstacle,
    resource::GroupState,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An event of a group with the names of nodes and resources.
pub type NamedGroupEvent = GroupEvent<String, String>;

/// The fields of a [`GroupEvent`].
#[derive(Serialize, Deserialize)]
#[serde(
    remote = "GroupEvent<String, String>",
    tag = "event",
    rename_all = "kebab-case"
)]
pub(super) enum GroupEventFields {
    LeaseAcquired {
        /// `free_ns`: the time at which the lease became free. `majority_ns`: the time at which a
        /// majority had granted it.
        #[serde(flatten)]
        timeline: AcquisitionTimeline,
        /// Whether the lease had run out and was acquired again before anything had to stop.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        regained: bool,
    },
    LeaseGivenUp(#[serde(with = "ReasonFields")] Reason<String>),
    ClaimGivenUp(#[serde(with = "ObstacleFields")] Obstacle<String>),
    BallotsExhausted,
    #[serde(rename = "group")]
    State(#[serde(with = "GroupStateFields")] GroupState<String>),
}

/// The reason why this node stops serving a group. `successor` is the node for which the lease is
/// released.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Reason<String>", tag = "reason", rename_all = "kebab-case")]
enum ReasonFields {
    LeaseLost,
    Moved {
        #[serde(rename = "successor")]
        to: String,
    },
    FailBack {
        #[serde(rename = "successor")]
        to: String,
    },
    NodeUnfit,
    Unhealthy,
    Drained {
        #[serde(rename = "successor")]
        to: String,
    },
    Rebalanced {
        #[serde(rename = "successor")]
        to: String,
    },
    Failed,
    #[serde(rename = "stopped")]
    Disabled,
    Removed,
    #[serde(rename = "constraint")]
    Constrained,
    CutOff,
}

/// The reason why a claim was postponed. `by` is the node with the competing lease or claim.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Obstacle<String>", tag = "reason", rename_all = "kebab-case")]
enum ObstacleFields {
    Lease {
        #[serde(rename = "by")]
        owner: String,
        /// The remaining time of that node's lease.
        #[serde(rename = "remaining_us", with = "micros")]
        remaining: Duration,
    },
    /// An acceptor has not received the release yet. No claim is postponed for this reason.
    Unheard,
    Promise {
        #[serde(rename = "by")]
        to: String,
        #[serde(skip)]
        ballot: Ballot,
    },
    Silence,
}

/// The state of a group on this node. `resource` is the failed resource.
#[derive(Serialize, Deserialize)]
#[serde(
    remote = "GroupState<String>",
    tag = "state",
    rename_all = "kebab-case"
)]
enum GroupStateFields {
    Ready,
    Started,
    Incomplete,
    Stopped,
    Barred { resource: String },
    Fit,
    Blocked { resource: String },
    Unblocked,
    Broken,
    Mended,
}

/// A duration in whole microseconds.
mod micros {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// What happens to a virtual address on this node. Times are nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum VipEvent {
    /// This node has taken over the address.
    Takeover {
        /// The times at which the lease became free and a majority had granted it.
        #[serde(flatten)]
        timeline: AcquisitionTimeline,
        /// The time at which the guard was opened.
        decided_ns: u64,
        address_ns: u64,
        announced_ns: u64,
    },
    /// This node has released the address.
    Release { decided_ns: u64, address_ns: u64 },
    /// Another process removed the address while it was served here, and the agent put it back.
    /// `times` counts the removals in a row.
    PutBack { times: u32, message: String },
    /// Another host, with this Ethernet address, claims the address while it is served here.
    Claimed { mac: String, message: String },
    /// The address was on this node while the node did not hold the lease of the group.
    Stray { message: String },
    /// Adding or removing the address failed.
    #[serde(rename = "vip-error")]
    Failed { message: String },
}
