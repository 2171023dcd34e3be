//! The report that a node sends its peers beside its heartbeats.

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use crate::decisions::Decisions;

/// An action that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAction {
    pub node: String,
    pub resource: String,
    /// `probe`, `start`, `stop` or `monitor`.
    pub action: String,
    /// The outcome in words: `not running (7)`, `timed out`, ...
    pub outcome: String,
    /// The agent's exit code, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Time of the failure, in nanoseconds since 1970. Readers of JSON round numbers of that size.
    pub at_unix_ns: u64,
    /// The time of the failure by RFC 3339, to the microsecond, in UTC.
    #[serde(default)]
    pub at: String,
    /// The agent's last output.
    pub message: String,
}

/// The report of a node, which its peers fetch by TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The report's number. Heartbeats carry the number of the latest report.
    pub number: u32,
    /// Incarnation of the agent that made the report.
    pub incarnation: u64,
    pub groups: Vec<GroupReport>,
    /// The failing health checks of the node.
    #[serde(default)]
    pub failing: Vec<FailingCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    pub failures: Vec<FailedAction>,
    pub decisions: Decisions,
    /// The time for which the node's acceptor still abstains, when the report is sent.
    #[serde(default)]
    pub abstains_ns: u64,
    /// Whether the agent stops, so that the node's vote is about to go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// The nodes whose heartbeats are rejected there, because their incarnation is older than one
    /// received before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedNode>,
}

/// A node whose heartbeats another node rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedNode {
    /// The id of the rejected node.
    pub node: u16,
    /// The greatest incarnation that was received from the node.
    #[serde(rename = "heard")]
    pub received: u64,
}

impl Report {
    /// The greatest incarnation received from `node`, if that node's heartbeats are rejected there
    /// now.
    pub fn received_from_refused(&self, node: u16) -> Option<u64> {
        let mut refused = self.refused.iter();
        let found = refused.find(|refused| refused.node == node)?;
        Some(found.received)
    }

    /// The state of the group with this name.
    pub fn group(&self, name: &str) -> Option<&GroupReport> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// A failing health check and its message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingCheck {
    pub name: String,
    pub message: String,
}

/// The state of a group on the reporting node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    pub name: String,
    /// Whether the node does not know yet which resources run there, or is still stopping some that
    /// should not run.
    pub settling: bool,
    pub running: bool,
    pub barred: bool,
    pub blocked: bool,
    /// Whether an interface of the group's addresses is missing, down or without carrier on that
    /// node.
    #[serde(default)]
    pub broken: bool,
    /// The resources that are not cleanly stopped.
    pub resources: Vec<ResourceReport>,
}

impl GroupReport {
    /// Whether this resource is active on the reporting node.
    pub fn is_active(&self, resource: &str) -> bool {
        let mut all = self.resources.iter();
        all.any(|said| {
            said.name == resource && !matches!(said.state.as_str(), "stopped" | "unknown")
        })
    }
}

/// The state of a resource on the reporting node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceReport {
    pub name: String,
    pub state: String,
    pub failures: u32,
}
