//! A node of the cluster and the links to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node, as described by its heartbeats and its report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub id: u16,
    pub local: bool,
    /// Whether the node is a witness, which votes and serves nothing.
    #[serde(default)]
    pub witness: bool,
    /// `unknown`, `up`, `suspect`, `unhealthy`, `draining`, `agent-stalled` or `down`.
    pub state: String,
    /// The state that the node announces for itself: `responder`, `starting`, `active`, …
    pub agent: String,
    /// Digest of the node's configuration; 0 if its agent never sent one.
    #[serde(default)]
    pub config: u32,
    /// Number of the list of nodes that its acceptor accepts; absent if the node never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_version: Option<u16>,
    /// Id of the key with which the node sends; absent where no agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u8>,
    /// Whether the node accepts the same keys as this one; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_keys: Option<bool>,
    /// The time for which the node's agent has not answered by TCP, though its heartbeats arrive
    /// and announce a new report; absent where the agent answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_ns: Option<u64>,
    /// The nodes that reject this node's heartbeats, because their incarnation is older than one
    /// received before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<String>,
    /// The time for which the node's acceptor still abstains; absent where it votes or does not
    /// answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstains: Option<Abstention>,
    /// Number of groups that the node serves.
    #[serde(default)]
    pub groups: u16,
    /// The node's load, per mille; absent where no agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u16>,
    /// The failing health checks of the node as a bit set from its heartbeats: bit *n* is check
    /// *n*, bit 15 is "must serve nothing".
    #[serde(default)]
    pub health: u16,
    /// The names of the node's failing health checks.
    #[serde(default)]
    pub failing: Vec<String>,
    /// The message of the first failing check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// Age of the last tick of the node's pulse, and of its control task, in its kernel's last
    /// reply; absent where no agent ever ticked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_age_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_age_us: Option<u32>,
    /// The former name of `control_age_us`, until the next release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_age_us: Option<u32>,
    pub links: Vec<Link>,
}

/// The rest of the time in which an acceptor gives no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abstention {
    pub for_ns: u64,
    /// Whether this is only an upper bound: the acceptor has not reported, and may vote already.
    pub at_most: bool,
}

impl fmt::Display for Abstention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.at_most {
            "may abstain"
        } else {
            "abstains"
        };
        write!(f, "{how} for {} ms", self.for_ns.div_ceil(1_000_000))
    }
}

/// One link of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub link: u8,
    pub interface: String,
    pub address: String,
    /// `native` or `skb`; only on the local node's links, and absent while the program is not
    /// attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<String>,
    /// The reason for another mode although native mode was tried first; only on the local node's
    /// links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_fallback: Option<String>,
    /// The obstacle to the use of the link; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The reason why no frame passes this node's own end of the link; absent while frames may
    /// pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_outage: Option<Outage>,
    /// `unknown`, `up`, `suspect`, `down`; absent on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerLink>,
}

/// The outage of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// `no carrier`, `down` or `missing`.
    pub signal: String,
    /// How long the outage has lasted.
    pub age_ns: u64,
}

/// One link to one peer, from the peer's row in the kernel's map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub rtt_ns: u64,
    /// Absent before the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply_age_ns: Option<u64>,
    /// The share of unanswered probes among the probes of the last 30 to 60 seconds, per mille;
    /// absent while there are no probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<u16>,
    pub probes: u64,
    pub replies: u64,
    pub late_replies: u64,
    pub answered: u64,
    pub deadlines: u64,
    /// Frames with the peer's address and a wrong tag.
    #[serde(default)]
    pub bad_tags: u64,
    /// The former name of `bad_tags`, until the next release.
    #[serde(default)]
    pub bad_macs: u64,
    /// Frames with the peer's address and the id of a key that this node does not accept.
    #[serde(default)]
    pub unknown_keys: u64,
    /// The Ethernet address from which the last such frame came; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_from: Option<String>,
}
