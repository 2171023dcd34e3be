//! Events: what happened to this node and to what it knows of others.

use serde::{Deserialize, Serialize};

use super::{
    group_event::{GroupEventFields, NamedGroupEvent, VipEvent},
    keys::Keys,
};

/// The answer to a request for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Number of events that were asked for and are forgotten already.
    pub lost: u64,
    pub events: Vec<Event>,
}

/// An event. Times are nanoseconds of `CLOCK_BOOTTIME` unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event's number: 1, 2, 3, ...
    pub number: u64,
    pub at_ns: u64,
    /// The same by the wall clock, as it was set when the event was noted: nanoseconds since 1970,
    /// in a string, since readers of JSON round numbers of that size.
    #[serde(default, with = "in_a_string", skip_serializing_if = "Option::is_none")]
    pub at_unix_ns: Option<u64>,
    #[serde(flatten)]
    pub what: EventKind,
}

/// The kinds of events, each with its particulars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The agent's first and last event.
    Started,
    Stopping,
    /// The agent ends for a restart: programs, addresses and resources stay in place.
    Parting,
    /// A link to a peer changed state.
    Link {
        node: String,
        link: u8,
        from: String,
        to: String,
    },
    /// A peer changed state. The trace is there for `to: "down"`.
    Peer {
        node: String,
        from: String,
        to: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<DownTrace>,
    },
    /// A local stall explains the silence of others, or no longer does.
    Deaf {
        deaf: bool,
        reason: String,
    },
    /// The control task got no processor for long; `reason` names the real-time tasks that ran
    /// instead.
    Starved {
        pause_ns: u64,
        reason: String,
    },
    Quorum {
        quorate: bool,
        alive: usize,
    },
    /// An interface of a link or an address is `missing`, `renamed`, `attached` (again), `failed`,
    /// `not-running` or `running`; `lost` (its carrier, or it is switched off) or `back`; `silent`
    /// (nobody is heard there, but elsewhere) or `well` again.
    Interface {
        interface: String,
        state: String,
        message: String,
    },
    /// The guard at the sockets is `attached` (again), or `failed` to be.
    SocketGuard {
        state: String,
        message: String,
    },
    /// A resource is `started`, `stopped`, ...: see [`super::Resource::state`].
    Resource {
        resource: String,
        state: String,
        /// That its program had to be killed, or empty.
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
    /// A health check of this node failed, or is well again.
    Health {
        check: String,
        /// `fatal` or `degraded`.
        failure: String,
        well: bool,
        message: String,
    },
    /// Other health checks of a peer fail than before; none if all are well.
    PeerHealth {
        node: String,
        failing: Vec<String>,
        /// Whether the peer must serve nothing.
        fatal: bool,
    },
    /// An operator decided something for the cluster, on this node or another.
    Decided {
        /// The node that it was decided on; absent if it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        what: String,
    },
    /// The heartbeats of `node` are refused `by` another, since they are of an older incarnation
    /// than was heard before: both of these nodes tell it.
    Outdated {
        node: String,
        by: String,
    },
    /// Heartbeats arrived from a peer's address that no key of this node had sealed. The numbers
    /// count since the last such event; the last heartbeat came `from` this Ethernet address.
    Refused {
        node: String,
        link: u8,
        bad_macs: u64,
        unknown_keys: u64,
        from: String,
    },
    /// Leases are claimed by a majority of the list of nodes with this number from now on.
    ConfigVersion {
        version: u16,
    },
    /// This node takes other keys than before, or seals with another.
    Keys(Keys),
    /// A hook ended; `status` is absent if it was killed or could not start.
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

/// The steps from the last reply of a peer to the decision that it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownTrace {
    pub last_reply_ns: u64,
    /// The deadline: last reply and timeout.
    pub deadline_ns: u64,
    /// When the kernel's timer fired; 0 if the pulse found it first.
    pub fired_ns: u64,
    /// When the pulse decided.
    pub awake_ns: u64,
}
