//! Programs that the agent has put somewhere, each with a way to see whether it is still there.
//!
//! Anybody with the rights can take a program off, and the kernel announces only the removal of XDP
//! programs. This module never attaches anything again: the interface monitor does.

use std::path::PathBuf;

use anyhow::Result;

use super::links;
use heartbeat_sys::net::{EgressFilter, Netlink};

/// One program at its place.
#[derive(Debug)]
pub(crate) struct Watched {
    /// As messages call it.
    pub(crate) name: &'static str,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) enum Place {
    /// A pinned link onto the interface with this index. A link that was detached shows the index
    /// 0.
    Link { pin: PathBuf, ifindex: u32 },
    /// A filter on what leaves the interface with this index.
    Filter { filter: EgressFilter, ifindex: u32 },
}

impl Watched {
    pub(crate) fn is_there(&self, netlink: &mut Netlink) -> Result<bool> {
        match &self.place {
            Place::Link { pin, .. } if !pin.exists() => Ok(false),
            Place::Link { pin, ifindex } => Ok(links::interface_of_pin(pin)? == *ifindex),
            Place::Filter { filter, ifindex } => {
                Ok(netlink.egress_filters(*ifindex)?.contains(filter))
            }
        }
    }
}
