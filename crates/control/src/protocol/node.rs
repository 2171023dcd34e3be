//! A node of the cluster and the links to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node, as its heartbeats and its report describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub id: u16,
    pub local: bool,
    /// Whether the node is a witness, which votes and serves nothing.
    #[serde(default)]
    pub witness: bool,
    /// `unknown`, `up`, `suspect`, `unhealthy`, `draining`, `agent-stalled` or `down`.
    pub state: String,
    /// The state that the node claims for itself: `responder`, `starting`, `active`, ...
    pub agent: String,
    /// Digest of the node's configuration; 0 if its agent never told it.
    #[serde(default)]
    pub config: u32,
    /// Number of the list of nodes that its acceptor accepts; absent if it never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_version: Option<u16>,
    /// Id of the key that the node seals with; absent where no agent tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u8>,
    /// Whether the node takes the same keys as this one; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_keys: Option<bool>,
    /// For how long the node's agent has not answered by TCP, though its heartbeats arrive and
    /// announce a new report; absent where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_ns: Option<u64>,
    /// The nodes that refuse this one's heartbeats, since they are of an older incarnation than was
    /// heard before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<String>,
    /// For how long the node's acceptor abstains yet; absent where it votes or does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstains: Option<Abstention>,
    /// Number of groups that the node serves.
    #[serde(default)]
    pub groups: u16,
    /// The node's load, per mille; absent where no agent tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u16>,
    /// The health checks that fail there, as the heartbeats carry them: bit *n* is check *n*, bit
    /// 15 is "must serve nothing".
    #[serde(default)]
    pub health: u16,
    /// The names of the health checks that fail there.
    #[serde(default)]
    pub failing: Vec<String>,
    /// The message of the first failing check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// Age of the last tick of the node's pulse, and of its control task, at its kernel's last
    /// answer; absent where no agent ever ticked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_age_us: Option<u32>,
    #[serde(
        rename = "reason_age_us",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub control_age_us: Option<u32>,
    pub links: Vec<Link>,
}

/// The rest of a time in which an acceptor gives no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abstention {
    pub for_ns: u64,
    /// Whether it may also vote already: it has not told.
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
    /// `native`, `skb`; only on the local node's links, and absent while the program is not
    /// attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<String>,
    /// Why the mode is not native although native was tried first; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_fallback: Option<String>,
    /// The obstacle to using the link; only on the local node's links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why nothing passes this node's own end of the link; absent while frames may pass.
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

/// One link to one peer, from the row that the kernel keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub rtt_ns: u64,
    /// Absent before the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply_age_ns: Option<u64>,
    /// The share of unanswered probes among those of the last half to whole minute, per mille;
    /// absent while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<u16>,
    pub probes: u64,
    pub replies: u64,
    pub late_replies: u64,
    pub answered: u64,
    pub deadlines: u64,
    /// Frames that bore the peer's address and a wrong tag.
    #[serde(default)]
    pub bad_macs: u64,
    /// Frames that bore the peer's address and the id of a key that this node does not take.
    #[serde(default)]
    pub unknown_keys: u64,
    /// The Ethernet address that the last such frame came from; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_from: Option<String>,
}
