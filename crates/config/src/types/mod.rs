//! A configuration that was found good, and the questions that the agent asks of it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use heartbeat_common::xdp_mode::XdpMode;
use heartbeat_common::{
    maps::{MAX_SERVED, PIN_ROOT},
    prefix::ServedAddress,
    wire::{ClusterId, GroupId, LinkId, NodeId},
};
pub use heartbeat_core::placement::{Colocation, Order};
use heartbeat_core::{
    index::{PeerIndex, ResourceIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    membership::Voters,
    placement::Score,
};

mod execution;
mod hook;
mod problem;
mod vitals;

pub use execution::{Execution, Limit, LimitKind, StopSignal};
pub use hook::{Hook, HookEvent};
pub use problem::{ConfigError, Problem};
pub use vitals::{
    HealthCheck, HealthKind, HttpTarget, Load, LoadSource, Meaning, Policy, ProcessName, Rebalance,
    Strategy,
};

/// Each group has a lease of its own, and each of its addresses.
pub const MAX_GROUPS: usize = 64;
const _: () = assert!(MAX_GROUPS <= MAX_SERVED);

/// A valid configuration, as the local node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that holds the configuration.
    pub path: PathBuf,
    pub cluster: String,
    pub cluster_id: ClusterId,
    pub instance: String,
    /// File that holds the cluster key, see [`crate::key::Keys::load`].
    pub key: PathBuf,
    /// UDP port of heartbeats.
    pub port: u16,
    /// Number of the list of nodes, from 1. Each change of the list adds one.
    pub version: u16,
    /// Time from one probe to the next.
    pub interval: Duration,
    /// Silence after which a link is down.
    pub timeout: Duration,
    /// Age of the last tick from which an agent counts as hung, a peer's or this node's.
    pub agent_stall: Duration,
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// The longest lease that this node's acceptor grants. For so long it abstains once loaded.
    pub max_lease: Duration,
    /// How much a node's clock may differ in rate from true time, in parts per million.
    pub drift_ppm: u32,
    /// Whether a group goes back to a better-ranked node that has recovered.
    pub auto_failback: bool,
    /// SCHED_FIFO priority to ask for where SCHED_DEADLINE is refused, 1 to 99; `None` is to ask
    /// for neither.
    pub realtime_priority: Option<u8>,
    /// The links, 1 to 8; a link's id is its place.
    pub links: Vec<Link>,
    /// The nodes in the order of the file, which is also the rank of those that a group does not
    /// prefer.
    pub nodes: Vec<Node>,
    /// The groups, each under a lease of its own: first the [[vip]]s, then the [[group]]s.
    pub groups: ByGroup<Group>,
    /// The addresses of all groups, in the order of the groups and of their resources.
    pub vips: IndexVec<VipIndex, Vip>,
    pub colocations: Vec<Colocation>,
    pub orders: Vec<Order>,
    /// Whether the whole cluster is in maintenance: agents leave all resources alone.
    pub maintenance: bool,
    /// Whether `heartbeat reload --all` on another node may replace this node's file.
    pub accept_configuration: bool,
    /// The group whose users may read from the control socket; `None` is that only root may.
    pub control_group: Option<String>,
    /// At most [`heartbeat_common::wire::Health::MAX_CHECKS`].
    pub health: Vec<HealthCheck>,
    pub load: Load,
    /// The address on which the agent serves its metrics; `None` if it does not.
    pub metrics: Option<SocketAddr>,
    pub placement: Policy,
    /// The kinds that capacities and demands are counted in, sorted by name.
    pub utilization: Vec<String>,
    pub hooks: Vec<Hook>,
    /// Settings that are allowed but unwise.
    pub warnings: Vec<Problem>,
    pub(super) run: PathBuf,
    pub state: PathBuf,
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

    /// The peers in the same order, each with its number.
    pub fn peers_enumerated(&self) -> impl Iterator<Item = (PeerIndex, &Node)> {
        (0..).map(PeerIndex).zip(self.peers())
    }

    /// The number of the peer with this id. `None` if no peer has it.
    pub fn peer_index(&self, node: NodeId) -> Option<PeerIndex> {
        let mut peers = self.peers_enumerated();
        peers.find_map(|(index, peer)| (peer.id == node).then_some(index))
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
    pub fn served(&self) -> &IndexVec<VipIndex, Vip> {
        static NONE: IndexVec<VipIndex, Vip> = IndexVec::new();
        match self.local().role {
            Role::Member => &self.vips,
            Role::Witness => &NONE,
        }
    }

    /// The list of nodes, all of which vote.
    pub fn voters(&self) -> Voters {
        Voters {
            version: self.version,
            nodes: self.nodes.iter().map(|node| node.id).collect(),
        }
    }

    /// The groups that the local node may serve: all of them, or none on a witness.
    pub fn served_groups(&self) -> &ByGroup<Group> {
        static NONE: ByGroup<Group> = IndexVec::new();
        match self.local().role {
            Role::Member => &self.groups,
            Role::Witness => &NONE,
        }
    }

    pub fn group_named(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
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

    /// The capacity of `node` by kind, sorted. A kind that is not there is without limit.
    pub fn capacities<'c>(&'c self, node: &'c Node) -> impl Iterator<Item = (&'c str, u32)> {
        let kinds = self.utilization.iter().zip(&node.capacity);
        kinds.filter_map(|(kind, amount)| Some((kind.as_str(), (*amount)?)))
    }

    /// The demand of `group` by kind, sorted. A kind that is not there is not needed.
    pub fn demands<'c>(&'c self, group: &'c Group) -> impl Iterator<Item = (&'c str, u32)> {
        let kinds = self.utilization.iter().zip(&group.demand);
        kinds
            .map(|(kind, amount)| (kind.as_str(), *amount))
            .filter(|(_, amount)| *amount > 0)
    }

    /// Directory of this instance's BPF pins.
    pub fn pin_dir(&self) -> PathBuf {
        Path::new(PIN_ROOT).join(&self.instance)
    }

    /// The socket for `heartbeat status` and its siblings.
    pub fn socket(&self) -> PathBuf {
        self.run.join(format!("{}.sock", self.instance))
    }

    /// The lock that keeps out a second agent of this instance.
    pub fn lock(&self) -> PathBuf {
        self.run.join(format!("{}.lock", self.instance))
    }

    /// Directory of what programs of resources write.
    pub fn output_dir(&self) -> PathBuf {
        self.run.join(format!("{}.output", self.instance))
    }

    /// The directories that the agent writes to: `[paths]`.
    pub fn written_to(&self) -> [&Path; 2] {
        [&self.run, &self.state]
    }

    /// Directory of the files that must outlive a restart.
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

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    /// One per link, in link order.
    pub addresses: Vec<IpAddr>,
    /// One per link, in link order.
    pub interfaces: Vec<String>,
    /// The node's capacity of each kind in [`Config::utilization`]; absent is without limit.
    pub capacity: Vec<Option<u32>>,
}

