//! Removes addresses that an ended run left on interfaces.
//!
//! All interfaces are searched, because an interface may have been renamed, or an address moved,
//! since. On loopback an address does no harm on the wire, and another program may need it there
//! (direct routing). It stays there, unless loopback is its configured interface.

use std::net::IpAddr;

use anyhow::Result;
use heartbeat_common::{maps::GuardRow, time::Boottime};
use nix::{errno::Errno, net::if_::if_nametoindex};

use crate::{
    config::Config,
    net::{IpPrefix as Prefix, Netlink},
};

/// An address on the interface with this index.
type Place = (u32, IpAddr);

/// Removes the addresses that an earlier run left on the interfaces, except those that may still be
/// served (`inherited`, one entry per VIP).
///
/// `stale` are the addresses that the earlier run guarded, on any interface. Without an earlier run
/// (`first`) another program has added the addresses, and will do so again.
///
/// Continues after a failure, and returns the first: an address that could not be removed needs a
/// guard.
pub fn sweep(
    config: &Config,
    inherited: &[Option<Boottime>],
    stale: &[GuardRow],
    first: bool,
) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut unwanted: Vec<Place> = stale.iter().map(place).collect();
    let mut kept = Vec::new();
    let mut result = Ok(());
    for (vip, inherited) in config.served().iter().zip(inherited) {
        let index = match netlink.interface(&vip.interface) {
            Ok(interface) => interface.index,
            // The address is gone with its interface, or is elsewhere.
            Err(error) if error.errno() == Some(Errno::ENODEV) => 0,
            Err(error) => {
                result = result.and(Err(error.into()));
                0
            }
        };
        let place = (index, vip.address.address);
        unwanted.push(place);
        if inherited.is_some() {
            kept.push(place);
        }
    }
    let origin = if first { Origin::Host } else { Origin::Run };
    result.and(remove(&mut netlink, &unwanted, &kept, origin))
}

/// Removes addresses that an earlier run guarded, and that no guard covers any more. Continues
/// after a failure, and returns the first.
pub fn remove_guarded<'a>(rows: impl IntoIterator<Item = &'a GuardRow>) -> Result<()> {
    let unwanted: Vec<Place> = rows.into_iter().map(place).collect();
    remove(&mut Netlink::open()?, &unwanted, &[], Origin::Run)
}

fn place(row: &GuardRow) -> Place {
    (row.ifindex, row.address.into())
}

/// The origin of an address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Run,
    Host,
}

impl Origin {
    fn removed(self, prefix: Prefix, interface: &str) -> String {
        match self {
            Self::Run => {
                format!("removed {prefix} from {interface}, where an earlier run had left it")
            }
            Self::Host => format!(
                "removed {prefix} from {interface}, where it was before the agent came: it is a \
                 VIP, and is there only while this node serves it; take it out of the host's \
                 network configuration (netplan, NetworkManager, ifcfg, a script), which adds it \
                 at each boot"
            ),
        }
    }
}

/// Removes the addresses of `unwanted` from all interfaces, except for the places in `kept`.
fn remove(netlink: &mut Netlink, unwanted: &[Place], kept: &[Place], origin: Origin) -> Result<()> {
    if unwanted.is_empty() {
        return Ok(());
    }
    let loopback = if_nametoindex("lo").unwrap_or_default();
    let mut result = Ok(());
    for (index, prefix) in netlink.all_addresses()? {
        let address = prefix.address;
        if !must_go((index, address), unwanted, kept, loopback) {
            continue;
        }
        let name = netlink.interface_at(index).ok().flatten();
        let name = name.map_or_else(|| format!("interface {index}"), |found| found.name);
        match netlink.remove_address(index, address) {
            Ok(true) => {
                log::warn!("{}", origin.removed(prefix, &name));
            }
            Ok(false) => {}
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    result
}

fn must_go(found: Place, unwanted: &[Place], kept: &[Place], loopback: u32) -> bool {
    let named = unwanted.iter().any(|(_, address)| *address == found.1);
    let spared = found.0 == loopback && !unwanted.contains(&found);
    named && !spared && !kept.contains(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_goes_from_every_interface_but_where_it_is_kept() {
        let (vip, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let unwanted = [(5, vip)];
        let goes = |found, kept: &[Place]| must_go(found, &unwanted, kept, 1);
        // The original interface, and a renamed one.
        assert!(goes((5, vip), &[]));
        assert!(goes((7, vip), &[]));
        assert!(!goes((5, other), &[]));
        assert!(!goes((5, vip), &[(5, vip)]));
        assert!(goes((7, vip), &[(5, vip)]));
    }

    #[test]
    fn removal_of_a_hosts_own_address_names_its_configuration() {
        let prefix = "10.0.0.1/24".parse().expect("a prefix");
        let said = Origin::Host.removed(prefix, "eth1");
        assert!(
            said.contains("before the agent came") && said.contains("netplan"),
            "{said}"
        );
        assert!(!said.contains("earlier run"), "{said}");
        let said = Origin::Run.removed(prefix, "eth1");
        assert_eq!(
            said,
            "removed 10.0.0.1/24 from eth1, where an earlier run had left it"
        );
    }

    #[test]
    fn address_on_loopback_goes_only_where_it_is_served_there() {
        let vip = IpAddr::from([10, 0, 0, 1]);
        assert!(!must_go((1, vip), &[(5, vip)], &[], 1));
        assert!(must_go((1, vip), &[(1, vip)], &[], 1));
    }
}
