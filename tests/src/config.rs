//! The configuration files of the rig's agents, and the addresses in them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

/// The address family of heartbeats and of the service. The interfaces have both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    V4,
    V6,
}

/// The last part of the client's address.
pub(crate) const CLIENT: u8 = 200;
/// The last part of the virtual address.
const SERVICE: u8 = 100;

impl Family {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Host `host` in the network of link `link`.
    pub fn address(self, link: usize, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 77, link as u8, host).into(),
            Self::V6 => Ipv6Addr::new(0xfd77, 0, 0, link as u16, 0, 0, 0, u16::from(host)).into(),
        }
    }

    pub fn prefix_len(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    pub fn client(self) -> IpAddr {
        self.address(0, CLIENT)
    }

    /// The address that the cluster serves.
    pub fn vip(self) -> IpAddr {
        self.address(0, SERVICE)
    }
}

/// The name of every node's interface that is plugged into network `link`.
pub fn interface(link: usize) -> String {
    format!("hb{link}")
}

/// The common part of all configuration files of a cluster.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The name of the cluster.
    pub cluster: String,
    /// Members by rank: the first is preferred for the virtual address.
    pub nodes: Vec<String>,
    /// Nodes that only vote, numbered behind the members.
    pub witnesses: Vec<String>,
    pub links: usize,
    /// The VLAN of the first link.
    pub vlan: Option<u16>,
    pub family: Family,
    pub interval: Duration,
    pub timeout: Duration,
    pub agent_stall: Duration,
    pub lease: Duration,
    pub max_lease: Duration,
    /// Further lines of the table `[cluster]`, each with its end.
    pub settings: String,
    /// TOML of the groups, if they are more than the virtual address.
    pub groups: Option<String>,
    /// TOML that is appended, for example hooks. `%NODE%` and `%DIR%` in it stand for the node's
    /// name and directory.
    pub extra: String,
}

impl Shared {
    /// All nodes, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().chain(&self.witnesses)
    }

    /// The number of the VLAN that `link` is, if it is one.
    pub(crate) fn vlan(&self, link: usize) -> Option<u16> {
        self.vlan.filter(|_| link == 0)
    }

    /// The interface with the addresses of `link`: the one that is plugged in, or a VLAN interface
    /// on top of it.
    pub(crate) fn interface(&self, link: usize) -> String {
        match self.vlan(link) {
            Some(id) => format!("{}.{id}", interface(link)),
            None => interface(link),
        }
    }

    /// The file for `node`, with its `instance` and its directory.
    pub fn file(&self, node: &str, instance: &str, dir: &Path) -> String {
        let Self {
            cluster,
            nodes,
            witnesses,
            links,
            vlan: _,
            family,
            interval,
            timeout,
            agent_stall,
            lease,
            max_lease,
            settings,
            groups,
            extra,
        } = self;
        let dir = dir.display();
        let extra = extra
            .replace("%NODE%", node)
            .replace("%DIR%", &dir.to_string());
        let mut text = format!(
            "[cluster]\n\
             name = \"{cluster}\"\n\
             node = \"{node}\"\n\
             instance = \"{instance}\"\n\
             key = \"{dir}/key\"\n\
             interval = \"{}\"\n\
             timeout = \"{}\"\n\
             agent_stall = \"{}\"\n\
             lease = \"{}\"\n\
             max_lease = \"{}\"\n\
             {settings}\n\
             [paths]\n\
             run = \"{dir}/run\"\n\
             state = \"{dir}/state\"\n",
            micros(*interval),
            micros(*timeout),
            micros(*agent_stall),
            micros(*lease),
            micros(*max_lease),
        );
        for link in 0..*links {
            append(
                &mut text,
                format_args!("\n[[link]]\ninterface = \"{}\"\n", self.interface(link)),
            );
        }
        for (index, name) in self.names().enumerate() {
            let host = host(index);
            let addresses: Vec<_> = (0..*links).map(|link| family.address(link, host)).collect();
            let addresses: Vec<_> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
            append(
                &mut text,
                format_args!(
                    "\n[[node]]\nname = \"{name}\"\nid = {host}\naddresses = [{}]\n",
                    addresses.join(", ")
                ),
            );
            if witnesses.contains(name) {
                append(&mut text, format_args!("role = \"witness\"\n"));
            }
        }
        match groups {
            Some(groups) => append(&mut text, format_args!("\n{groups}\n{extra}")),
            None => append(
                &mut text,
                format_args!(
                    "\n[[vip]]\nname = \"service\"\naddress = \"{}/{}\"\nprefer = {nodes:?}\n\n\
                     {extra}",
                    family.vip(),
                    family.prefix_len()
                ),
            ),
        }
        text
    }
}

/// Node number `index` is host number `index` + 1; that is its node id, too.
pub(crate) fn host(index: usize) -> u8 {
    index as u8 + 1
}

/// A duration in the configuration's notation.
fn micros(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}

fn append(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}
