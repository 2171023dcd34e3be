//! Checks that addresses can be served on their configured interfaces.
//!
//! The interfaces are read from the kernel. A missing interface may appear later, and is no error.

use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::{
    config::{Config, Vip},
    net::{Interface, IpPrefix, Netlink},
    networks,
};

/// An existing interface, with its addresses.
struct Found {
    ethernet: bool,
    addresses: Vec<IpPrefix>,
}

/// Returns the errors about the interfaces of the addresses that the local node may serve.
pub fn refused(config: &Config) -> Vec<String> {
    let file = config.path.display();
    each(config, |vip, found, ours| {
        complaint(vip, found, ours).map(|said| format!("{file}: vip \"{}\": {said}", vip.name))
    })
}

/// Returns warnings: unusual settings that may be intended.
pub fn oddities(config: &Config) -> Vec<String> {
    let file = config.path.display();
    each(config, |vip, found, ours| {
        oddity(vip, found, ours).map(|said| format!("{file}: vip \"{}\": {said}", vip.name))
    })
}

/// Returns the findings of `judge` on the addresses that the local node may serve and whose
/// interface exists.
fn each(config: &Config, judge: impl Fn(&Vip, &Found, &[IpAddr]) -> Option<String>) -> Vec<String> {
    // Without netlink there are no findings.
    let Ok(mut netlink) = Netlink::open() else {
        return Vec::new();
    };
    let ours: Vec<IpAddr> = config.vips.iter().map(|vip| vip.address.address).collect();
    let said = config.served().iter().filter_map(|vip| {
        let Interface {
            index, ethernet, ..
        } = netlink.interface(&vip.interface).ok()?;
        let addresses = netlink.addresses(index).ok()?;
        judge(
            vip,
            &Found {
                ethernet,
                addresses,
            },
            &ours,
        )
    });
    said.collect()
}

fn complaint(vip: &Vip, found: &Found, ours: &[IpAddr]) -> Option<String> {
    let Vip {
        address, interface, ..
    } = vip;
    if !found.ethernet {
        return Some(format!(
            "\"{interface}\" is no Ethernet interface (as `lo`, tunnels and PPP are none): no \
             neighbour asks for addresses there, so {address} could not move\n  name the interface \
             of the network that clients are in; an address on `lo` (for LVS-DR or anycast) is set \
             up without heartbeat",
        ));
    }
    let ip = address.address;
    let listed = networks::listed(ip, &found.addresses, ours);
    let Some(prefix) = networks::prefix(*address, &found.addresses, ours) else {
        return Some(format!(
            "address \"{address}\" has no prefix length, and no network of \"{interface}\" holds \
             it, which has {}\n  write the length, as in \"{}\", or name the interface of its \
             network",
            listed.unwrap_or_else(|| format!("no {} network", family(ip))),
            networks::usual(ip)
        ));
    };
    (!prefix.is_host()).then(|| {
        format!(
            "address \"{address}\" is the own or the broadcast address of {}, the network of \
             \"{interface}\"\n  write an address between the two, or the length of another \
             network, as in \"{}\"",
            prefix.network(),
            networks::usual(ip)
        )
    })
}

