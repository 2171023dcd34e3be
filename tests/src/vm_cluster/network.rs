//! The network of the machines: one switch for the cluster and its clients, one for commands.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::Result;

use super::machine::Card;
use crate::{
    config::Family,
    netns::Namespace,
    switch::{Switch, Way},
};

/// The networks of the switch.
const CLUSTER: usize = 0;
const MANAGEMENT: usize = 1;
/// The host's last byte in the management network.
const HOST: u8 = 254;
const FAMILY: Family = Family::V4;
/// The client's interface in its namespace.
const INTERFACE: &str = "eth";
/// The VLAN of the cluster, where it has one.
pub(super) const VLAN: u16 = 5;

/// Where a client's questions for the virtual address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the machine that ARP names.
    Arp,
    /// To this node's card, as from a neighbour with an outdated entry. The number is the node's.
    Card(u8),
}

/// A place outside the cluster.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) ns: Namespace,
    route: Route,
}

/// The switch and everything that is plugged into it, except the machines.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) switch: Switch,
    /// The namespace from which commands go to the machines.
    pub(super) host: Arc<Namespace>,
    pub(super) outside: Vec<Outside>,
}

impl Network {
    /// Builds the network with a client that uses ARP, and one for each of `nodes` numbers.
    pub(super) fn new(object: &std::path::Path, nodes: &[u8]) -> Result<Self> {
        let mut switch = Switch::new(2, object)?;
        let host = Namespace::new("host")?;
        switch.plug(&host, INTERFACE, MANAGEMENT, "host")?;
        host.add_address(INTERFACE, FAMILY.address(MANAGEMENT, HOST), 24)?;
        let routes = nodes.iter().map(|&node| Route::Card(node));
        let mut outside = Vec::new();
        for route in std::iter::once(Route::Arp).chain(routes) {
            let port = route.port();
            let ns = Namespace::new(&port)?;
            switch.plug(&ns, INTERFACE, CLUSTER, &port)?;
            let client = Outside { ns, route };
            client.configure()?;
            outside.push(client);
        }
        Ok(Self {
            switch,
            host: Arc::new(host),
            outside,
        })
    }

    /// Makes the two ports of a machine: in the cluster, and for commands.
    pub(super) fn plug(&mut self, ports: &Ports) -> Result<()> {
        self.switch.plug_tap(&ports.cluster, CLUSTER)?;
        self.switch.plug_tap(&ports.management, MANAGEMENT)?;
        self.switch.plug_tap(&ports.spare, CLUSTER)
    }

    /// Makes the clients' ports access ports of the VLAN, or ordinary ones again.
    pub(super) fn set_tagged(&mut self, tagged: bool) -> Result<()> {
        for outside in &self.outside {
            let vlan = tagged.then_some(VLAN);
            self.switch.set_access_vlan(&outside.port(), vlan)?;
        }
        Ok(())
    }

    /// Takes the cluster's port of a machine off the switch, or puts it back.
    pub(super) fn set_plugged(&self, port: &str, plugged: bool) -> Result<()> {
        self.switch.set_port_plugged(port, CLUSTER, plugged)
    }

    /// Ends all faults of a machine's port.
    pub(super) fn heal(&mut self, port: &str) -> Result<()> {
        self.set_plugged(port, true)?;
        self.switch.set_port_isolated(port, false)?;
        for way in [Way::FromNode, Way::ToNode, Way::Heartbeats] {
            self.switch.set_port_blocked(port, way, false)?;
        }
        Ok(())
    }
}

impl Route {
    /// The name of the client's port.
    fn port(self) -> String {
        match self {
            Self::Arp => "client".to_owned(),
            Self::Card(node) => format!("client{node}"),
        }
    }
}

impl Outside {
    fn port(&self) -> String {
        self.route.port()
    }

    fn configure(&self) -> Result<()> {
        let ns = &self.ns;
        ns.add_address(INTERFACE, self.address(), FAMILY.prefix_len())?;
        if let Route::Card(node) = self.route {
            ns.add_neighbour(INTERFACE, vip(), mac(node, CardRole::Cluster))?;
        }
        Ok(())
    }

    fn address(&self) -> IpAddr {
        let host = match self.route {
            Route::Arp => 200,
            Route::Card(node) => 200 + node,
        };
        FAMILY.address(CLUSTER, host)
    }
}

/// The purpose of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CardRole {
    Cluster = 0,
    Management = 1,
    /// The second card of a bond.
    Spare = 2,
}

/// The names of a machine's ports.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) cluster: String,
    pub(super) management: String,
    pub(super) spare: String,
}

impl Ports {
    /// The ports of node `name`. Both processes of a migration need their own: `set` tells them
    /// apart.
    pub(super) fn new(name: &str, set: usize) -> Self {
        Self {
            cluster: format!("{name}{set}-cluster"),
            management: format!("{name}{set}-manage"),
            spare: format!("{name}{set}-spare"),
        }
    }

    /// The cards of node number `node` at these ports.
    pub(super) fn cards(&self, node: u8) -> Vec<Card> {
        let card = |port: &String, role| Card {
            port: port.clone(),
            mac: mac(node, role),
        };
        vec![
            card(&self.cluster, CardRole::Cluster),
            card(&self.management, CardRole::Management),
            card(&self.spare, CardRole::Spare),
        ]
    }
}

/// The Ethernet address of a card.
pub(super) fn mac(node: u8, role: CardRole) -> [u8; 6] {
    [0x52, 0x54, 0x00, 0x77, role as u8, node]
}

/// The address that the cluster serves.
pub(super) fn vip() -> Ipv4Addr {
    match FAMILY.vip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the family is IPv4"),
    }
}

/// The address of node number `node` in the cluster's network, with its length.
pub(super) fn address(node: u8) -> String {
    format!("{}/{}", FAMILY.address(CLUSTER, node), FAMILY.prefix_len())
}

/// The address of node number `node` for commands.
pub(super) fn management(node: u8) -> Ipv4Addr {
    match FAMILY.address(MANAGEMENT, node) {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the family is IPv4"),
    }
}
