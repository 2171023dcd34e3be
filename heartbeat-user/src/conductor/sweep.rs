//! Removes addresses that were left on interfaces by a run that is over.

use std::net::IpAddr;

use anyhow::Result;
use heartbeat_common::{maps::GuardRow, time::Boottime};
use nix::errno::Errno;

use crate::{config::Config, net::Netlink};

/// Removes the addresses that an earlier run left on the interfaces, but for those that may still be
/// served (`inherited`, one for each VIP). `stale` is what it guarded, wherever that was.
///
/// Goes on after a failure, and returns the first: what it could not remove needs a guard.
pub fn sweep(config: &Config, inherited: &[Option<Boottime>], stale: &[GuardRow]) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut kept = Vec::new();
    let mut result = Ok(());
    for (vip, inherited) in config.served().iter().zip(inherited) {
        let address = vip.address.address;
        let place = match inherited.map(|_| netlink.interface(&vip.interface)) {
            Some(Ok(interface)) => Some(interface.index),
            // The address went with its interface.
            Some(Err(error)) if error.errno() == Some(Errno::ENODEV) => None,
            Some(Err(error)) => {
                result = result.and(Err(error.into()));
                continue;
            }
            None => None,
        };
        kept.extend(place.map(|_| address));
        // Its interface may be called otherwise than when it came there.
        let what = format!("vip {}: removed {}", vip.name, vip.address);
        result = result.and(take_from_all(&mut netlink, address, place, &what));
    }
    let others = stale
        .iter()
        .filter(|row| !kept.contains(&IpAddr::from(row.address)));
    result.and(remove_guarded(others))
}

/// Removes addresses that an earlier run guarded, and nobody will guard any more, from wherever they are in
/// the network namespace of the calling thread. Goes on after a failure, and returns the first.
pub fn remove_guarded<'a>(rows: impl IntoIterator<Item = &'a GuardRow>) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut result = Ok(());
    for row in rows {
        let address = row.address.into();
        let what = format!("removed {address}");
        result = result.and(take_from_all(&mut netlink, address, None, &what));
    }
    result
}

/// Takes `address` from all interfaces but `spared`, and says so in the words of `what`.
fn take_from_all(
    netlink: &mut Netlink,
    address: IpAddr,
    spared: Option<u32>,
    what: &str,
) -> Result<()> {
    for name in netlink.remove_from_all(address, spared)? {
        log::warn!("{what} from {name}, where an earlier run had left it");
    }
    Ok(())
}
