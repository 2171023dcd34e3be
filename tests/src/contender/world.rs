//! The world of a contender: three nodes, a switch, a client and an observer.
//!
//! It is a cluster of the rig, in which heartbeat's agents run only if heartbeat is the contender.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;

use super::arp::Observer;
use crate::{
    Cluster, Options,
    client::Client,
    config::{Family, interface},
    netns::Namespace,
    workdir::make_dir,
};

/// The period of the client's requests, and of the observer's.
pub const PERIOD: Duration = Duration::from_millis(1);

/// Nodes a, b and c with a service each, and those who ask for it. The drop order of the fields
/// matters: the askers first.
#[derive(Debug)]
pub struct World {
    client: Client,
    observer: Observer,
    _observer_ns: Namespace,
    pub cluster: Cluster,
}

impl World {
    /// Builds the world. The client asks the virtual address from now on.
    pub fn new(options: Options) -> Result<Self> {
        let mut cluster = Cluster::new(options)?;
        // The observer is no client: answers to its questions must not correct the neighbour table
        // of the client.
        let ns = Namespace::new("observer")?;
        let place = "watch0";
        cluster.plug(&ns, place, 0)?;
        let observer = Observer::start(&ns, place, cluster.vip(), PERIOD)?;
        let client = cluster.client(PERIOD)?;
        Ok(Self {
            client,
            observer,
            _observer_ns: ns,
            cluster,
        })
    }

    /// The names of the nodes by rank: the first is preferred as the owner.
    pub fn names(&self) -> Vec<String> {
        self.cluster
            .nodes()
            .iter()
            .map(|node| node.name.clone())
            .collect()
    }

    /// The client, which sends a datagram to the virtual address each [`PERIOD`].
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The observer, which asks by ARP for the virtual address each [`PERIOD`].
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The address of node number `index` in the network of the client.
    pub fn address(index: usize) -> String {
        Family::V4
            .address(0, crate::config::host(index))
            .to_string()
    }

    /// The virtual address with the length of its prefix.
    pub fn vip_with_prefix() -> String {
        format!("{}/{}", Family::V4.vip(), Family::V4.prefix_len())
    }

    /// The interface of each node.
    pub fn interface() -> String {
        interface(0)
    }

    /// A new directory of `node` for the files of a product.
    pub(super) fn make_dir(&self, node: &str, name: &str) -> Result<PathBuf> {
        let dir = self.cluster.node(node)?.dir().join(name);
        make_dir(&dir)?;
        Ok(dir)
    }
}
