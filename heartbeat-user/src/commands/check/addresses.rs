//! Checks that this host has its own addresses of the file, and none of the virtual ones.

use std::net::IpAddr;

use crate::{
    config::Config,
    dataplane::Pins,
    net::{IpPrefix, Netlink},
};

/// Returns the local node's own addresses that this host lacks. Missing interfaces are reported
/// elsewhere.
pub(super) fn missing(config: &Config) -> Vec<String> {
    let Ok(mut netlink) = Netlink::open() else {
        return Vec::new();
    };
    let Ok(all) = netlink.all_addresses() else {
        return Vec::new();
    };
    let links = config.local_links().filter_map(|link| {
        let interface = netlink.interface(link.interface).ok()?;
        let own = all.iter().filter(|(index, _)| *index == interface.index);
        let own: Vec<IpPrefix> = own.map(|(_, prefix)| *prefix).collect();
        let said = lacks(link.address, link.interface, &own)?;
        let (file, node) = (config.path.display(), &config.local().name);
        Some(format!(
            "{file}: node \"{node}\": link {}: {said}",
            link.id.0
        ))
    });
    links.collect()
}

fn lacks(address: IpAddr, interface: &str, own: &[IpPrefix]) -> Option<String> {
    if own.iter().any(|prefix| prefix.address == address) {
        return None;
    }
    let has: Vec<String> = own.iter().map(ToString::to_string).collect();
    let has = match has.as_slice() {
        [] => "none".to_owned(),
        has => has.join(", "),
    };
    Some(format!(
        "\"{interface}\" of this host does not have the address {address} now: it has {has}\n  the \
         node sends and answers heartbeats by that address: correct it, or add it to the interface"
    ))
}

/// Returns the virtual addresses that are on this host although no agent has added them.
pub(super) fn already_there(config: &Config) -> Vec<String> {
    if Pins::of(&config.instance).dir().exists() {
        return Vec::new();
    }
    let Ok(mut netlink) = Netlink::open() else {
        return Vec::new();
    };
    let mut said = Vec::new();
    for vip in config.served() {
        let address = vip.address.address;
        for index in netlink.holders(address).unwrap_or_default() {
            let interface = netlink.interface_at(index).ok().flatten();
            let name = interface.map_or_else(|| format!("interface {index}"), |found| found.name);
            said.push(format!(
                "{}: vip \"{}\": {address} is on \"{name}\" already, and no agent has put it \
                 there\n  it is removed when the agent starts, and is there only while this node \
                 serves it: take it out of the host's network configuration (netplan, \
                 NetworkManager, ifcfg, a script)",
                config.path.display(),
                vip.name
            ));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_own_address_is_reported_with_the_present_ones() {
        let own = ["10.0.0.1/24", "fd00::1/64"].map(|text| text.parse().unwrap());
        assert_eq!(lacks("10.0.0.1".parse().unwrap(), "eth1", &own), None);
        let other = "10.0.0.2".parse().unwrap();
        let said = lacks(other, "eth1", &own).expect("it is missing");
        for part in [
            "\"eth1\" of this host does not have the address 10.0.0.2 now",
            "it has 10.0.0.1/24, fd00::1/64\n",
            "correct it, or add it",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let said = lacks(other, "eth1", &[]).expect("it is missing");
        assert!(said.contains("it has none\n"), "{said}");
    }

    #[test]
    fn own_address_is_checked_only_on_existing_interfaces() {
        let of = |interface: &str| {
            let text = format!(
                "[cluster]\nname = \"x\"\n[[link]]\ninterface = \"{interface}\"\n\
                 [[node]]\nname = \"a\"\nid = 1\naddresses = [\"192.0.2.1\"]\n\
                 [[node]]\nname = \"b\"\nid = 2\naddresses = [\"192.0.2.2\"]\n\
                 [[node]]\nname = \"c\"\nid = 3\naddresses = [\"192.0.2.3\"]\n"
            );
            let config = Config::parse(&text, "hb.toml".as_ref(), Some("a"), "");
            missing(&config.expect("a good configuration"))
        };
        assert_eq!(of("hb-none0"), Vec::<String>::new());
        let said = of("lo");
        assert_eq!(said.len(), 1, "{said:?}");
        let begin =
            "hb.toml: node \"a\": link 0: \"lo\" of this host does not have the address 192.0.2.1";
        assert!(said[0].starts_with(begin), "{said:?}");
    }
}
