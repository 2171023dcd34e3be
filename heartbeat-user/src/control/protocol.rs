//! The control protocol: one JSON line asks, one JSON line answers, over a Unix stream socket.
//!
//! `docs/operations.md` documents it for scripts. Fields are only ever added.

use serde::{Deserialize, Serialize};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// The latest events, oldest first, from number `after` + 1 on.
    Events {
        #[serde(default)]
        after: u64,
    },
    /// The next `count` round-trip times to `node`.
    Ping {
        node: String,
        count: u32,
    },
    /// Hand `group` over to `node`, where it stays.
    Move {
        group: String,
        node: String,
    },
    /// Let `node` serve nothing until it is online again.
    Standby {
        node: String,
    },
    Online {
        node: String,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    Status(Box<Status>),
    Events(Events),
    Ping(Ping),
    /// It was done; the text says what.
    Done {
        text: String,
    },
    Error {
        message: String,
    },
}

/// The cluster as the local agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub cluster: String,
    pub instance: String,
    /// Name of the local node.
    pub node: String,
    pub pid: u32,
    /// Nanoseconds of `CLOCK_BOOTTIME` when this view was taken.
    pub at_ns: u64,
    pub uptime_ns: u64,
    pub interval_ns: u64,
    pub timeout_ns: u64,
    #[serde(default)]
    pub lease_ns: u64,
    /// `starting`, `active`, `standby` or `draining`.
    pub state: String,
    pub quorum: Quorum,
    pub pulse: Pulse,
    pub nodes: Vec<Node>,
    pub vips: Vec<Vip>,
    /// Verdict name → packets, from the kernel's `counters` map.
    pub counters: std::collections::BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub quorate: bool,
    /// Nodes that count as alive, this one included.
    pub alive: usize,
    /// Nodes that make a majority.
    pub needed: usize,
    pub configured: usize,
}

/// How well this node's own pulse keeps time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// SCHED_FIFO priority, 0 if real-time scheduling was refused.
    pub realtime_priority: u8,
    pub memory_locked: bool,
    pub ticks: u64,
    pub missed_ticks: u64,
    pub max_lateness_ns: u64,
    /// Whether a local stall explains the silence of others just now.
    pub deaf: bool,
    /// Times that it did.
    pub deaf_count: u64,
    /// Probes that the network stack refused to send.
    pub send_errors: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub id: u16,
    pub local: bool,
    /// It votes and serves nothing.
    #[serde(default)]
    pub witness: bool,
    /// `unknown`, `up`, `suspect`, `agent-stalled` or `down`.
    pub state: String,
    /// `responder`, `starting`, `active`, ...: what the node says of itself.
    pub agent: String,
    pub links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub link: u8,
    pub interface: String,
    pub address: String,
    /// `native`, `skb`; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<String>,
    /// `unknown`, `up`, `suspect`, `down`; absent on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerLink>,
}

/// What the kernel's row says of one link to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub rtt_ns: u64,
    /// Absent before the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply_age_ns: Option<u64>,
    pub probes: u64,
    pub replies: u64,
    pub late_replies: u64,
    pub answered: u64,
    pub deadlines: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    pub name: String,
    pub address: String,
    pub interface: String,
    /// Its group, as the `leases` map numbers it.
    #[serde(default)]
    pub group: u16,
    /// Who holds the lease, as this node's acceptor knows; absent while it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The lease that this node's acceptor knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Acceptors that granted it to this node; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    #[serde(default)]
    pub guard: Guard,
    /// Whether the address is on the local interface.
    pub held: bool,
    /// Why the last attempt to add or remove it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A lease as one acceptor keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// (round << 16) | node id.
    pub ballot: u64,
    pub remaining_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    pub granted: usize,
    pub needed: usize,
    pub of: usize,
}

/// What the kernel does with traffic of the address on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub open: bool,
    /// Packets to the address that came while it was closed.
    pub dropped_in: u64,
    /// Packets from the address that were about to leave while it was closed.
    pub dropped_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Events that were asked for but already forgotten.
    pub lost: u64,
    pub events: Vec<Event>,
}

/// Something that happened. All times are nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// 1, 2, 3, ...
    pub number: u64,
    pub at_ns: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The agent's first and last event.
    Started,
    Stopping,
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
    Quorum {
        quorate: bool,
        alive: usize,
    },
    /// The lease of an address is this node's now.
    LeaseAcquired {
        vip: String,
        /// When it was free.
        free_ns: u64,
        /// When a majority had granted it.
        majority_ns: u64,
    },
    /// This node stops serving an address; `lease-lost`, `moved`, `fail-back` or `node-unfit`.
    LeaseGivenUp {
        vip: String,
        reason: String,
        /// Whom it is released for, if for somebody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<String>,
    },
    /// There is no ballot left to claim the lease with.
    BallotsExhausted {
        vip: String,
    },
    /// The address came to this node; `at_ns` is the announcement.
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
    /// The address was given up.
    Release {
        vip: String,
        decided_ns: u64,
        address_ns: u64,
    },
    /// Adding or removing an address failed.
    VipError {
        vip: String,
        message: String,
    },
    /// A hook ended; `status` is absent if it was killed or could not start.
    Hook {
        on: String,
        exec: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        message: String,
    },
}

/// How a silence became a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownTrace {
    pub last_reply_ns: u64,
    /// When silence became too long.
    pub deadline_ns: u64,
    /// When the kernel's timer fired; 0 if the pulse found it first.
    pub fired_ns: u64,
    /// When the pulse decided.
    pub awake_ns: u64,
}

/// Round-trip times from kernel timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub node: String,
    pub links: Vec<PingLink>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingLink {
    pub link: u8,
    pub address: String,
    /// Probes that left while the samples were taken.
    pub probes: u64,
    /// Fresh replies to them.
    pub replies: u64,
    pub rtt_ns: Vec<u64>,
}