/// The part that a node plays in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Votes and serves.
    #[default]
    Member,
    /// Votes and serves nothing.
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

/// Resources that the holder of their lease serves as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// Id of the group's lease, made of the name: the same on all nodes, whatever the order of
    /// their files.
    pub id: GroupId,
    /// Started in this order, stopped in reverse. At least one; the names are unique in the
    /// cluster.
    pub resources: IndexVec<ResourceIndex, Resource>,
    /// The members, best first.
    pub rank: Vec<NodeId>,
    /// Points for and against nodes, at most one entry a node.
    pub locations: Vec<(NodeId, Score)>,
    /// Points for the node that serves the group.
    pub stickiness: Score,
    /// The group's demand of each kind in [`Config::utilization`].
    pub demand: Vec<u32>,
    /// Whether the group moves for load, if `[rebalance]` is set.
    pub rebalance: bool,
    /// Whether the group is in maintenance: agents leave it alone.
    pub maintenance: bool,
    /// Whether the operator accepts that two nodes may run its exclusive resources at a time.
    pub accepts_double_run: bool,
}

impl Group {
    /// Whether the address with this index is one of the group's resources.
    pub fn has_address(&self, vip: VipIndex) -> bool {
        let mut resources = self.resources.iter();
        resources.any(|resource| resource.kind == ResourceKind::Vip(vip))
    }

    /// The configured points for and against `node`.
    pub fn location(&self, node: NodeId) -> Score {
        let locations = self.locations.iter();
        let of_node = locations.filter(|(at, _)| *at == node);
        of_node.map(|(_, score)| *score).sum()
    }
}

/// A part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub name: String,
    pub kind: ResourceKind,
    pub start_timeout: Option<Duration>,
    pub stop_timeout: Option<Duration>,
    pub monitor_timeout: Option<Duration>,
    /// Between two monitors; `None` is what the kind suggests, zero is never.
    pub monitor_interval: Option<Duration>,
    /// Failures after which the group leaves the node; 0 is never.
    pub migration_threshold: u32,
    /// How long a failure counts; `None` is for ever.
    pub failure_timeout: Option<Duration>,
    /// File with the number of the process whose end is the resource's failure.
    pub pidfile: Option<PathBuf>,
    /// Whether two nodes that run it at a time do harm.
    pub exclusive: bool,
    /// The user, environment and limits of its programs. Only exec resources have all of it, OCF
    /// agents an environment.
    pub execution: Execution,
}

/// The type of a resource, with the fields of that type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// The address with this index in [`Config::vips`].
    Vip(VipIndex),
    Ocf(Ocf),
    /// A unit of systemd, with its suffix: `nginx.service`.
    Systemd(String),
    Exec(Exec),
}

impl Resource {
    /// Whether `other` is the same resource, perhaps with other times: nothing need stop for the
    /// change.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.execution == other.execution
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip(_) => f.write_str("vip"),
            Self::Ocf(ocf) => write!(f, "ocf:{}:{}", ocf.provider, ocf.agent),
            Self::Systemd(unit) => write!(f, "systemd:{unit}"),
            Self::Exec(_) => f.write_str("exec"),
        }
    }
}

/// An agent of the Open Cluster Framework: `$OCF_ROOT/resource.d/<provider>/<agent>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ocf {
    pub provider: String,
    pub agent: String,
    /// The agent's parameters, passed as `OCF_RESKEY_<name>`, sorted by name.
    pub params: Vec<(String, String)>,
    /// How thorough a monitor is: `OCF_CHECK_LEVEL`.
    pub check_level: u32,
}

/// Commands without a shell, each a program by its absolute path and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exec {
    /// A program that runs for as long as the resource does. [`Execution::stop_signal`] asks it to
    /// end.
    Service {
        run: Vec<String>,
        /// A program that exits with 0 if the resource is well; without one a live process is
        /// enough.
        check: Option<Vec<String>>,
    },
    /// Three programs that each come to an end. `check` exits with 0 if the resource runs, else
    /// with 7.
    Commands {
        start: Vec<String>,
        stop: Vec<String>,
        check: Vec<String>,
    },
}

/// An address that moves between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The resource's name.
    pub name: String,
    /// Id of the group's lease.
    pub group: GroupId,
    /// Id of the address's own lease, made of the address: the same whatever the group's name.
    pub lease: GroupId,
    pub address: ServedAddress,
    /// The interface for the address on the local node.
    pub interface: String,
}
