//! The control protocol: one JSON line asks, one JSON line answers, over a Unix stream socket.
//!
//! `docs/operations.md` documents it for scripts. Fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::decisions::Decisions;

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
    /// Hand over what `node` serves, one group after the other, then put it on standby.
    Drain {
        node: String,
    },
    /// Let `group` go wherever it is best.
    Unmove {
        group: String,
    },
    /// Forget the failures of `resource`, or of all, on `node`, or on all.
    Cleanup {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Leave `group`, or everything, alone, or no longer.
    Maintenance {
        on: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// Let a group or a resource run, or not.
    Enable {
        name: String,
        enabled: bool,
    },
    /// Stop and start a resource where it runs.
    Restart {
        resource: String,
    },
    /// Take over the configuration file as it is now.
    Reload,
    /// End: hand over what is served, or `keep` all as it is for the next agent of this node.
    Stop {
        #[serde(default)]
        keep: bool,
    },
    /// What the agent has to report; for its peers.
    Report,
}

impl Request {
    /// Whether it only asks, and changes nothing.
    pub fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Events { .. } | Self::Ping { .. } | Self::Report
        )
    }
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    Status(Box<Status>),
    Events(Events),
    Ping(Ping),
    Report(Box<Report>),
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
    /// The cluster's port: UDP for heartbeats, TCP between agents.
    #[serde(default)]
    pub port: u16,
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
    /// How this node's load was found last; absent before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// This node's health checks.
    #[serde(default)]
    pub health: Vec<Check>,
    pub nodes: Vec<Node>,
    pub vips: Vec<Vip>,
    /// Whether everything is left alone.
    #[serde(default)]
    pub maintenance: bool,
    /// What all nodes should have the same of this node's configuration, as a number.
    #[serde(default)]
    pub config: u32,
    /// Number of the list of nodes that this node's acceptor goes by.
    #[serde(default)]
    pub config_version: u16,
    /// The same of the list by whose majority it claims leases; absent while it must claim none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_version: Option<u16>,
    /// The cluster's keys as this agent has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    #[serde(default)]
    pub groups: Vec<Group>,
    /// The latest failed actions on all nodes, oldest first, until they are cleaned up.
    #[serde(default)]
    pub failures: Vec<FailedAction>,
    /// Verdict name → packets, from the kernel's `counters` map.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// The guard at the sockets; absent where no address is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_guard: Option<SocketGuard>,
}

/// The guard that local processes and containers meet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketGuard {
    /// Whether it is there.
    pub attached: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Which keys a node has: nothing of the keys themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Id of the one that it seals with.
    pub seals: u8,
    /// Ids of those that it takes, that one first.
    pub takes: Vec<u8>,
    /// Equal on nodes that take the same keys.
    pub mark: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub quorate: bool,
    /// Nodes that count as alive, this one included.
    pub alive: usize,
    /// Nodes that make a majority.
    pub needed: usize,
    /// Nodes whose majority it is.
    pub configured: usize,
}

/// A node's load, and what it was made of. Per mille; the parts are absent where it is not
/// made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// What the heartbeats carry, 0 to 1,000.
    pub load: u16,
    /// The last look, before it was smoothed.
    pub raw: u16,
    /// `host`, `cgroup`, `run-queue` or `command`.
    pub source: String,
    /// For how much of the last 10 s some, or all, that wanted to run waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_some: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_full: Option<u16>,
    /// The same for memory, and for input and output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_some: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_full: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_some: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_full: Option<u16>,
}

/// A health check of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// `exec`, `tcp`, `http`, `process`, `disk` or `interface`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `fatal` or `degraded`: what its failure means.
    pub failure: String,
    /// `unknown`, `well` or `failing`.
    pub state: String,
    /// How long it has been so.
    pub since_ns: u64,
    /// What the last look found.
    pub message: String,
}

/// How well this node's own pulse keeps time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// `deadline` (SCHED_DEADLINE), `fifo` (SCHED_FIFO) or `other`: no real-time scheduling.
    #[serde(default)]
    pub scheduling: String,
    /// SCHED_FIFO priority, 0 by another policy.
    pub realtime_priority: u8,
    /// The time that SCHED_DEADLINE keeps for the pulse, of each period; 0 by another policy.
    #[serde(default)]
    pub runtime_ns: u64,
    #[serde(default)]
    pub period_ns: u64,
    /// Rounds that took longer than that.
    #[serde(default)]
    pub overruns: u64,
    /// Why a stronger policy was refused, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_refused: Option<String>,
    pub memory_locked: bool,
    pub ticks: u64,
    pub missed_ticks: u64,
    /// Ticks that were late by half an interval or more: with the next one, such a probe counts as one.
    #[serde(default)]
    pub late_ticks: u64,
    pub max_lateness_ns: u64,
    /// Whether a local stall explains the silence of others just now.
    pub deaf: bool,
    /// Times that it did.
    pub deaf_count: u64,
    /// For how long it did, in all.
    #[serde(default)]
    pub deaf_ns: u64,
    /// Probes that the network stack refused to send.
    pub send_errors: u64,
    /// Deadlines and votes that the kernel could not tell the agent of, because it was not there to take them. The
    /// maps have what they said: it was only learnt later.
    #[serde(default)]
    pub events_lost: u64,
    #[serde(default)]
    pub votes_lost: u64,
    /// What the hypervisor took from this host's processors in the last second, in milliseconds.
    #[serde(default)]
    pub steal_ms: u64,
    /// The last time that the agent's slow side got no processor for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved: Option<Starved>,
}

