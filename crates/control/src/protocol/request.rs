//! What a client asks of an agent, and what the agent answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    configure::{Checked, ConfigureStep},
    event::Events,
    report::Report,
    status::Status,
};

/// A client's question or command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// Asks for the latest events, oldest first, from number `after` + 1 on.
    Events {
        #[serde(default)]
        after: u64,
    },
    /// Asks for the next `count` round-trip times to `node`.
    Ping {
        node: String,
        count: u32,
    },
    /// Hands `group` over to `node`, where it stays.
    Move {
        group: String,
        node: String,
    },
    /// Lets `node` serve nothing until it is online again; with `force` also if no other node can
    /// serve instead.
    Standby {
        node: String,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    Online {
        node: String,
    },
    /// Hands over the groups of `node`, one after the other, then puts it on standby.
    Drain {
        node: String,
    },
    /// Lets `group` go to the node that is best for it.
    Unmove {
        group: String,
    },
    /// Forgets the failures of `resource`, or of all resources, on `node`, or on all nodes.
    Cleanup {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Begins or ends maintenance of `group`, or of the whole cluster.
    Maintenance {
        on: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// Lets a group or a resource run, or stops it.
    Enable {
        name: String,
        enabled: bool,
    },
    /// Stops and starts a resource where it runs.
    Restart {
        resource: String,
    },
    /// Has the agent read its configuration file again.
    Reload,
    /// Takes a step of `heartbeat reload --all` on `node`.
    Configure {
        node: String,
        step: ConfigureStep,
    },
    /// Ends the agent. It hands its groups over, or with `keep` leaves all in place for the next
    /// agent of this node. With `force` it ends also if too few votes are left for a majority.
    Stop {
        #[serde(default)]
        keep: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// Asks for the agent's report; the agents of its peers ask so.
    Report,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Request {
    /// Whether the request changes nothing.
    pub fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Events { .. }
                | Self::Ping { .. }
                | Self::Report
                | Self::Configure {
                    step: ConfigureStep::Check { .. },
                    ..
                }
        )
    }
}

impl fmt::Display for Request {
    /// The command as an operator types it, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |name: &Option<String>| {
            let name = name.as_deref();
            name.map_or_else(String::new, |name| format!(" {name}"))
        };
        let flag = |is: bool, flag: &'static str| if is { flag } else { "" };
        match self {
            Self::Status => f.write_str("status"),
            Self::Events { .. } => f.write_str("events"),
            Self::Ping { node, .. } => write!(f, "ping {node}"),
            Self::Move { group, node } => write!(f, "move {group} {node}"),
            Self::Standby { node, force } => {
                write!(f, "standby {node}{}", flag(*force, " --force"))
            }
            Self::Online { node } => write!(f, "online {node}"),
            Self::Drain { node } => write!(f, "drain {node}"),
            Self::Unmove { group } => write!(f, "unmove {group}"),
            Self::Cleanup { resource, node } => {
                write!(f, "cleanup{}", optional(resource))?;
                match node {
                    Some(node) => write!(f, " --on {node}"),
                    None => Ok(()),
                }
            }
            Self::Maintenance { on, group } => {
                let on = if *on { "on" } else { "off" };
                write!(f, "maintenance {on}{}", optional(group))
            }
            Self::Enable { name, enabled } => {
                let verb = if *enabled { "start" } else { "stop" };
                write!(f, "resource {verb} {name}")
            }
            Self::Restart { resource } => write!(f, "resource restart {resource}"),
            Self::Reload => f.write_str("reload"),
            Self::Configure { node, step } => {
                write!(f, "reload --all: {} on {node}", step.name())
            }
            Self::Stop { keep, force } => {
                let (keep, force) = (flag(*keep, " --keep"), flag(*force, " --force"));
                write!(f, "stop{keep}{force}")
            }
            Self::Report => f.write_str("report"),
        }
    }
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    Status(Box<Status>),
    Events(Events),
    Ping(Ping),
    Report(Box<Report>),
    Checked(Box<Checked>),
    /// The node that the request is for was not reached, and knows nothing of it.
    NotReached {
        message: String,
    },
    /// The request was carried out; the text says what was done.
    Done {
        text: String,
    },
    Error {
        message: String,
    },
}

/// Round-trip times from kernel timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub node: String,
    pub links: Vec<PingLink>,
}

/// Round-trip times over one link.
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
