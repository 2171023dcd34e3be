//! The requests of a client and the responses of an agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    configure::{Checked, ConfigureStep},
    event::Events,
    report::Report,
    status::Status,
};

/// A query or a command of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// Returns the metrics as text.
    Metrics {
        /// Whether in the format OpenMetrics, instead of the older text format of Prometheus.
        #[serde(default, skip_serializing_if = "is_false")]
        openmetrics: bool,
    },
    /// Returns the latest events of `node`, or of the agent that is asked, oldest first, from
    /// number `after` + 1 on. Another node's events come in several answers: the last one is empty.
    Events {
        #[serde(default)]
        after: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// Returns the next `count` round-trip times to `node`.
    Ping {
        node: String,
        count: u32,
    },
    /// Hands `group` over to `node`, and pins it there.
    Move {
        group: String,
        node: String,
    },
    /// Puts `node` on standby, so that it serves nothing until it is put online again; with `force`
    /// even if no other node can take over.
    Standby {
        node: String,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    Online {
        node: String,
    },
    /// Hands over the groups of `node`, one after the other, then puts `node` on standby.
    Drain {
        node: String,
    },
    /// Removes the pin of `group`, so that it may move to its best node.
    Unmove {
        group: String,
    },
    /// Clears the failures of `resource`, or of all resources, on `node`, or on all nodes.
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
    /// Starts a group or a resource, or stops it.
    Enable {
        name: String,
        enabled: bool,
    },
    /// Stops and starts a resource on the node that runs it.
    Restart {
        resource: String,
    },
    /// Makes the agent read its configuration file again.
    Reload,
    /// Takes a step of `heartbeat reload --all` on `node`.
    Configure {
        node: String,
        step: ConfigureStep,
    },
    /// Ends the agent. The agent hands its groups over, or with `keep` leaves everything in place
    /// for the next agent of this node. With `force` it ends even if too few votes remain for a
    /// majority.
    Stop {
        #[serde(default)]
        keep: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// Returns the agent's report. The agents of its peers send this request.
    Report,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Request {
    /// Whether a user who may read, and change nothing, may send the request. A step of
    /// `reload --all` is not among them: it makes each node judge a text by its own files.
    pub const fn is_for_readers(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Metrics { .. }
                | Self::Events { .. }
                | Self::Ping { .. }
                | Self::Report
        )
    }

    /// Whether the request changes nothing.
    pub fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Metrics { .. }
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
    /// Writes the command as an operator types it, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |name: &Option<String>| {
            let name = name.as_deref();
            name.map_or_else(String::new, |name| format!(" {name}"))
        };
        let flag = |is: bool, flag: &'static str| if is { flag } else { "" };
        match self {
            Self::Status => f.write_str("status"),
            Self::Metrics { .. } => f.write_str("metrics"),
            Self::Events { node: None, .. } => f.write_str("events"),
            Self::Events {
                node: Some(node), ..
            } => write!(f, "events --node {node}"),
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
    Metrics {
        text: String,
    },
    Events(Events),
    Ping(Ping),
    Report(Box<Report>),
    Checked(Box<Checked>),
    /// The node of the request was not reached, and has not received it.
    NotReached {
        message: String,
    },
    /// The node of the request received it, and its answer is missing. The node may have carried
    /// out the request.
    Unanswered {
        message: String,
    },
    /// The agent carried out the request. The text says what was done.
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
    /// Probes that were sent while the samples were taken.
    pub probes: u64,
    /// Fresh replies to these probes.
    pub replies: u64,
    pub rtt_ns: Vec<u64>,
}