/// A time without a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starved {
    /// When it ended.
    pub at_ns: u64,
    /// How long it was.
    pub pause_ns: u64,
    /// The real-time tasks that ran instead.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub id: u16,
    pub local: bool,
    /// It votes and serves nothing.
    #[serde(default)]
    pub witness: bool,
    /// `unknown`, `up`, `suspect`, `unhealthy`, `draining`, `agent-stalled` or `down`.
    pub state: String,
    /// `responder`, `starting`, `active`, ...: what the node says of itself.
    pub agent: String,
    /// That of its configuration; 0 if its agent never said.
    #[serde(default)]
    pub config: u32,
    /// Number of the list of nodes that it goes by; absent if it never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_version: Option<u16>,
    /// Id of the key that it seals with; absent where no agent says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u8>,
    /// Whether it takes the same keys as this node; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_keys: Option<bool>,
    /// For how long its agent has not answered by TCP, though it has a new report and its heartbeats arrive; absent
    /// where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_ns: Option<u64>,
    /// How many groups it serves.
    #[serde(default)]
    pub groups: u16,
    /// Its load, per mille; absent where no agent says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u16>,
    /// Which health checks fail there, as its heartbeats say: bit *n* is number *n*, bit 15 is "must serve
    /// nothing".
    #[serde(default)]
    pub health: u16,
    /// The same by name.
    #[serde(default)]
    pub failing: Vec<String>,
    /// What it said of the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// How long ago its pulse, and its slow side, last ticked when its kernel last answered; absent where no
    /// agent ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_age_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_age_us: Option<u32>,
    pub links: Vec<Link>,
}

/// What is served as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// As the `leases` map numbers it.
    pub id: u16,
    /// Who holds the lease, as this node's acceptor knows; absent while it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The lease that this node's acceptor knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Acceptors that granted it to this node; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    /// Whether all of it that is to run does.
    pub running: bool,
    /// Whether it is left alone.
    pub maintenance: bool,
    /// Whether an operator wants it to run nowhere.
    pub stopped: bool,
    /// The nodes on which it cannot run for now, because its resources failed there.
    pub barred: Vec<String>,
    /// The nodes whose interfaces do not reach the network of its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<String>,
    /// The node on which it could not be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Whether its owner's report cannot be had, so that nobody here knows what runs there.
    #[serde(default)]
    pub unreported: bool,
    /// The nodes on which it may run beside its owner, since nobody there stops it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<Remains>,
    pub resources: Vec<Resource>,
}

/// A node on which a group may still run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    pub node: String,
    /// `agent dead`, `agent dead or stalled`, `unreachable` or `not looked at yet`.
    pub cause: String,
    pub for_ns: u64,
}

impl std::fmt::Display for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.for_ns / 1_000_000_000;
        let Self { node, cause, .. } = self;
        write!(f, "may still run on {node} ({cause} for {seconds} s)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub name: String,
    /// As the configuration has it: `vip`, `ocf:heartbeat:apache`, `systemd:nginx.service`, `exec`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `unknown`, `stopped`, `starting`, `started`, `failed`, `stopping` or `blocked`.
    pub state: String,
    /// Where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Failures that count, on that node.
    pub failures: u32,
    /// Whether an operator wants it to be stopped.
    pub stopped: bool,
}

/// An action that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAction {
    pub node: String,
    pub resource: String,
    /// `probe`, `start`, `stop` or `monitor`.
    pub action: String,
    /// In words: `not running (7)`, `timed out`, ...
    pub outcome: String,
    /// The agent's exit code, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// When, in nanoseconds since 1970.
    pub at_unix_ns: u64,
    /// The agent's last words.
    pub message: String,
}

/// What a node tells its peers beside its heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its heartbeats carry the number of the latest.
    pub number: u32,
    /// Of the agent's life that made it.
    pub incarnation: u64,
    pub groups: Vec<GroupReport>,
    /// The health checks that fail there.
    #[serde(default)]
    pub failing: Vec<FailingCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    pub failures: Vec<FailedAction>,
    pub decisions: Decisions,
}

