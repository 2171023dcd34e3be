//! Events of a group and of an address as JSON.
//!
//! The group's event is the core's own value with names in the place of numbers. Only its encoding
//! is declared here, field for field: the compiler refuses this file once the two differ.

use std::time::Duration;

use heartbeat_common::lease::Ballot;
use heartbeat_core::{
    group::{AcquisitionTimeline, GroupEvent, Reason},
    proposer::Obstacle,
    resource::GroupState,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An event of a group in which nodes and resources are known by their names.
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
        /// `free_ns`: when the lease was free. `majority_ns`: when a majority had granted it.
        #[serde(flatten)]
        timeline: AcquisitionTimeline,
        /// The lease had run out, and came back before anything had to stop.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        regained: bool,
    },
    LeaseGivenUp(#[serde(with = "ReasonFields")] Reason<String>),
    ClaimGivenUp(#[serde(with = "ObstacleFields")] Obstacle<String>),
    BallotsExhausted,
    #[serde(rename = "group")]
    State(#[serde(with = "GroupStateFields")] GroupState<String>),
}

/// Why this node stops serving a group. `successor` is the node that the lease is released for.
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

/// Why a claim came to nothing. `by` is the node whose lease or claim stood in the way.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Obstacle<String>", tag = "reason", rename_all = "kebab-case")]
enum ObstacleFields {
    Lease {
        #[serde(rename = "by")]
        owner: String,
        /// How long that node's lease lives on.
        #[serde(rename = "remaining_us", with = "micros")]
        remaining: Duration,
    },
    /// No claim is given up for this.
    Unheard,
    Promise {
        #[serde(rename = "by")]
        to: String,
        #[serde(skip)]
        ballot: Ballot,
    },
    Silence,
}

/// The state of a group on this node. `resource` is the one that failed.
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
        /// When the lease was free, and when a majority had granted it.
        #[serde(flatten)]
        timeline: AcquisitionTimeline,
        /// When the guard was opened.
        decided_ns: u64,
        address_ns: u64,
        announced_ns: u64,
    },
    /// This node has released the address.
    Release { decided_ns: u64, address_ns: u64 },
    /// Another process had removed the address while it is served here, and the agent put it back.
    /// `times` counts the removals in a row.
    PutBack { times: u32, message: String },
    /// Another host, with this Ethernet address, claims the address while it is served here.
    Claimed { mac: String, message: String },
    /// The address was on this node without the lease of its group.
    Stray { message: String },
    /// Adding or removing the address failed.
    #[serde(rename = "vip-error")]
    Failed { message: String },
}
