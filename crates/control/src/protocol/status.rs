//! The cluster as the local agent sees it, and how the agent itself is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    group::{Group, Vip},
    keys::Keys,
    node::Node,
    report::FailedAction,
};

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
    /// This node's load and its parts; absent before the first sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// This node's health checks.
    #[serde(default)]
    pub health: Vec<Check>,
    pub nodes: Vec<Node>,
    pub vips: Vec<Vip>,
    /// Whether the whole cluster is in maintenance.
    #[serde(default)]
    pub maintenance: bool,
    /// Digest of the part of the configuration that all nodes should have in common.
    #[serde(default)]
    pub config: u32,
    /// Number of the list of nodes that this node's acceptor accepts.
    #[serde(default)]
    pub config_version: u16,
    /// Number of the list by whose majority this node claims leases; absent while it must claim
    /// none.
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
    pub counters: BTreeMap<String, u64>,
    /// The guard at the sockets; absent where no address is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_guard: Option<SocketGuard>,
    /// What the kernel keeps this agent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// Commands of witnesses that this agent refused.
    #[serde(default)]
    pub witness_commands: u64,
    /// Whether the file of operators' decisions was damaged when this agent started.
    #[serde(default)]
    pub decisions_lost: bool,
}

/// What the kernel keeps the agent from, beside its missing capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether the system calls are denied that the agent never makes.
    pub seccomp: bool,
    /// The version of Landlock by which writes are denied outside the agent's directories; absent
    /// where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<u32>,
    /// Why one of them is not in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The guard that local processes and containers meet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketGuard {
    /// Whether the guard is attached.
    pub attached: bool,
    /// Why the guard is not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a majority of the nodes is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub quorate: bool,
    /// Nodes that count as alive, this one included.
    pub alive: usize,
    /// Nodes that make a majority.
    pub needed: usize,
    /// Nodes of which `needed` is a majority.
    pub configured: usize,
}

/// A node's load and its parts, per mille. A part is absent where the load is not made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The load that the heartbeats carry, 0 to 1,000.
    pub load: u16,
    /// The last sample, before smoothing.
    pub raw: u16,
    /// `host`, `cgroup`, `run-queue` or `command`.
    pub source: String,
    /// The share of the last 10 s in which some task, or every task, waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_some: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_full: Option<u16>,
    /// The same shares for memory, and for input and output.
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
    /// `fatal` or `degraded`: the meaning of a failure.
    pub failure: String,
    /// `unknown`, `well` or `failing`.
    pub state: String,
    /// How long the check has been in this state.
    pub since_ns: u64,
    /// The finding of the last check.
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
    /// The time of each period that SCHED_DEADLINE keeps for the pulse; 0 by another policy.
    #[serde(default)]
    pub runtime_ns: u64,
    #[serde(default)]
    pub period_ns: u64,
    /// Rounds that took longer than `runtime_ns`.
    #[serde(default)]
    pub overruns: u64,
    /// Why a stronger policy was refused, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_refused: Option<String>,
    pub memory_locked: bool,
    pub ticks: u64,
    pub missed_ticks: u64,
    /// Ticks that were late by half an interval or more. Such a probe and the next one count as
    /// one.
    #[serde(default)]
    pub late_ticks: u64,
    pub max_lateness_ns: u64,
    /// Whether a local stall explains the silence of others just now.
    pub deaf: bool,
    /// Number of such stalls.
    pub deaf_count: u64,
    /// Duration of all such stalls together.
    #[serde(default)]
    pub deaf_ns: u64,
    /// Probes that the network stack refused to send.
    pub send_errors: u64,
    /// Deadlines and votes for which the ring buffer to the agent had no room. The maps still have
    /// their content, so the agent learnt of them later.
    #[serde(default)]
    pub events_lost: u64,
    #[serde(default)]
    pub votes_lost: u64,
    /// Time that the hypervisor took from this host's processors in the last second, in
    /// milliseconds.
    #[serde(default)]
    pub steal_ms: u64,
    /// The last long time in which the control task got no processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved: Option<Starved>,
}

/// A time without a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starved {
    /// When the time ended.
    pub at_ns: u64,
    /// How long the time was.
    pub pause_ns: u64,
    /// The real-time tasks that ran instead.
    pub reason: String,
}
