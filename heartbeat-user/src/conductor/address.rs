//! The addresses of this node's groups: adds, announces, watches and removes them.
//!
//! Whose they are is decided elsewhere, and the guard of the kernel drops their traffic where they are
//! nobody's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_core::resource::Outcome;
use nix::errno::Errno;

use crate::{
    clock,
    config::Vip,
    net::{Announcer, Burst, Netlink},
};

/// How long to wait before an address that could not be removed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One address on this node.
pub(super) struct Held {
    pub(super) vip: Vip,
    /// `None` while there is no interface of that name.
    place: Option<Place>,
    wanted: bool,
    /// It could not be added, because its interface was missing.
    lacked: bool,
    on_interface: bool,
    burst: Option<Burst>,
    retry_at: Option<Boottime>,
}

/// Where an address is put, and announced.
struct Place {
    index: u32,
    announcer: Announcer,
}

impl Place {
    /// The interface that is called so now, if there is one.
    fn find(name: &str, netlink: &mut Netlink) -> Result<Option<Self>> {
        let interface = match netlink.interface(name) {
            Ok(interface) => interface,
            Err(error) if error.errno() == Some(Errno::ENODEV) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self {
            announcer: Announcer::open(&interface)?,
            index: interface.index,
        }))
    }
}

/// When an address was added, and when that had been announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) address: Boottime,
    pub(super) announced: Boottime,
}

impl Held {
    pub(super) fn new(vip: &Vip, netlink: &mut Netlink) -> Result<Self> {
        let held = Self {
            place: Place::find(&vip.interface, netlink)?,
            vip: vip.clone(),
            wanted: false,
            lacked: false,
            on_interface: false,
            burst: None,
            retry_at: None,
        };
        let there = held.is_there(netlink)?;
        Ok(Self {
            on_interface: there,
            ..held
        })
    }

    /// Whether it is on its interface, as a monitor says it.
    pub(super) fn look(&self, netlink: &mut Netlink) -> Result<Outcome, String> {
        match self.is_there(netlink) {
            Ok(true) => Ok(Outcome::OK),
            Ok(false) => Ok(Outcome::NOT_RUNNING),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// The same; if it is, an earlier run of this node added it and it is still served: it is announced
    /// anew.
    pub(super) fn adopt(&mut self, netlink: &mut Netlink) -> Result<Outcome, String> {
        let outcome = self.look(netlink)?;
        self.wanted = outcome == Outcome::OK;
        self.reassert(netlink);
        self.poll(clock::now());
        Ok(outcome)
    }

    fn is_there(&self, netlink: &mut Netlink) -> Result<bool> {
        let Some(place) = &self.place else {
            return Ok(false);
        };
        let addresses = match netlink.addresses(place.index) {
            // They went with their interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => return Ok(false),
            addresses => addresses?,
        };
        let own = self.vip.address.address;
        Ok(addresses.iter().any(|prefix| prefix.address == own))
    }

    pub(super) fn is_held(&self) -> bool {
        self.on_interface
    }

    /// Adds and announces it.
    pub(super) fn add(&mut self, netlink: &mut Netlink) -> Result<Added> {
        self.wanted = true;
        self.retry_at = None;
        self.put(netlink)?;
        let address = clock::now();
        self.on_interface = true;
        let mut burst = Burst::new(address);
        if burst.poll(address) {
            self.announce();
        }
        self.burst = Some(burst);
        let announced = clock::now();
        Ok(Added { address, announced })
    }

    fn put(&mut self, netlink: &mut Netlink) -> Result<()> {
        self.lacked = true;
        let place = self.place.as_ref().with_context(|| {
            format!(
                "there is no interface {}: it is added when one appears",
                self.vip.interface
            )
        })?;
        // If it is there already, that is as good.
        match netlink.add_address(place.index, self.vip.address) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Err(error.into()),
            result => {
                self.lacked = false;
                Ok(result.map(drop)?)
            }
        }
    }

    /// Whether it could not be added for want of its interface.
    pub(super) fn lacked(&self) -> bool {
        self.lacked
    }

    /// Goes on with the interface that has the name now, and puts the address there if it is served. Its
    /// guard must be there already.
    pub(super) fn follow(&mut self, netlink: &mut Netlink) {
        match Place::find(&self.vip.interface, netlink) {
            Ok(place) => self.place = place,
            Err(error) => {
                log::warn!("vip {}: {error:#}", self.vip.name);
                return;
            }
        }
        self.lacked = false;
        self.reassert(netlink);
    }

    /// Removes it. On failure it is to be tried again at [`Held::due_at`].
    ///
    /// Returns whether it was there.
    pub(super) fn remove(&mut self, netlink: &mut Netlink) -> Result<bool> {
        self.wanted = false;
        self.burst = None;
        self.retry_at = Some(clock::now().after(RETRY));
        let Some(place) = &self.place else {
            self.retry_at = None;
            return Ok(std::mem::take(&mut self.on_interface));
        };
        // Also if it should not be there: an addition that failed may have come through.
        let removed = match netlink.remove_address(place.index, self.vip.address.address) {
            Ok(removed) => removed,
            // The address went with its interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => false,
            Err(error) => return Err(error.into()),
        };
        self.retry_at = None;
        Ok(std::mem::take(&mut self.on_interface) || removed)
    }

    /// Ends the announcements: its guard is closed, and lets none out.
    pub(super) fn hush(&mut self) {
        self.burst = None;
    }

    /// Begins the announcements anew, as after a takeover, if it is held. An IPv6 address may have gone
    /// when its interface was set down.
    pub(super) fn reassert(&mut self, netlink: &mut Netlink) {
        if !self.on_interface || !self.wanted {
            return;
        }
        if let Err(error) = self.put(netlink) {
            log::warn!("vip {}: {error:#}", self.vip.name);
            return;
        }
        self.burst = Some(Burst::new(clock::now()));
    }

    /// When it needs something done without being told.
    pub(super) fn due_at(&self) -> Option<Boottime> {
        match (&self.burst, self.retry_at) {
            (Some(burst), Some(retry)) => Some(burst.due_at().min(retry)),
            (Some(burst), None) => Some(burst.due_at()),
            (None, retry) => retry,
        }
    }

    /// Whether it is to be removed, and could not be.
    pub(super) fn must_retry(&self, now: Boottime) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Announces it if that is due.
    pub(super) fn poll(&mut self, now: Boottime) {
        if self.burst.as_mut().is_some_and(|burst| burst.poll(now)) {
            self.announce();
        }
    }

    fn announce(&self) {
        let Some(place) = &self.place else { return };
        let Err(error) = place.announcer.announce(self.vip.address.address) else {
            return;
        };
        log::warn!(
            "vip {}: could not announce {}{}: {error:#}",
            self.vip.name,
            self.vip.address,
            match error.downcast_ref() {
                Some(nix::Error::ENOBUFS) =>
                    " (its guard is closed, or the interface's queue is full)",
                _ => "",
            }
        );
    }
}

/// Opens all of `vips`.
pub(super) fn open(vips: &[Vip], netlink: &mut Netlink) -> Result<Vec<Held>> {
    let held = |vip: &Vip| Held::new(vip, netlink).with_context(|| format!("vip {}", vip.name));
    vips.iter().map(held).collect()
}
