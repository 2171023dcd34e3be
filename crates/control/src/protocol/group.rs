//! A group with its resources and addresses, and the holder of its lease.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A group: resources that one node serves as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// The group's number in the `leases` map.
    pub id: u16,
    /// The holder of the lease, according to this node's acceptor; absent while the lease is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The lease in the slot of this node's acceptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The acceptors that granted the lease to this node; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    /// Whether all resources run that should run.
    pub running: bool,
    /// Whether the group is in maintenance.
    pub maintenance: bool,
    /// Whether an operator has stopped the group on all nodes.
    pub stopped: bool,
    /// The nodes that are ineligible for now, because resources failed there.
    pub barred: Vec<String>,
    /// The nodes whose interfaces do not reach the network of the group's addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<String>,
    /// The node on which the group could not be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Whether the owner's report cannot be fetched, so that the state of the resources there is
    /// unknown to this node.
    #[serde(default)]
    pub unreported: bool,
    /// The nodes whose configurations lack the group. A group that a reload added is claimed once
    /// all nodes have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// The nodes on which the group may run beside its owner, since no agent there stops it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<Remains>,
    pub resources: Vec<Resource>,
}

/// A node on which a group may still run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    pub node: String,
    /// `agent dead`, `agent dead or stalled`, `unreachable` or `not probed yet`.
    pub cause: String,
    pub for_ns: u64,
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.for_ns / 1_000_000_000;
        let Self { node, cause, .. } = self;
        write!(f, "may still run on {node} ({cause} for {seconds} s)")
    }
}

/// A resource of a group, and its state on the node that runs, starts or stops it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub name: String,
    /// The type in the configuration: `vip`, `ocf:heartbeat:apache`, `systemd:nginx.service`,
    /// `exec`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `unknown`, `stopped`, `starting`, `started`, `failed`, `stopping` or `blocked`.
    pub state: String,
    /// The node to which the state applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The number of current failures on that node.
    pub failures: u32,
    /// Whether an operator has stopped the resource.
    pub stopped: bool,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    pub name: String,
    pub address: String,
    pub interface: String,
    /// The group's number in the `leases` map.
    #[serde(default)]
    pub group: u16,
    /// The holder of the lease, according to this node's acceptor; absent while the lease is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The lease in the slot of this node's acceptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The acceptors that granted the lease to this node; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    #[serde(default)]
    pub guard: Guard,
    /// Whether the address is on the local interface.
    pub held: bool,
    /// The reason why the last attempt to add or remove the address failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last interference of others with the address, if within the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// The last interference of others with an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub message: String,
    pub age_ns: u64,
}

/// A lease in the slot of one acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// (round << 16) | node id. Readers of JSON round numbers of that size. The field is
    /// deprecated: use the next two fields.
    pub ballot: u64,
    /// The round of the ballot, and the node of the ballot.
    #[serde(default)]
    pub ballot_round: u64,
    #[serde(default)]
    pub ballot_node: u16,
    pub remaining_ns: u64,
}

/// The votes for this node's claim to a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    pub granted: usize,
    pub needed: usize,
    pub of: usize,
}

/// The counters of the kernel guard for the traffic of an address on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub open: bool,
    /// Packets to the address that arrived while the guard was closed.
    pub dropped_in: u64,
    /// Packets from the address that the guard dropped on their way out while it was closed.
    pub dropped_out: u64,
}
