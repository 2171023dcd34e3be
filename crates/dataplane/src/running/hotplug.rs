//! Attaches the programs to interfaces that appear while the agent runs.
//!
//! Hotplug works on pinned programs and maps, so that a thread of its own can run it. An attachment
//! waits for the kernel's lock of all network configuration, and no other thread of the agent
//! should wait for that.

use std::{fmt, net::IpAddr};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use heartbeat_common::{
    index::VipIndex,
    maps::{self, Address, arrival_slot},
    wire::LinkId,
};
use heartbeat_sys::net::{Netlink, NetlinkError, ProbeSocket};

use super::Dataplane;
use crate::{
    attach::{
        interface::{self, unpin_strangers},
        tc, xdp,
    },
    maps::{senders::Senders, view::GuardView},
    object::programs::Programs,
    pins::{Pins, names::xdp_pin},
    setup::{Attached, Attachment, SetupGuard, SetupLink, XdpMode},
};

/// The pinned programs and maps.
pub struct Hotplug {
    pins: Pins,
    links: Vec<SetupLink>,
    guards: Vec<SetupGuard>,
    /// The rows of `guards`, in their order.
    guard: GuardView,
    programs: Programs,
    link_map: HashMap<MapData, Address, maps::Link>,
    arrivals: PerCpuArray<MapData, u64>,
    senders: Senders,
}

impl fmt::Debug for Hotplug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hotplug")
            .field("links", &self.links)
            .field("guards", &self.guards)
            .finish_non_exhaustive()
    }
}

impl Hotplug {
    /// Opens the pins of `dataplane`.
    pub fn open(dataplane: &Dataplane) -> Result<Self> {
        let pins = dataplane.pins.clone();
        Ok(Self {
            links: dataplane.setup.links.clone(),
            guards: dataplane.setup.guards.clone(),
            guard: dataplane.guard()?,
            programs: Programs::open(&pins)?,
            link_map: Map::HashMap(pins.map("links")?).try_into()?,
            arrivals: Map::PerCpuArray(pins.map("arrivals")?).try_into()?,
            senders: dataplane.senders()?,
            pins,
        })
    }

    /// The links, in the order of their numbers.
    pub fn links(&self) -> &[SetupLink] {
        &self.links
    }

    /// The interfaces of links and guarded addresses, each once.
    pub fn interfaces(&self) -> Vec<String> {
        let links = self.links.iter().map(|link| &link.interface);
        let guards = self.guards.iter().map(|guard| &guard.interface);
        let mut names: Vec<String> = Vec::new();
        for name in links.chain(guards) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Replaces the guarded addresses by `guards`, whose rows are in `view`.
    pub fn guard(&mut self, guards: Vec<SetupGuard>, view: GuardView) {
        (self.guards, self.guard) = (guards, view);
    }

    /// The guarded addresses of the interface called `name` that are on another interface than the
    /// one with this index, which has the name now. While there are any, the guard must not leave
    /// the interface that had the name before.
    pub fn left_behind(
        &self,
        name: &str,
        ifindex: u32,
        netlink: &mut Netlink,
    ) -> Result<Vec<IpAddr>, NetlinkError> {
        let mut left = Vec::new();
        for guard in self.guards.iter().filter(|guard| guard.interface == name) {
            let address = guard.address.address;
            if netlink
                .holders(address)?
                .iter()
                .any(|index| *index != ifindex)
            {
                left.push(address);
            }
        }
        Ok(left)
    }

    /// Attaches all programs of an interface, the guard first, and writes its index for the
    /// programs. No guarded address may be left behind ([`Hotplug::left_behind`]).
    pub fn attach(&mut self, name: &str, ifindex: u32) -> Result<Attachment> {
        let pins = &self.pins;
        unpin_strangers(name, ifindex, pins)?;
        let mode = self.mode(name);
        let guarded = match self.guards.is_empty() {
            true => None,
            false => interface::guard(&mut self.programs, pins, name, mode.is_some(), false)?,
        };
        let attachment = match mode {
            Some(mode) => interface::answer(&mut self.programs, pins, name, mode)?,
            // The interface has a guarded address and no link.
            None => guarded.context("nothing belongs there")?,
        };
        for link in self.links.iter().filter(|link| link.interface == name) {
            let value = maps::Link {
                ifindex,
                link: link.id.0.into(),
            };
            self.link_map
                .insert(Address::from(link.address), value, 0)?;
        }
        for (vip, guard) in (0..).map(VipIndex).zip(&self.guards) {
            if guard.interface == name {
                self.guard.set_interface(vip, ifindex);
            }
        }
        Ok(attachment)
    }

    /// Opens a socket for the probes of the link `link`, on the interface with this index. The
    /// kernel signs the packets of that socket.
    pub fn open_socket(&mut self, link: LinkId, port: u16, ifindex: u32) -> Result<ProbeSocket> {
        let SetupLink { id, address, .. } = self
            .links
            .get(usize::from(link.0))
            .context("there is no such link")?;
        let socket = ProbeSocket::open(*address, port, ifindex)?;
        self.senders.register(*id, &socket)?;
        Ok(socket)
    }

    /// The missing TC programs of an interface, by their names in messages. A program without
    /// information from the kernel counts as present.
    pub fn missing(&self, name: &str, ifindex: u32, netlink: &mut Netlink) -> Vec<&'static str> {
        let stamp = self.mode(name).map(|_| "stamp_probe");
        let guard = (!self.guards.is_empty()).then_some("guard_egress");
        let programs = guard.into_iter().chain(stamp);
        let watched = programs.map(|program| tc::watched(program, name, ifindex, &self.pins));
        watched
            .filter(|program| !program.is_there(netlink).unwrap_or(true))
            .map(|program| program.name)
            .collect()
    }

    /// The mode of the attached XDP program, according to the pins.
    pub fn attached(&self, interface: &str) -> Option<Attachment> {
        let mut ways = [Attached::Native, Attached::Skb].into_iter();
        let how = ways.find(|how| self.pins.path(&xdp_pin(interface, *how)).exists())?;
        Some(Attachment {
            how,
            fallback: None,
        })
    }

    /// Attaches in skb mode a program that does not run in the driver.
    pub fn move_to_skb(&mut self, interface: &str, why: &str) -> Result<Attachment> {
        let is_link = self.mode(interface).is_some();
        let program = if is_link {
            &mut self.programs.responder
        } else {
            &mut self.programs.guard_ingress
        };
        xdp::move_to_skb(program, interface, why, &self.pins)
    }

    /// Number of frames that arrived by an interface and passed the programs. Frames of other
    /// interfaces, whose index differs by a multiple of [`maps::ARRIVAL_SLOTS`], are counted too.
    pub fn arrivals(&self, ifindex: u32) -> Result<u64> {
        let values = self.arrivals.get(&arrival_slot(ifindex), 0)?;
        Ok(values.iter().sum())
    }

    /// Whether the program with this number is our program for `interface`.
    pub fn is_own(&self, interface: &str, program: u32) -> Result<bool> {
        let own = match self.mode(interface) {
            Some(_) => &self.programs.responder,
            None => &self.programs.guard_ingress,
        };
        Ok(own.info()?.id() == program)
    }

    /// The configured XDP mode of the interface; `None` if no link is on it.
    pub fn mode(&self, interface: &str) -> Option<XdpMode> {
        let mut links = self.links.iter();
        let link = links.find(|link| link.interface == interface)?;
        Some(link.mode)
    }
}