impl Report {
    /// What it says of a group.
    pub fn group(&self, name: &str) -> Option<&GroupReport> {
        self.groups.iter().find(|group| group.name == name)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingCheck {
    pub name: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    pub name: String,
    /// It does not know yet what of it runs there, or stops what should not.
    pub settling: bool,
    pub running: bool,
    pub barred: bool,
    pub blocked: bool,
    /// An interface with one of its addresses is missing there, switched off or without carrier.
    #[serde(default)]
    pub broken: bool,
    /// Those that are cleanly stopped are left out.
    pub resources: Vec<ResourceReport>,
}

impl GroupReport {
    /// Whether it says that this resource does anything there.
    pub fn is_active(&self, resource: &str) -> bool {
        let mut all = self.resources.iter();
        all.any(|said| {
            said.name == resource && !matches!(said.state.as_str(), "stopped" | "unknown")
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    pub name: String,
    pub state: String,
    pub failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub link: u8,
    pub interface: String,
    pub address: String,
    /// `native`, `skb`; only on the local node's links, and absent while the program is not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<String>,
    /// Why it is not native where that was to be tried first; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_fallback: Option<String>,
    /// What keeps the link from being used; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why nothing passes by this node's own end of the link; absent while something may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_outage: Option<Outage>,
    /// `unknown`, `up`, `suspect`, `down`; absent on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerLink>,
}

/// What is wrong with an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// `no carrier`, `down` or `missing`.
    pub signal: String,
    /// Since when.
    pub age_ns: u64,
}

/// What the kernel's row says of one link to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub rtt_ns: u64,
    /// Absent before the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply_age_ns: Option<u64>,
    /// Of the probes that left within the last half to whole minute, how many were not answered in time, per
    /// mille; absent while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<u16>,
    pub probes: u64,
    pub replies: u64,
    pub late_replies: u64,
    pub answered: u64,
    pub deadlines: u64,
    /// Frames that bore the peer's address and a wrong tag.
    #[serde(default)]
    pub bad_macs: u64,
    /// The same with the id of a key that this node does not take.
    #[serde(default)]
    pub unknown_keys: u64,
    /// The Ethernet address that the last of either came from; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_from: Option<String>,
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
    /// What others did to it here in the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// What somebody else did to an address, last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub message: String,
    pub age_ns: u64,
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
    /// The agent ends, and leaves all as it is for the next one.
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
    /// The agent's slow side got no processor for long; `reason` names the real-time tasks that ran instead.
    Starved {
        pause_ns: u64,
        reason: String,
    },
    Quorum {
        quorate: bool,
        alive: usize,
    },
    /// The lease of a group is this node's now.
    LeaseAcquired {
        group: String,
        /// When it was free.
        free_ns: u64,
        /// When a majority had granted it.
        majority_ns: u64,
    },
    /// This node stops serving a group: `lease-lost`, `moved`, `fail-back`, `rebalanced`, `drained`,
    /// `node-unfit`, `unhealthy`, `failed`, `stopped` (by an operator) or `constraint`.
    LeaseGivenUp {
        group: String,
        reason: String,
        /// Whom it is released for, if for somebody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<String>,
    },
    /// The lease of a group was released for this node, whose claim came to nothing, and is tried
    /// again: `lease` (that of another node lives at too many acceptors), `promise` (another node
    /// claims it with a higher ballot) or `silence` (too few acceptors granted it in time).
    ClaimGivenUp {
        group: String,
        reason: String,
        /// Whose lease or claim stood in the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// How long that lease lives on.
        remaining_us: u64,
    },
    /// There is no ballot left to claim the lease with.
    BallotsExhausted {
        group: String,
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
    /// An interface of a link or an address is `missing`, `renamed`, `attached` (again), `failed`,
    /// `not-running` or `running`; `lost` (its carrier, or it is switched off) or `back`; `silent` (nobody is heard there,
    /// but elsewhere) or `well` again.
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
    /// The address was given up.
    Release {
        vip: String,
        decided_ns: u64,
        address_ns: u64,
    },
    /// Somebody had removed an address that is served here, for so many times in a row, and it was put
    /// back.
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
    /// A resource is `started`, `stopped`, ...: see [`Resource::state`].
    Resource {
        resource: String,
        state: String,
    },
    /// An action on a resource failed.
    ResourceFailed {
        resource: String,
        action: String,
        outcome: String,
        message: String,
    },
    /// A group is `started`, `incomplete`, `stopped`, `barred`, `fit`, `blocked`, `unblocked`, `broken`
    /// (an interface with one of its addresses) or `mended` here.
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
        /// Whether it must serve nothing.
        fatal: bool,
    },
    /// An operator decided something for the cluster, on this node or another.
    Decided {
        what: String,
    },
    /// Heartbeats came from a peer's address that were sealed with no key of this node: so many since the last such
    /// event, the last of them from this Ethernet address.
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
    /// This node has other keys, or seals with another.
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
