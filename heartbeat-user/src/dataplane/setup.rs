//! What the kernel programs need to know, from the configuration.

use std::{net::IpAddr, time::Duration};

use heartbeat_common::{
    maps::MAX_VIPS,
    siphash::SipKey,
    wire::{ClusterId, GroupId, LinkId, NodeId},
};

use crate::{
    config::{Config, XdpMode, key::Keys},
    net::IpPrefix,
};

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
    pub links: Vec<SetupLink>,
    /// Peer, link and address of each row, in the order of the rows.
    pub peers: Vec<(NodeId, LinkId, IpAddr)>,
    /// The addresses that this node may serve, at most [`MAX_VIPS`].
    pub guards: Vec<SetupGuard>,
}

#[derive(Debug)]
pub struct SetupLink {
    pub id: LinkId,
    pub interface: String,
    pub address: IpAddr,
    pub mode: XdpMode,
}

/// An address that is served only while its group's lease is held.
#[derive(Debug)]
pub struct SetupGuard {
    pub group: GroupId,
    pub address: IpPrefix,
    pub interface: String,
}

impl Setup {
    pub fn new(config: &Config, keys: &Keys) -> Self {
        let peers = config.peers().flat_map(|peer| {
            let links = config.links.iter().zip(&peer.addresses);
            links.map(|(link, address)| (peer.id, link.id, *address))
        });
        let links = config.local_links().map(|link| SetupLink {
            id: link.id,
            interface: link.interface.to_owned(),
            address: link.address,
            mode: link.mode,
        });
        let guards = config.vips.iter().map(|vip| SetupGuard {
            group: vip.group,
            address: vip.address,
            interface: vip.interface.clone(),
        });
        Self {
            instance: config.instance.clone(),
            cluster: config.cluster_id,
            node: config.local().id,
            port: config.port,
            timeout: config.timeout,
            max_lease: config.max_lease,
            keys: keys.all.clone(),
            links: links.collect(),
            peers: peers.collect(),
            guards: guards.take(MAX_VIPS).collect(),
        }
    }

    /// Rows of the `peers` map: one for each peer and link, and the last for this node itself.
    pub(super) fn rows(&self) -> usize {
        self.peers.len() + 1
    }

    /// The interfaces with guarded addresses that are no links.
    pub(super) fn guarded_interfaces(&self) -> impl Iterator<Item = &str> {
        self.all_guarded().filter(|name| !self.is_link(name))
    }

    /// The interfaces with guarded addresses.
    pub(super) fn all_guarded(&self) -> impl Iterator<Item = &str> {
        let first = |(index, guard): (usize, &'_ SetupGuard)| {
            let before = &self.guards[..index];
            !before
                .iter()
                .any(|other| other.interface == guard.interface)
        };
        self.guards
            .iter()
            .enumerate()
            .filter(move |entry| first(*entry))
            .map(|(_, guard)| guard.interface.as_str())
    }

    fn is_link(&self, interface: &str) -> bool {
        self.links.iter().any(|link| link.interface == interface)
    }
}
