//! The network namespace in which an instance's programs were loaded.
//!
//! The guard, the interfaces and the addresses of the instance are in that namespace. A process in
//! another namespace that took them over, or removed the guard, would leave the addresses in place
//! without a guard.

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map};
use heartbeat_common::maps::Config;
use heartbeat_sys::net::namespace;

use super::Pins;
use crate::attach::{links, sockets};

/// Checks that the pins belong to this process's network namespace, unless they are on no
/// interface. `what` names the intended action.
pub fn must_be_here(pins: &Pins, what: &str) -> Result<()> {
    let Some(origin) = recorded(pins) else {
        return Ok(());
    };
    let here = cookie()?;
    // Pins on no interface guard nothing: their namespace is gone.
    if origin == here || !is_on_an_interface(pins)? {
        return Ok(());
    }
    bail!(
        "{} was loaded in another network namespace (number {origin}, this one is {here}): its \
        addresses and their guard are there and cannot be reached from here, so nothing was \
        changed\n  {what} in that namespace: `nsenter --net=/run/netns/NAME heartbeat …`, or \
        `nsenter --net=/proc/PID/ns/net` of a process there",
        pins.dir().display()
    )
}

/// The number of this process's network namespace.
pub(crate) fn cookie() -> Result<u64> {
    namespace::cookie().context("could not find out which network namespace this is")
}

/// The namespace of the instance's load; `None` if there is no instance, or if its release did not
/// record it.
fn recorded(pins: &Pins) -> Option<u64> {
    let config: Array<_, Config> = Map::Array(pins.map("config").ok()?).try_into().ok()?;
    let origin = config.get(&0, 0).ok()?.namespace;
    (origin != 0).then_some(origin)
}

fn is_on_an_interface(pins: &Pins) -> Result<bool> {
    let elsewhere = sockets::link_pins();
    let names = pins.names()?;
    let mut links = names
        .iter()
        .filter(|name| name.starts_with("link_") && !elsewhere.contains(name));
    // A link without information may be on any interface.
    Ok(links.any(|name| links::interface_of_pin(&pins.path(name)).map_or(true, |on| on != 0)))
}
