//! Events: what happened to this node and to what it knows of others.

use serde::{Deserialize, Serialize};

use super::keys::Keys;

/// The answer to a request for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Number of events that were asked for and are forgotten already.
    pub lost: u64,
    pub events: Vec<Event>,
}

/// An event. All times are nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event's number: 1, 2, 3, ...
    pub number: u64,
    pub at_ns: u64,
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of events, each with its particulars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
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
    /// This node has acquired the lease of a group.
    LeaseAcquired {
        group: String,
        /// When the lease was free.
        free_ns: u64,
        /// When a majority had granted the lease.
        majority_ns: u64,
    },
    /// This node stops serving a group: `lease-lost`, `moved`, `fail-back`, `rebalanced`,
    /// `drained`, `node-unfit`, `unhealthy`, `failed`, `stopped` (by an operator) or `constraint`.
    LeaseGivenUp {
        group: String,
        reason: String,
        /// The node that the lease is released for; absent if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<String>,
    },
    /// The lease of a group was released for this node, whose claim came to nothing, and is tried
    /// again: `lease` (that of another node lives at too many acceptors), `promise` (another node
    /// claims it with a higher ballot) or `silence` (too few acceptors granted it in time).
    ClaimGivenUp {
        group: String,
        reason: String,
        /// The node whose lease or claim stood in the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// How long that node's lease lives on.
        remaining_us: u64,
    },
    /// No ballot is left to claim the lease with.
    BallotsExhausted {
        group: String,
    },
    /// This node has taken over an address; `at_ns` is the announcement.
    Takeover {
        vip: String,
        /// When the lease was free, and when a majority had granted it.
        #[serde(default)]
        free_ns: u64,
        #[serde(default)]
        majority_ns: u64,
        /// When the guard was opened.
        decided_ns: u64,
        address_ns: u64,
        announced_ns: u64,
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
    /// This node has released an address.
    Release {
        vip: String,
        decided_ns: u64,
        address_ns: u64,
    },
    /// Another process had removed an address that is served here, and the agent put it back.
    /// `times` counts the removals in a row.
    PutBack {
        vip: String,
        times: u32,
        message: String,
    },
    /// Another host, with this Ethernet address, claims an address that is served here.
    Claimed {
        vip: String,
        mac: String,
        message: String,
    },
    /// An address was on this node without the lease of its group.
    Stray {
        vip: String,
        message: String,
    },
    /// Adding or removing an address failed.
    VipError {
        vip: String,
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
    /// A group is `started`, `incomplete`, `stopped`, `barred`, `fit`, `blocked`, `unblocked`,
    /// `broken` (an interface with one of its addresses) or `mended` here.
    Group {
        group: String,
        state: String,
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
