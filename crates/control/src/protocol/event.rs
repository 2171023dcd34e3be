//! Events: changes of this node, and of its information about other nodes.

use serde::{Deserialize, Serialize};

use super::{
    group_event::{GroupEventFields, NamedGroupEvent, VipEvent},
    keys::Keys,
};

/// The answer to a request for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Number of requested events that are no longer in the agent's buffer.
    pub lost: u64,
    pub events: Vec<Event>,
}

/// An event. Times are nanoseconds of `CLOCK_BOOTTIME` unless their documentation names another
/// clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the agent; 0 if it is of an older release.
    #[serde(default)]
    pub schema_version: u32,
    /// The event's number: 1, 2, 3, ...
    pub number: u64,
    pub at_ns: u64,
    /// The time of the event by the wall clock, as the clock was set then: nanoseconds since 1970.
    /// The value is a string, since readers of JSON round numbers of that size.
    #[serde(default, with = "in_a_string", skip_serializing_if = "Option::is_none")]
    pub at_unix_ns: Option<u64>,
    #[serde(flatten)]
    pub what: EventKind,
}

/// The kinds of events with their fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The agent has started. This and `Stopping` are the agent's first and last events.
    Started,
    Stopping,
    /// The agent ends for a restart: programs, addresses and resources stay in place.
    #[serde(rename = "parting")]
    GracefulRestart,
    /// A link to a peer changed state.
    Link {
        node: String,
        link: u8,
        from: String,
        to: String,
    },
    /// A peer changed state. The trace is present for `to: "down"`.
    Peer {
        node: String,
        from: String,
        to: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<DownTrace>,
    },
    /// A local stall begins or ends. At its beginning, the silence of peers is counted anew.
    #[serde(rename = "deaf")]
    LocalStall {
        /// Whether the stall begins.
        #[serde(rename = "deaf")]
        began: bool,
        reason: String,
    },
    /// The control task got no CPU for a long time. `reason` names the real-time tasks that ran
    /// instead.
    Starved {
        pause_ns: u64,
        reason: String,
    },
    Quorum {
        quorate: bool,
        alive: usize,
    },
    /// An interface of a link or an address changed state. `missing`, `renamed`, `attached`
    /// (again), `failed`, `not-running` and `running` concern the programs. `lost` and `back`
    /// concern its carrier, or its being switched off and on. `silent` means that no peer answers
    /// there although peers answer elsewhere; `well` ends that.
    Interface {
        interface: String,
        state: String,
        message: String,
    },
    /// The guard at the sockets was `attached` (again), or attaching it `failed`.
    SocketGuard {
        state: String,
        message: String,
    },
    /// A resource changed state: `started`, `stopped`, …, as in [`super::Resource::state`].
    Resource {
        resource: String,
        state: String,
        /// A remark that its program had to be killed, or an empty text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
    /// An action on a resource failed.
    ResourceFailed {
        resource: String,
        action: String,
        outcome: String,
        message: String,
    },
    /// A health check of this node failed, or succeeds again.
    Health {
        check: String,
        /// `fatal` or `degraded`.
        failure: String,
        well: bool,
        message: String,
    },
    /// The set of failing health checks of a peer changed. The list is empty if all succeed.
    PeerHealth {
        node: String,
        failing: Vec<String>,
        /// Whether the failures forbid the peer to serve anything.
        fatal: bool,
    },
    /// An operator made a decision for the cluster, on this node or another.
    Decided {
        /// The node on which the decision was made; absent if unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        what: String,
    },
    /// The node `by` rejects the heartbeats of `node`, because their incarnation is older than one
    /// received before. Both nodes report this.
    Outdated {
        node: String,
        by: String,
    },
    /// Heartbeats from a peer's address carried a tag that fits no key of this node. The numbers
    /// count since the last such event. `from` is the Ethernet address that the last heartbeat came
    /// from.
    Refused {
        node: String,
        link: u8,
        #[serde(default)]
        bad_tags: u64,
        /// The former name of `bad_tags`, until the next release.
        #[serde(default)]
        bad_macs: u64,
        unknown_keys: u64,
        from: String,
    },
    /// From now on, this node claims leases by a majority of the list of nodes with this number.
    ConfigVersion {
        version: u16,
    },
    /// This node accepts other keys than before, or sends with another key.
    Keys(Keys),
    /// A hook ended. `status` is absent if the hook was killed or could not start.
    Hook {
        on: String,
        exec: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        message: String,
    },
    /// An event of a group on this node.
    #[serde(untagged)]
    Group {
        group: String,
        #[serde(flatten, with = "GroupEventFields")]
        event: NamedGroupEvent,
    },
    /// An event of a virtual address on this node.
    #[serde(untagged)]
    Vip {
        vip: String,
        #[serde(flatten)]
        event: VipEvent,
    },
}

impl EventKind {
    /// The event of a group, if it is one.
    pub const fn of_group(&self) -> Option<&NamedGroupEvent> {
        match self {
            Self::Group { event, .. } => Some(event),
            _ => None,
        }
    }

    /// The event of a virtual address, if it is one.
    pub const fn of_vip(&self) -> Option<&VipEvent> {
        match self {
            Self::Vip { event, .. } => Some(event),
            _ => None,
        }
    }
}

/// A number as a string.
mod in_a_string {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        number: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => serializer.collect_str(number),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

/// The steps from the last reply of a peer to the decision that the peer is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownTrace {
    pub last_reply_ns: u64,
    /// The deadline: the time of the last reply plus the timeout.
    pub deadline_ns: u64,
    /// Time at which the kernel's timer fired; 0 if the pulse noticed the deadline first.
    pub fired_ns: u64,
    /// Time at which the pulse decided.
    pub awake_ns: u64,
}
