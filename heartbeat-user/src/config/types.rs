//! A configuration that was found good, and what the agent asks of it.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use heartbeat_common::{
    maps::PIN_ROOT,
    wire::{ClusterId, GroupId, LinkId, NodeId},
};

use super::report::Problem;
use crate::net::IpPrefix;

/// A valid configuration, as the local node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    pub cluster: String,
    pub cluster_id: ClusterId,
    pub instance: String,
    /// File that holds the cluster key, see [`super::key::Keys::load`].
    pub key: PathBuf,
    /// UDP port of heartbeats.
    pub port: u16,
    /// From one probe to the next.
    pub interval: Duration,
    /// Silence after which a link is down.
    pub timeout: Duration,
    /// Age of a peer's last tick from which its agent counts as stalled.
    pub agent_stall: Duration,
    /// How long the right to serve a VIP lasts without renewal.
    pub lease: Duration,
    /// The longest lease that this node's acceptor grants, and so how long it abstains once loaded.
    pub max_lease: Duration,
    /// How much two nodes' clocks may differ in rate, in parts per million.
    pub drift_ppm: u32,
    /// Whether a VIP goes back to a better-ranked node that has recovered.
    pub auto_failback: bool,
    /// SCHED_FIFO priority to ask for, 1 to 99; `None` is not to ask.
    pub realtime_priority: Option<u8>,
    /// 1 to 8; a link's id is its place.
    pub links: Vec<Link>,
    /// In the order of the file, which is also the rank of those that a VIP does not prefer.
    pub nodes: Vec<Node>,
    pub vips: Vec<Vip>,
    pub hooks: Vec<Hook>,
    /// What is allowed but unwise.
    pub warnings: Vec<Problem>,
    pub(super) run: PathBuf,
    pub(super) state: PathBuf,
    /// Index of the local node in `nodes`.
    pub(super) local: usize,
}

impl Config {
    /// The node that this host is.
    pub fn local(&self) -> &Node {
        &self.nodes[self.local]
    }

    /// The other nodes, in the order of the file.
    pub fn peers(&self) -> impl Iterator<Item = &Node> {
        let local = self.local().id;
        self.nodes.iter().filter(move |node| node.id != local)
    }

    /// The nodes that may serve, in the order of the file. All nodes vote.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == Role::Member)
    }

    /// The nodes that only vote, in the order of the file.
    pub fn witnesses(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == Role::Witness)
    }

    /// The addresses that the local node may serve: all of them, or none on a witness.
    pub fn served(&self) -> &[Vip] {
        match self.local().role {
            Role::Member => &self.vips,
            Role::Witness => &[],
        }
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub fn node_named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The local end of each link, in link order.
    pub fn local_links(&self) -> impl Iterator<Item = LocalLink<'_>> {
        let local = self.local();
        self.links
            .iter()
            .zip(&local.interfaces)
            .zip(&local.addresses)
            .map(|((link, interface), address)| LocalLink {
                id: link.id,
                interface,
                address: *address,
                mode: link.mode,
            })
    }

    /// Directory of this instance's BPF pins.
    pub fn pin_dir(&self) -> PathBuf {
        Path::new(PIN_ROOT).join(&self.instance)
    }

    /// Where the agent listens for `heartbeat status` and its siblings.
    pub fn socket(&self) -> PathBuf {
        self.run.join(format!("{}.sock", self.instance))
    }

    /// What keeps a second agent of this instance out.
    pub fn lock(&self) -> PathBuf {
        self.run.join(format!("{}.lock", self.instance))
    }

    /// Directory of what must outlive a restart.
    pub fn state_dir(&self) -> PathBuf {
        self.state.join(&self.instance)
    }
}

/// A network that the nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    /// Its interface's name on nodes that do not say otherwise.
    pub interface: String,
    pub mode: XdpMode,
}

/// The local node's end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalLink<'a> {
    pub id: LinkId,
    pub interface: &'a str,
    pub address: IpAddr,
    pub mode: XdpMode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    /// One per link, in link order.
    pub addresses: Vec<IpAddr>,
    /// One per link, in link order.
    pub interfaces: Vec<String>,
}

/// What a node does for the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Votes, and serves.
    #[default]
    Member,
    /// Votes, serves nothing.
    Witness,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Member, Self::Witness];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Witness => "witness",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An address that moves between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    pub name: String,
    /// Its lease, made of the name: the same on all nodes, whatever the order of their files.
    pub group: GroupId,
    pub address: IpPrefix,
    /// Where it goes on the local node.
    pub interface: String,
    /// The members, best first.
    pub rank: Vec<NodeId>,
}

/// A command to run when something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// At least one, without repetition.
    pub on: Vec<HookEvent>,
    /// Absolute path.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub timeout: Duration,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// Native, or the generic hook where the driver has no native one.
    #[default]
    Auto,
    Native,
    /// The generic hook.
    Skb,
}

impl XdpMode {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Native, Self::Skb];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a hook can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookEvent {
    PeerDown,
    PeerUp,
    Takeover,
    Release,
}

impl HookEvent {
    pub const ALL: [Self; 4] = [Self::PeerDown, Self::PeerUp, Self::Takeover, Self::Release];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerDown => "peer-down",
            Self::PeerUp => "peer-up",
            Self::Takeover => "takeover",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
