//! This host, as far as it matters for a first configuration: its interfaces, their drivers, its
//! clock.

use std::{fmt::Write as _, fs, net::IpAddr};

use anyhow::{Result, bail};

use crate::{
    clock,
    config::Config,
    net::{IpPrefix, Netlink},
};

/// The programs that keep a host's clock right, by the names of their processes.
const TIME_DAEMONS: [&str; 4] = ["chronyd", "ntpd", "systemd-timesyn", "openntpd"];

/// An interface with its addresses.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) addresses: Vec<IpPrefix>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The interfaces on which neighbours resolve addresses: `lo` and tunnels are not among them.
    pub(super) interfaces: Vec<Interface>,
}

impl Host {
    pub(super) fn read() -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let addresses = netlink.all_addresses()?;
        let interfaces = netlink.interfaces()?.into_iter();
        let interfaces = interfaces.filter(|interface| interface.ethernet);
        let interfaces = interfaces.map(|interface| Interface {
            addresses: addresses
                .iter()
                .filter(|(index, _)| *index == interface.index)
                .map(|(_, prefix)| *prefix)
                .collect(),
            name: interface.name,
        });
        Ok(Self {
            interfaces: interfaces.collect(),
        })
    }

    /// Returns the interface that has one of the nodes' addresses.
    pub(super) fn interface_of(&self, nodes: &[IpAddr]) -> Result<String> {
        let has = |interface: &&Interface| {
            let mut own = interface.addresses.iter();
            own.any(|own| nodes.contains(&own.address))
        };
        let mut found = self.interfaces.iter().filter(has);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.name.clone()),
            (Some(one), Some(other)) => bail!(
                "both {} and {} have an address of a node: give the interface of the heartbeats \
                 with --interface",
                one.name,
                other.name
            ),
            (None, _) => Err(self.no_interface()),
        }
    }

    fn no_interface(&self) -> anyhow::Error {
        let own = self.interfaces.iter().flat_map(|interface| {
            let own = interface.addresses.iter();
            own.map(|own| format!("{} on {}", own.address, interface.name))
        });
        let own: Vec<String> = own.collect();
        let own = match own.is_empty() {
            true => "none on an Ethernet interface".to_owned(),
            false => own.join(", "),
        };
        anyhow::anyhow!(
            "this host has none of the nodes' addresses; its own: {own}\n  correct --member, or \
             run this on a node; --interface names the interface in any case"
        )
    }

    /// Describes this host in some lines: the interfaces of the links with their drivers, the
    /// clock, and the program that keeps it right.
    pub(super) fn summary(&self, config: &Config) -> String {
        let mut text = String::from("this host:\n");
        for link in &config.links {
            let name = link.interface.as_str();
            let known = self.interfaces.iter().find(|known| known.name == name);
            let Some(interface) = known else {
                let _ = writeln!(text, "  {name}: no such Ethernet interface");
                continue;
            };
            let own = interface.addresses.iter().map(ToString::to_string);
            let own: Vec<String> = own.collect();
            let driver = driver(name).unwrap_or_else(|| "none (a virtual interface)".to_owned());
            let _ = writeln!(text, "  {name}: {}, driver {driver}", own.join(", "));
        }
        let source = clock::source().unwrap_or_else(|error| format!("not known: {error:#}"));
        let daemon = time_daemon().unwrap_or("none seen; a wrong clock makes logs hard to compare");
        let _ = writeln!(text, "  clock source: {source}; time daemon: {daemon}");
        text
    }
}

/// Returns the name of the interface's driver; none for an interface without hardware.
pub(in crate::commands) fn driver(interface: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{interface}/device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

pub(in crate::commands) fn time_daemon() -> Option<&'static str> {
    let processes = fs::read_dir("/proc").ok()?;
    let names = processes.filter_map(|entry| {
        let path = entry.ok()?.path().join("comm");
        Some(fs::read_to_string(path).ok()?.trim().to_owned())
    });
    let names: Vec<String> = names.collect();
    TIME_DAEMONS
        .into_iter()
        .find(|daemon| names.iter().any(|name| name == daemon))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(interfaces: &[(&str, &str)]) -> Host {
        let interfaces = interfaces.iter().map(|(name, address)| Interface {
            name: (*name).to_owned(),
            addresses: vec![address.parse().unwrap()],
        });
        Host {
            interfaces: interfaces.collect(),
        }
    }

    #[test]
    fn interface_is_the_one_with_a_nodes_address() {
        let nodes: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let two = host(&[("eth0", "192.0.2.1/24"), ("eth1", "10.0.0.2/24")]);
        assert_eq!(two.interface_of(&nodes).unwrap(), "eth1");
        let elsewhere = host(&[("eth0", "192.0.2.1/24")]);
        let error = elsewhere.interface_of(&nodes).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1 on eth0"), "{error}");
        let both = host(&[("eth0", "10.0.0.1/24"), ("eth1", "10.0.0.2/24")]);
        let error = both.interface_of(&nodes).unwrap_err().to_string();
        assert!(error.contains("both eth0 and eth1"), "{error}");
        let error = host(&[]).interface_of(&nodes).unwrap_err().to_string();
        assert!(error.contains("none on an Ethernet interface"), "{error}");
    }
}
