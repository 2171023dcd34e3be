//! The XDP program that is on an interface before ours: its name, who holds it, and how it is
//! detached if the operator wants that.

use std::fmt;

use anyhow::{Context as _, Result};
use aya::programs::{
    links::{FdLink, LinkType, PinnedLink},
    loaded_links, loaded_programs,
};

use super::links;
use crate::pins::{self, Pins};
use heartbeat_sys::net::{Netlink, XdpProgram};

#[derive(Debug)]
pub(crate) struct ExistingProgram {
    ifindex: u32,
    program: XdpProgram,
    name: Option<String>,
    /// The BPF link that holds it there, if one does.
    link: Option<u32>,
    holders: Vec<String>,
}

impl ExistingProgram {
    /// `None` if there is no program on the interface.
    pub(crate) fn of(netlink: &mut Netlink, ifindex: u32) -> Result<Option<Self>> {
        let interface = netlink.interface_at(ifindex)?;
        let Some(program) = interface.and_then(|interface| interface.xdp) else {
            return Ok(None);
        };
        let mut programs = loaded_programs().flatten();
        let info = programs.find(|info| info.id() == program.id);
        let name = info.and_then(|info| info.name_as_str().map(str::to_owned));
        let mut all = loaded_links().flatten();
        let link = all.find(|link| {
            link.program_id() == program.id
                && matches!(link.link_type(), Ok(LinkType::Xdp))
                && links::interface_of(link.id()).is_ok_and(|on| on == ifindex)
        });
        let link = link.map(|link| link.id());
        let mut holders = instances(link);
        holders.extend(match link {
            Some(link) => links::holders("link_id", link),
            None => links::holders("prog_id", program.id),
        });
        Ok(Some(Self {
            ifindex,
            program,
            name: name.filter(|name| !name.is_empty()),
            link,
            holders,
        }))
    }

    /// Takes it off the interface.
    pub(crate) fn evict(&self, netlink: &mut Netlink) -> Result<()> {
        let evicted = match self.link {
            Some(link) => links::detach(link),
            None => Ok(netlink.detach_xdp(self.ifindex, self.program.place)?),
        };
        evicted.with_context(|| format!("could not remove {self}"))
    }
}

impl fmt::Display for ExistingProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}`")?,
            None => f.write_str("a program without a name")?,
        }
        let XdpProgram { id, place } = self.program;
        write!(f, " (program id {id}, {} mode", place.name())?;
        if let Some(link) = self.link {
            write!(f, ", by link {link}")?;
        }
        match self.holders.as_slice() {
            [] => f.write_str(", held by no process that is to be seen)"),
            holders => write!(f, ", held by {})", holders.join(" and ")),
        }
    }
}

/// The instances of ours that have this link pinned.
fn instances(link: Option<u32>) -> Vec<String> {
    let Some(link) = link else { return Vec::new() };
    let has = |name: &String| {
        let pins = Pins::of(name).names().unwrap_or_default();
        let mut pins = pins.iter().filter(|pin| pin.starts_with("link_xdp"));
        pins.any(|pin| {
            let pinned = PinnedLink::from_pin(Pins::of(name).path(pin)).map(FdLink::from);
            let info = pinned.ok().and_then(|pinned| pinned.info().ok());
            info.is_some_and(|info| info.id() == link)
        })
    };
    let instances = pins::instances()
        .unwrap_or_default()
        .into_iter()
        .filter(has);
    instances
        .map(|name| format!("instance `{name}` of heartbeat"))
        .collect()
}
