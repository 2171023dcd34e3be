//! The wanted state of a dataplane, and the resulting attachments of its programs.
//!
//! The types are plain values, which the caller fills in.

use std::{net::IpAddr, time::Duration};

use aya::programs::xdp::XdpMode as Attach;
use heartbeat_common::{
    prefix::ServedAddress,
    siphash::SipKey,
    wire::{ClusterId, GroupId, LinkId, NodeId, VoterSet},
};

pub use heartbeat_common::xdp_mode::XdpMode;

/// The mode in which a program is attached to its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the network stack, after the driver has built its buffer: available everywhere, but
    /// slower.
    Skb,
}

impl Attached {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }

    pub(crate) const fn mode(self) -> Attach {
        match self {
            Self::Native => Attach::Driver,
            Self::Skb => Attach::Skb,
        }
    }
}

/// The mode, and the reason why it is not native where it could have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub how: Attached,
    pub fallback: Option<String>,
}

/// The programs' settings, and the names under which they are loaded.
#[derive(Debug)]
pub struct Setup {
    pub instance: String,
    pub cluster: ClusterId,
    pub node: NodeId,
    pub port: u16,
    pub timeout: Duration,
    /// The longest lease that the acceptor grants.
    pub max_lease: Duration,
    pub keys: Vec<(u8, SipKey)>,
    /// The announcement of a node without an agent about its keys: a checksum of their ids.
    pub key_mark: u32,
    pub links: Vec<SetupLink>,
    /// Peer, link and address of each row, in the order of the rows.
    pub peers: Vec<(NodeId, LinkId, IpAddr)>,
    /// The addresses that this node may serve, at most
    /// [`MAX_VIPS`](heartbeat_common::maps::MAX_VIPS).
    pub guards: Vec<SetupGuard>,
    /// Whether XDP programs of other owners are removed.
    pub replace: bool,
    /// The groups that this node may serve, in the order of their places.
    pub groups: Vec<GroupId>,
    /// The accepting and the claiming version of this node.
    pub voter_set: VoterSet,
}

#[derive(Clone, Debug)]
pub struct SetupLink {
    pub id: LinkId,
    pub interface: String,
    pub address: IpAddr,
    pub mode: XdpMode,
}

/// An address that is served only while its group's lease is held.
#[derive(Clone, Debug)]
pub struct SetupGuard {
    pub group: GroupId,
    pub address: ServedAddress,
    pub interface: String,
}

impl Setup {
    /// Number of rows in the `peers` map: one for each peer and link, and the last for this node
    /// itself.
    pub(crate) fn rows(&self) -> usize {
        self.peers.len() + 1
    }

    /// The interfaces that the guard watches: those with guarded addresses and all links, since
    /// traffic of an address may pass a link too. None if nothing is guarded.
    pub(crate) fn guarded_interfaces(&self) -> Vec<&str> {
        self.guarded_with(&[])
    }

    /// The interfaces of [`Setup::guarded_interfaces`] if these addresses are guarded as well.
    pub(crate) fn guarded_with<'a>(&'a self, more: &'a [SetupGuard]) -> Vec<&'a str> {
        let guards = self.guards.iter().chain(more);
        let none = self.guards.is_empty() && more.is_empty();
        let guards = guards.map(|guard| guard.interface.as_str());
        let links = self.links.iter().map(|link| link.interface.as_str());
        let mut names = Vec::new();
        for name in guards.chain(links.filter(|_| !none)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub(crate) fn is_link(&self, interface: &str) -> bool {
        self.links.iter().any(|link| link.interface == interface)
    }
}
