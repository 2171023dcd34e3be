//! Health checks, load and placement as values.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

pub use heartbeat_core::placement::{Policy, Rebalance, Strategy};

/// A check of the node's health. The place in [`super::Config::health`] is the check's number, and
/// the bit in the heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub name: String,
    pub kind: HealthKind,
    /// Time from the end of one check to the next.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Results in a row that must be good until a failed check is well again; at least 1.
    pub rise: u32,
    /// Results in a row that must be bad until the check fails; at least 1.
    pub fall: u32,
    pub meaning: Meaning,
}

/// The consequence of a failed check for its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The node serves no group and acquires none.
    #[default]
    Fatal,
    /// Groups prefer other nodes.
    Degraded,
}

/// The subject of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthKind {
    /// A program without a shell, and its arguments: good if it exits with 0.
    Exec(Vec<String>),
    /// Good if a connection is accepted.
    Tcp(SocketAddr),
    /// Good if a GET is answered by a status of 200 to 399.
    Http(HttpTarget),
    /// Good while the process lives.
    Process(ProcessName),
    /// Good if a file in this directory can be written and synced in time.
    Disk(PathBuf),
    /// Good while the interface has a carrier.
    Interface(String),
}

/// `http://HOST:PORT/PATH`, the host being an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    pub address: SocketAddr,
    /// The value of the `Host` header.
    pub host: String,
    /// The path from the slash on.
    pub path: String,
}

/// The way in which a check names its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessName {
    /// The one whose number stands in this file.
    PidFile(PathBuf),
    /// Any whose name (`comm`, at most 15 bytes) is this.
    Name(String),
    /// The main process of this unit of systemd.
    Unit(String),
}

impl HealthKind {
    pub(crate) const NAMES: [&str; 6] = ["exec", "tcp", "http", "process", "disk", "interface"];

    /// The word in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Process(_) => "process",
            Self::Disk(_) => "disk",
            Self::Interface(_) => "interface",
        }
    }
}

impl Meaning {
    pub const ALL: [Self; 2] = [Self::Fatal, Self::Degraded];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Degraded => "degraded",
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The measurement of the load that a node's heartbeats carry, 0 to 1,000 per mille.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub source: LoadSource,
    /// Time from one sample to the next.
    pub interval: Duration,
    /// The time after which a change counts by half.
    pub half_life: Duration,
    /// The listener that tells HAProxy the weights of the nodes.
    pub agent_check: Option<SocketAddr>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            source: LoadSource::default(),
            interval: Duration::from_secs(1),
            half_life: Duration::from_secs(5),
            agent_check: None,
        }
    }
}

/// The source of a node's load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LoadSource {
    /// Pressure stall information of the whole host, or the run queue where the kernel has none.
    #[default]
    Host,
    /// Pressure stall information of one cgroup (version 2), by its directory.
    Cgroup(PathBuf),
    /// The length of the run queue by processor.
    RunQueue,
    /// The number that a program prints.
    Command(Vec<String>),
}

impl LoadSource {
    pub(crate) const NAMES: [&str; 4] = ["host", "cgroup", "run-queue", "command"];

    /// The word in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cgroup(_) => "cgroup",
            Self::RunQueue => "run-queue",
            Self::Command(_) => "command",
        }
    }
}
