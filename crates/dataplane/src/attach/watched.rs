//! Attached programs of the agent, each with a way to check that the program is still attached.
//!
//! Any process with the rights can detach a program, and the kernel announces only the removal of
//! XDP programs. This module never attaches anything again: the interface monitor does.

use std::path::PathBuf;

use anyhow::Result;

use super::links;
use heartbeat_sys::net::{EgressFilter, Netlink};

/// One attached program.
#[derive(Debug)]
pub(crate) struct Watched {
    /// The name of the program in messages.
    pub(crate) name: &'static str,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) enum Place {
    /// A pinned link to the interface with this index. A detached link shows the index 0.
    Link { pin: PathBuf, ifindex: u32 },
    /// A filter on the egress of the interface with this index.
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
