//! What the kernel programs need to know, from the configuration.

use std::{net::IpAddr, time::Duration};

use heartbeat_common::{
    maps::MAX_VIPS,
    siphash::SipKey,
    wire::{ClusterId, Electorate, GroupId, LinkId, NodeId},
};

use crate::{
    config::{Config, Vip, XdpMode, key::Keys},
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
    /// Whether XDP programs of others have to give way.
    pub replace: bool,
    /// The groups that this node may serve, in their places.
    pub groups: Vec<GroupId>,
    /// What this node's acceptor goes by.
    pub electorate: Electorate,
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
    pub address: IpPrefix,
    pub interface: String,
}

impl SetupGuard {
    pub fn of(vip: &Vip) -> Self {
        Self {
            group: vip.group,
            address: vip.address,
            interface: vip.interface.clone(),
        }
    }
}

impl Setup {
    pub fn new(config: &Config, keys: &Keys) -> Self {
        let links = config.local_links().map(|link| SetupLink {
            id: link.id,
            interface: link.interface.to_owned(),
            address: link.address,
            mode: link.mode,
        });
        let guards = config.served().iter().map(SetupGuard::of);
        Self {
            instance: config.instance.clone(),
            cluster: config.cluster_id,
            node: config.local().id,
            port: config.port,
            timeout: config.timeout,
            max_lease: config.max_lease,
            keys: keys.all.clone(),
            links: links.collect(),
            peers: Self::peers(config),
            guards: guards.take(MAX_VIPS).collect(),
            replace: false,
            groups: config
                .served_groups()
                .iter()
                .map(|group| group.id)
                .collect(),
            electorate: Electorate {
                version: config.version,
                // Nobody claims a lease before an agent does.
                counted: 0,
                voters: config.voters().digest(),
            },
        }
    }

    /// Peer, link and address of each row.
    pub(crate) fn peers(config: &Config) -> Vec<(NodeId, LinkId, IpAddr)> {
        let peers = config.peers().flat_map(|peer| {
            let links = config.links.iter().zip(&peer.addresses);
            links.map(|(link, address)| (peer.id, link.id, *address))
        });
        peers.collect()
    }

    /// Rows of the `peers` map: one for each peer and link, and the last for this node itself.
    pub(super) fn rows(&self) -> usize {
        self.peers.len() + 1
    }

    /// The interfaces that the guard watches: those with guarded addresses, and all links, by which
    /// traffic of an address may pass as well. None if nothing is guarded.
    pub(super) fn guarded_interfaces(&self) -> Vec<&str> {
        self.guarded_with(&[])
    }

    /// The same if these addresses are guarded as well.
    pub(super) fn guarded_with<'a>(&'a self, more: &'a [SetupGuard]) -> Vec<&'a str> {
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

    pub(super) fn is_link(&self, interface: &str) -> bool {
        self.links.iter().any(|link| link.interface == interface)
    }
}
