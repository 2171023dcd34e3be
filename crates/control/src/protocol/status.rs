//! The cluster from the local agent's point of view, and the state of the agent itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    group::{Group, Vip},
    keys::Keys,
    node::Node,
    report::FailedAction,
};

/// The cluster from the local agent's point of view.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the agent; 0 if it is of an older release.
    #[serde(default)]
    pub schema_version: u32,
    pub version: String,
    pub cluster: String,
    /// The cluster's port: UDP for heartbeats, TCP between agents.
    #[serde(default)]
    pub port: u16,
    pub instance: String,
    /// Name of the local node.
    pub node: String,
    pub pid: u32,
    /// The time of this status, in nanoseconds of `CLOCK_BOOTTIME`.
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
    /// Number of the list by whose majority this node claims leases; absent while the node must not
    /// claim any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claiming_version: Option<u16>,
    /// The former name of `claiming_version`, until the next release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_version: Option<u16>,
    /// The cluster's keys as this agent has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    #[serde(default)]
    pub groups: Vec<Group>,
    /// The latest failed actions on all nodes, oldest first, until an operator clears them.
    #[serde(default)]
    pub failures: Vec<FailedAction>,
    /// Verdict name → packets, from the kernel's `counters` map.
    pub counters: BTreeMap<String, u64>,
    /// The guard at the sockets; absent where no address is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_guard: Option<SocketGuard>,
    /// The restrictions that the kernel enforces on this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// Commands of witnesses that this agent refused.
    #[serde(default)]
    pub witness_commands: u64,
    /// Whether the file of operators' decisions was damaged when this agent started.
    #[serde(default)]
    pub decisions_lost: bool,
}

/// The restrictions that the kernel enforces on the agent, beside its missing capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether seccomp denies the system calls that the agent never makes.
    pub seccomp: bool,
    /// The version of Landlock that denies writes outside the agent's directories; absent where
    /// writes are not denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<u32>,
    /// The reasons why a restriction is not in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The guard for the traffic of local processes and containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketGuard {
    /// Whether the guard is attached.
    pub attached: bool,
    /// The reason why the guard is not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a majority of the nodes is alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub quorate: bool,
    /// Nodes that are alive, this one included.
    pub alive: usize,
    /// Number of nodes that make a majority.
    pub needed: usize,
    /// Number of nodes of which `needed` is a majority.
    pub configured: usize,
}

/// A node's load and its parts, per mille. A part is absent where the load is not computed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The load that the heartbeats carry, 0 to 1,000.
    pub load: u16,
    /// The last sample, before smoothing.
    pub raw: u16,
    /// `host`, `cgroup`, `run-queue` or `command`.
    pub source: String,
    /// The share of the last 10 s in which some task, or every task, waited for a CPU.
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
    /// The time for which the check has been in this state.
    pub since_ns: u64,
    /// The result of the last check.
    pub message: String,
}

/// The timing of this node's own pulse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// `deadline` (SCHED_DEADLINE), `fifo` (SCHED_FIFO) or `other`: no real-time scheduling.
    #[serde(default)]
    pub scheduling: String,
    /// SCHED_FIFO priority, 0 by another policy.
    pub realtime_priority: u8,
    /// The CPU time in each period that SCHED_DEADLINE reserves for the pulse; 0 by another policy.
    #[serde(default)]
    pub runtime_ns: u64,
    #[serde(default)]
    pub period_ns: u64,
    /// Rounds that took longer than `runtime_ns`.
    #[serde(default)]
    pub overruns: u64,
    /// The reason why a stronger policy was refused, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_refused: Option<String>,
    pub memory_locked: bool,
    pub ticks: u64,
    pub missed_ticks: u64,
    /// Ticks that were late by half an interval or more. A late probe and the next one count as
    /// one.
    #[serde(default)]
    pub late_ticks: u64,
    pub max_lateness_ns: u64,
    #[serde(flatten)]
    pub local_stalls: LocalStalls,
    #[serde(flatten)]
    pub former: FormerPulse,
    /// Probes that the network stack refused to send.
    pub send_errors: u64,
    /// Deadlines and votes for which the ring buffer to the agent had no room. The maps still have
    /// their content, so the agent read them later.
    #[serde(default)]
    pub events_lost: u64,
    #[serde(default)]
    pub votes_lost: u64,
    /// Time that the hypervisor took from this host's CPUs in the last second, in milliseconds.
    #[serde(default)]
    pub steal_ms: u64,
    /// The last long pause in which the control task got no CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved: Option<Starved>,
}

/// The local stalls since the start of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStalls {
    /// Whether a local stall lasts at present.
    #[serde(default)]
    pub local_stall: bool,
    /// Number of local stalls.
    #[serde(default)]
    pub local_stall_count: u64,
    /// Duration of all local stalls together.
    #[serde(default)]
    pub local_stall_ns: u64,
}

/// The former names of the fields of [`LocalStalls`], until the next release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerPulse {
    #[serde(default)]
    pub deaf: bool,
    #[serde(default)]
    pub deaf_count: u64,
    #[serde(default)]
    pub deaf_ns: u64,
}

impl From<LocalStalls> for FormerPulse {
    fn from(stalls: LocalStalls) -> Self {
        Self {
            deaf: stalls.local_stall,
            deaf_count: stalls.local_stall_count,
            deaf_ns: stalls.local_stall_ns,
        }
    }
}

/// A pause without a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starved {
    /// The time at which the pause ended.
    pub at_ns: u64,
    /// The length of the pause.
    pub pause_ns: u64,
    /// The real-time tasks that ran instead.
    pub reason: String,
}