fn oddity(vip: &Vip, found: &Found, ours: &[IpAddr]) -> Option<String> {
    let Vip {
        address, interface, ..
    } = vip;
    let ip = address.address;
    // The other cases are errors, unless an earlier run has left the address there.
    let judged = found.ethernet && address.len.is_some();
    // An interface without an own address serves its neighbours in the configured network.
    let networks = networks::listed(ip, &found.addresses, ours).filter(|_| judged)?;
    (!networks::hold(ip, &found.addresses, ours)).then(|| {
        format!(
            "no network of \"{interface}\" holds {address}: it has {networks}\n  clients reach the \
             address only by a route that leads here: correct the address, or name the interface \
             of its network; it is well if a router sends it to this network"
        )
    })
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// Fails if there are errors about the interfaces.
pub fn ensure(config: &Config) -> Result<()> {
    let refused = refused(config);
    if !refused.is_empty() {
        bail!("{}", refused.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use heartbeat_core::index::VipIndex;

    use super::*;

    fn config(vips: &str) -> Config {
        let text = format!(
            "[cluster]\nname = \"x\"\n[[link]]\ninterface = \"none0\"\n\
             [[node]]\nname = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]\n\
             [[node]]\nname = \"b\"\nid = 2\naddresses = [\"10.0.0.2\"]\n\
             [[node]]\nname = \"c\"\nid = 3\naddresses = [\"10.0.0.3\"]\n{vips}"
        );
        Config::parse(&text, "hb.toml".as_ref(), Some("a"), "").expect("it is good")
    }

    /// Returns the error and the warning about an address on an interface that has `own`.
    fn judged(address: &str, own: &[&str]) -> [Option<String>; 2] {
        let config = config(&format!(
            "[[vip]]\nname = \"one\"\naddress = \"{address}\"\n"
        ));
        let addresses = own.iter().map(|text| text.parse().unwrap()).collect();
        let found = Found {
            ethernet: true,
            addresses,
        };
        let (vip, ours) = (
            &config.vips[VipIndex(0)],
            [config.vips[VipIndex(0)].address.address],
        );
        [complaint(vip, &found, &ours), oddity(vip, &found, &ours)]
    }

    #[test]
    fn only_an_interface_that_is_there_and_no_wire_is_complained_of() {
        let config = config(
            "[[vip]]\nname = \"one\"\naddress = \"10.0.0.100/24\"\n\
             [[vip]]\nname = \"two\"\naddress = \"10.9.9.9/32\"\ninterface = \"lo\"\n",
        );
        let refused = refused(&config);
        let [complaint] = refused.as_slice() else {
            panic!("{refused:?}");
        };
        assert!(
            complaint.starts_with("hb.toml: vip \"two\": \"lo\" is no Ethernet interface"),
            "{complaint}"
        );
        assert!(ensure(&config).is_err());
        // The fault is reported once.
        assert_eq!(oddities(&config), Vec::<String>::new());
    }

    #[test]
    fn address_in_a_network_of_its_interface_needs_no_length() {
        for (address, own) in [
            ("10.0.0.100", &["10.0.0.1/24", "fd00::1/64"][..]),
            ("fd00::100", &["10.0.0.1/24", "fd00::1/64"]),
            ("10.0.0.100/24", &["10.0.0.1/24"]),
            // An address that an earlier run has left.
            ("10.0.0.100", &["10.0.0.100/24"]),
            // The address itself makes the network.
            ("10.0.0.100/24", &["fd00::1/64"]),
            ("fd00::100/64", &["10.0.0.1/24", "fe80::1/64"]),
        ] {
            assert_eq!(judged(address, own), [None, None], "{address} on {own:?}");
        }
    }

    #[test]
    fn address_without_a_length_outside_every_network_is_an_error_with_the_remedy() {
        let [error, oddity] = judged("10.0.0.100", &["10.1.0.1/16", "192.0.2.1/24", "fd00::1/64"]);
        let error = error.expect("an error");
        for part in [
            "address \"10.0.0.100\" has no prefix length, and no network of \"none0\" holds it",
            "which has 10.1.0.0/16, 192.0.2.0/24\n",
            "write the length, as in \"10.0.0.100/24\"",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert_eq!(oddity, None);
        let [error, _] = judged("fd00::100", &["10.1.0.1/16"]);
        let error = error.expect("an error");
        assert!(error.contains("which has no IPv6 network\n"), "{error}");
        assert!(error.contains("as in \"fd00::100/64\""), "{error}");
    }

    #[test]
    fn broadcast_address_of_the_network_is_an_error_without_a_length_too() {
        let [error, _] = judged("10.0.0.255", &["10.0.0.1/24"]);
        let error = error.expect("an error");
        assert!(
            error.contains("broadcast address of 10.0.0.0/24, the network of \"none0\""),
            "{error}"
        );
        assert_eq!(judged("10.0.0.255", &["10.0.0.1/16"]), [None, None]);
    }

    #[test]
    fn address_with_a_length_outside_every_network_is_odd() {
        let [error, oddity] = judged("10.0.0.100/24", &["10.1.0.1/16", "fd00::1/64"]);
        assert_eq!(error, None);
        let oddity = oddity.expect("a warning");
        for part in [
            "no network of \"none0\" holds 10.0.0.100/24: it has 10.1.0.0/16\n",
            "name the interface of its network",
        ] {
            assert!(oddity.contains(part), "{part} in {oddity}");
        }
    }
}
