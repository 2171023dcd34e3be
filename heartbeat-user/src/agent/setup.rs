//! The setup of the dataplane, derived from the configuration and the keys.

use std::net::IpAddr;

use heartbeat_common::{
    maps::MAX_VIPS,
    wire::{LinkId, NodeId, VoterSet},
};

use crate::{
    config::{Config, Vip, key::Keys},
    dataplane::{Setup, SetupGuard, SetupLink},
};

/// Returns the local node's setup, which leaves XDP programs of others in place.
pub(crate) fn of(config: &Config, keys: &Keys) -> Setup {
    let links = config.local_links().map(|link| SetupLink {
        id: link.id,
        interface: link.interface.to_owned(),
        address: link.address,
        mode: link.mode,
    });
    let guards = config.served().iter().map(guard);
    Setup {
        instance: config.instance.clone(),
        cluster: config.cluster_id,
        node: config.local().id,
        port: config.port,
        timeout: config.timeout,
        max_lease: config.max_lease,
        keys: keys.all.clone(),
        key_mark: keys.mark(),
        links: links.collect(),
        peers: peers(config),
        guards: guards.take(MAX_VIPS).collect(),
        replace: false,
        groups: config
            .served_groups()
            .iter()
            .map(|group| group.id)
            .collect(),
        voter_set: VoterSet {
            version: config.version,
            // No node claims a lease before an agent runs.
            claiming: 0,
            voters: config.voters().digest(),
        },
    }
}

/// Returns peer, link and address of each row, in the order of the rows.
pub(crate) fn peers(config: &Config) -> Vec<(NodeId, LinkId, IpAddr)> {
    let peers = config.peers().flat_map(|peer| {
        let links = config.links.iter().zip(&peer.addresses);
        links.map(|(link, address)| (peer.id, link.id, *address))
    });
    peers.collect()
}

/// Returns the guard entry for an address of the configuration.
pub(crate) fn guard(vip: &Vip) -> SetupGuard {
    SetupGuard {
        group: vip.group,
        address: vip.address,
        interface: vip.interface.clone(),
    }
}
