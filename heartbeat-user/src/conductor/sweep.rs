//! Removes addresses that were left on interfaces by a run that is over.

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
        let index = match netlink.interface(&vip.interface) {
            Ok(interface) => interface.index,
            // The address went with its interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => continue,
            Err(error) => {
                result = result.and(Err(error.into()));
                continue;
            }
        };
        let address = vip.address.address;
        if inherited.is_some() {
            kept.push((index, address));
            continue;
        }
        match netlink.remove_address(index, address) {
            Ok(true) => log::warn!(
                "vip {}: removed {} from {}, where an earlier run had left it",
                vip.name,
                vip.address,
                vip.interface
            ),
            Ok(false) => {}
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    let gone = |row: &&GuardRow| !kept.contains(&(row.ifindex, row.address.into()));
    result.and(remove_guarded(stale.iter().filter(gone)))
}

/// Removes addresses that an earlier run guarded, and nobody will guard any more. Goes on after a
/// failure, and returns the first.
pub fn remove_guarded<'a>(rows: impl IntoIterator<Item = &'a GuardRow>) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let mut result = Ok(());
    for row in rows {
        let address = row.address.into();
        match netlink.remove_address(row.ifindex, address) {
            Ok(true) => {
                log::warn!("removed {address}, which an earlier run had left on its interface");
            }
            Ok(false) => {}
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    result
}
