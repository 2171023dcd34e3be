//! The existing XDP program of an interface: its name, its holders, whether it is still attached,
//! and its removal if the operator wants that.

use std::fmt;

use anyhow::{Context as _, Result};
use aya::programs::{
    links::{FdLink, LinkType, PinnedLink},
    loaded_links, loaded_programs,
};

use super::links;
use crate::{
    pins::{self, Pins, names::xdp_pin},
    setup::Attached,
};
use heartbeat_sys::net::{Netlink, NetlinkError, XdpPlace, XdpProgram};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingProgram {
    pub(crate) ifindex: u32,
    pub(crate) program: XdpProgram,
    pub(crate) name: Option<String>,
    /// The BPF link that attaches the program, if there is one.
    pub(crate) link: Option<u32>,
    pub(crate) holders: Vec<String>,
}

impl ExistingProgram {
    /// Reads the program of the interface; `None` if there is no program.
    pub(crate) fn of(netlink: &mut Netlink, ifindex: u32) -> Result<Option<Self>> {
        match in_the_way(netlink, ifindex)? {
            Some(program) => Ok(Some(Self::held(ifindex, program))),
            None => Ok(None),
        }
    }

    /// The program on the interface with this name and index; `None` if there is none, or if `pins`
    /// has the program there.
    pub(crate) fn foreign(
        netlink: &mut Netlink,
        interface: &str,
        ifindex: u32,
        pins: &Pins,
    ) -> Result<Option<Self>> {
        let Some(program) = in_the_way(netlink, ifindex)? else {
            return Ok(None);
        };
        let ways = [Attached::Native, Attached::Skb].into_iter();
        let mut own = ways.map(|way| pins.path(&xdp_pin(interface, way)));
        let is_own = own.any(|pin| {
            links::of_pin(&pin).is_ok_and(|(on, runs)| (on, runs) == (ifindex, program.id))
        });
        Ok((!is_own).then(|| Self::held(ifindex, program)))
    }

    fn held(ifindex: u32, program: XdpProgram) -> Self {
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
        Self {
            ifindex,
            program,
            name: name.filter(|name| !name.is_empty()),
            link,
            holders,
        }
    }

    /// Whether the program is still on its interface.
    pub(crate) fn is_there(&self, netlink: &mut Netlink) -> Result<bool> {
        Ok(in_the_way(netlink, self.ifindex)? == Some(self.program))
    }

    /// Removes the program from the interface.
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
            [] => f.write_str(", no owning process found)"),
            holders => write!(f, ", held by {})", holders.join(" and ")),
        }
    }
}

/// The program that prevents others on the interface with this index. A program that runs on the
/// card prevents none.
fn in_the_way(netlink: &mut Netlink, ifindex: u32) -> Result<Option<XdpProgram>, NetlinkError> {
    let program = netlink.interface_at(ifindex)?.and_then(|found| found.xdp);
    Ok(program.filter(|program| program.place != XdpPlace::Card))
}

/// The instances of heartbeat that have this link pinned.
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
