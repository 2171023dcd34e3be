//! The addresses of this node's groups: adds, announces, watches and removes them.
//!
//! Their owner is decided elsewhere, and the kernel's guard drops the traffic of addresses without
//! a lease.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_core::{index::VipIndex, index_vec::IndexVec, resource::Outcome};
use nix::errno::Errno;

use super::backoff::Backoff;
use crate::{
    clock,
    config::Vip,
    net::{Announcer, Burst, Claim, Defence, IpPrefix as Prefix, Netlink},
    networks,
};

/// The wait before the next attempt to remove an address.
const RETRY: Duration = Duration::from_secs(1);
/// The shortest time between two reports of claims: by the same host, and by another.
const SAME: Duration = Duration::from_secs(600);
const OTHER: Duration = Duration::from_secs(1);

/// One address on this node.
pub(super) struct Held {
    pub(super) vip: Vip,
    /// `None` while no interface has the configured name.
    place: Option<Place>,
    /// The address with its prefix length, once the length is known. A length that the
    /// configuration omits is that of the interface's own network, or of its last such network.
    prefix: Option<Prefix>,
    wanted: bool,
    /// Whether the last addition failed because the interface or its network was missing.
    lacked: bool,
    on_interface: bool,
    burst: Option<Burst>,
    defence: Defence,
    /// The host in the last reported claim, and the time of the report.
    last_claim: Option<([u8; 6], Boottime)>,
    /// The time of the next probe for other holders of the address.
    probe_at: Option<Boottime>,
    retry_at: Option<Boottime>,
    /// The limit on the rate of repairs, and the time of the next one, while another program
    /// removes the address or adds it without a lease.
    pub(super) backoff: Backoff,
    pub(super) restore_at: Option<Boottime>,
    /// The last logged reason why the address could not leave a former interface.
    departure_error: Option<String>,
}

/// The result of a check on an address that should be on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    There,
    /// Another program had removed the address, and it is back. The number counts removals in a
    /// row; it is present if the repair is to be reported.
    PutBack(Option<u32>),
    /// The address was removed, and is added again later.
    Later,
    /// No interface has the configured name.
    NoPlace,
}

/// The interface for the address, and the sender of its announcements.
struct Place {
    index: u32,
    announcer: Announcer,
}

impl Place {
    /// Finds the interface with this name, if there is one.
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

/// The times at which an address was added and then announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) address: Boottime,
    pub(super) announced: Boottime,
}

impl Held {
    /// Opens an address. `ours` are the addresses that move between nodes.
    pub(super) fn new(vip: &Vip, ours: &[IpAddr], netlink: &mut Netlink) -> Result<Self> {
        let mut held = Self {
            place: Place::find(&vip.interface, netlink)?,
            prefix: None,
            vip: vip.clone(),
            wanted: false,
            lacked: false,
            on_interface: false,
            burst: None,
            defence: Defence::default(),
            last_claim: None,
            probe_at: None,
            retry_at: None,
            backoff: Backoff::default(),
            restore_at: None,
            departure_error: None,
        };
        held.update_prefix(ours, netlink);
        let there = held.is_there(netlink)?;
        Ok(Self {
            on_interface: there,
            ..held
        })
    }

    /// Returns whether the address is on its interface, in the form of a monitor's result.
    pub(super) fn observe(&self, netlink: &mut Netlink) -> Result<Outcome, String> {
        match self.is_there(netlink) {
            Ok(true) => Ok(Outcome::OK),
            Ok(false) => Ok(Outcome::NOT_RUNNING),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Does the same. An address that is present was added by an earlier run and is still served,
    /// so it is announced again.
    pub(super) fn adopt(&mut self, netlink: &mut Netlink) -> Result<Outcome, String> {
        let outcome = self.observe(netlink)?;
        self.wanted = outcome == Outcome::OK;
        self.reassert(netlink);
        self.poll(clock::now(), netlink);
        Ok(outcome)
    }

    fn is_there(&self, netlink: &mut Netlink) -> Result<bool> {
        let Some(place) = &self.place else {
            return Ok(false);
        };
        let addresses = match netlink.addresses(place.index) {
            // The addresses are gone with their interface.
            Err(error) if error.errno() == Some(Errno::ENODEV) => return Ok(false),
            addresses => addresses?,
        };
        let own = self.vip.address.address;
        Ok(addresses.iter().any(|prefix| prefix.address == own))
    }

    pub(super) fn is_held(&self) -> bool {
        self.on_interface
    }

    /// Adds and announces the address. `ours` are the addresses that move between nodes.
    pub(super) fn add(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> Result<Added> {
        self.wanted = true;
        self.retry_at = None;
        self.update_prefix(ours, netlink);
        self.put(netlink)?;
        let address = clock::now();
        self.on_interface = true;
        self.announce_anew(address);
        let announced = clock::now();
        Ok(Added { address, announced })
    }

    /// Checks that the address is present, and adds it again if another program removed it. `ours`
    /// are the addresses that move between nodes.
    pub(super) fn settle(
        &mut self,
        now: Boottime,
        ours: &[IpAddr],
        netlink: &mut Netlink,
    ) -> Result<Settled> {
        let Some(place) = &self.place else {
            return Ok(Settled::NoPlace);
        };
        if self.is_there(netlink)? {
            if let Some(prefix) = self.prefix
                && netlink.step_back(place.index, prefix, ours)?
            {
                log::info!(
                    "vip {}: {prefix} is a secondary address of {} again",
                    self.vip.name,
                    self.vip.interface
                );
            }
            return Ok(Settled::There);
        }
        let due = self.backoff.due(now);
        if due > now {
            self.restore_at = Some(due);
            return Ok(Settled::Later);
        }
        self.update_prefix(ours, netlink);
        self.put(netlink)?;
        self.on_interface = true;
        self.announce_anew(clock::now());
        Ok(Settled::PutBack(self.backoff.done(now)))
    }

    /// Returns whether the address should be on its interface.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Returns whether a removal failed and is tried again.
    pub(super) fn is_stuck(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Returns the index of the address's interface.
    pub(super) fn interface(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.index)
    }

    fn put(&mut self, netlink: &mut Netlink) -> Result<()> {
        self.lacked = true;
        let place = self.place.as_ref().with_context(|| {
            format!(
                "there is no interface {}: it is added when one appears",
                self.vip.interface
            )
        })?;
        let prefix = self.prefix.with_context(|| {
            format!(
                "{} has no prefix length, and {} has no network that holds it: it is added when \
                 one appears; give the node an address of that network, or write the length",
                self.vip.address, self.vip.interface
            )
        })?;
        // An address that is present already is fine.
        match netlink.add_address(place.index, prefix) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Err(error.into()),
            result => {
                self.lacked = false;
                Ok(result.map(drop)?)
            }
        }
    }

    /// Returns whether the last addition failed because the interface or its network was missing.
    pub(super) fn lacked(&self) -> bool {
        self.lacked
    }

    /// Returns whether the part that [`lacked`](Held::lacked) is present by now. Returns true only
    /// once.
    pub(super) fn lacks_no_more(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> bool {
        if !self.lacked || self.place.is_none() {
            return false;
        }
        self.update_prefix(ours, netlink);
        self.lacked = self.prefix.is_none();
        !self.lacked
    }

    /// Finds the prefix length from the present networks of the interface.
    ///
    /// Without a network that holds the address, the earlier length stays valid: a node may lose
    /// its own address together with the served one, which is added again at once.
    fn update_prefix(&mut self, ours: &[IpAddr], netlink: &mut Netlink) {
        let present = match &self.place {
            // A configured length needs no interface.
            Some(place) if self.vip.address.len.is_none() => netlink.addresses(place.index),
            _ => Ok(Vec::new()),
        };
        match present {
            Ok(present) => {
                let found = networks::prefix(self.vip.address, &present, ours);
                self.prefix = found.or(self.prefix);
            }
            Err(error) => log::debug!("vip {}: {error}", self.vip.name),
        }
    }

    /// Switches to the interface that has the name now, and adds the address there if it is served.
    /// The interface must be guarded already.
    pub(super) fn follow(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> Result<()> {
        self.place = Place::find(&self.vip.interface, netlink)?;
        self.update_prefix(ours, netlink);
        self.departure_error = None;
        // The address may be on the former interface again, which is no longer guarded.
        self.remove_except(self.interface(), netlink)?;
        self.lacked = false;
        self.reassert(netlink);
        Ok(())
    }

    /// Removes the address from all interfaces except the one with the index `arrived`, which has
    /// the name now. The guard is about to leave the former interface. The address is not added
    /// anywhere before [`Held::follow`].
    pub(super) fn vacate(&mut self, arrived: u32, netlink: &mut Netlink) {
        self.place = None;
        self.end_announcements();
        let Err(error) = self.remove_except(Some(arrived), netlink) else {
            return;
        };
        let (name, address, interface) = (&self.vip.name, self.vip.address, &self.vip.interface);
        let error = format!(
            "vip {name}: another interface has the name {interface} now, and {address} could not \
             be removed from the former one, whose guard stays: {error:#}"
        );
        if self.departure_error.as_ref() != Some(&error) {
            log::error!("{error}");
            self.departure_error = Some(error);
        }
    }

    /// Removes the address from all interfaces. After a failure, [`Held::due_at`] gives the time of
    /// the next attempt.
    ///
    /// Returns whether the address was present.
    pub(super) fn remove(&mut self, netlink: &mut Netlink) -> Result<bool> {
        self.wanted = false;
        self.end_announcements();
        self.retry_at = Some(clock::now().after(RETRY));
        // The removal is not conditional: a failed addition may have succeeded in the kernel.
        let removed = self.remove_except(None, netlink)?;
        self.retry_at = None;
        Ok(std::mem::take(&mut self.on_interface) || removed)
    }

    /// Removes the address from all interfaces except `spared`. The interface may have another name
    /// now, and another program may have added the address elsewhere.
    fn remove_except(&self, spared: Option<u32>, netlink: &mut Netlink) -> Result<bool> {
        let address = self.vip.address.address;
        let own = self.interface().filter(|index| spared != Some(*index));
        let removed = match own.map(|index| netlink.remove_address(index, address)) {
            // The address is gone with its interface.
            Some(Err(error)) if error.errno() == Some(Errno::ENODEV) => false,
            removed => removed.transpose()?.unwrap_or_default(),
        };
        let elsewhere = netlink.remove_from_all(address, spared)?;
        for name in &elsewhere {
            log::warn!(
                "vip {}: removed {} from {name}: it is served on {} only",
                self.vip.name,
                self.vip.address,
                self.vip.interface
            );
        }
        Ok(removed || !elsewhere.is_empty())
    }

    /// Ends the announcements: the guard is closed, and drops them.
    pub(super) fn end_announcements(&mut self) {
        self.burst = None;
        self.probe_at = None;
        self.restore_at = None;
        self.defence.end();
        self.last_claim = None;
    }

    /// Restarts the announcements of a held address, as after a takeover. An IPv6 address may be
    /// gone since its interface was set down.
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

    /// Handles another host's claim to the address. Returns `None` if the claim needs no defence,
    /// else whether it is to be reported as the first one for a while.
    ///
    /// Some routers answer for all addresses of a network (local proxy ARP). Their claims are
    /// reported rarely.
    pub(super) fn claimed(&mut self, claim: &Claim, netlink: &mut Netlink) -> Option<bool> {
        let served = self.wanted && self.on_interface && self.burst.is_some();
        if !served || self.interface() != Some(claim.interface) {
            return None;
        }
        // The claim may come from another interface of this node on the same network.
        let own = netlink.interfaces().ok()?;
        if own.iter().any(|interface| interface.mac == claim.mac) {
            return None;
        }
        let now = clock::now();
        self.defence.claimed(now);
        let again = self.last_claim.is_some_and(|(mac, at)| {
            let pause = if mac == claim.mac { SAME } else { OTHER };
            now.since(at) < pause
        });
        if !again {
            self.last_claim = Some((claim.mac, now));
        }
        Some(!again)
    }

    /// Restarts the announcements if the address is present. A removed address is not added again.
    pub(super) fn announce_if_present(&mut self, netlink: &mut Netlink) {
        if self.wanted && self.observe(netlink) == Ok(Outcome::OK) {
            self.burst = Some(Burst::new(clock::now()));
        }
    }

    /// Returns the time of the next pending work on the address.
    pub(super) fn due_at(&self) -> Option<Boottime> {
        let others = [self.probe_at, self.retry_at, self.restore_at];
        let burst = self.burst.as_ref().map(Burst::due_at);
        let due = others.into_iter().chain([burst, self.defence.due_at()]);
        due.flatten().min()
    }

    /// Returns whether a repair is due.
    pub(super) fn must_restore(&self, now: Boottime) -> bool {
        self.restore_at.is_some_and(|at| at <= now)
    }

    /// Returns whether another attempt to remove the address is due.
    pub(super) fn must_retry(&self, now: Boottime) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Sends the announcements and probes that are due.
    pub(super) fn poll(&mut self, now: Boottime, netlink: &mut Netlink) {
        if let Some(burst) = self.burst.as_mut().filter(|burst| burst.due_at() <= now) {
            burst.poll(now);
            self.probe_at = burst.asks().then_some(now).or(self.probe_at);
            self.announce();
        }
        if self.defence.poll(now) {
            self.announce();
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe_at = None;
            self.probe(netlink);
        }
    }

    /// Restarts the announcements, and sends the first one.
    fn announce_anew(&mut self, now: Boottime) {
        let mut burst = Burst::new(now);
        burst.poll(now);
        self.burst = Some(burst);
        self.announce();
        // The probe is sent later: nothing waits for its answer.
        self.probe_at = Some(now);
    }

    /// Sends a probe for other holders of the address. Nothing depends on an answer, so a failure
    /// is only logged for debugging.
    fn probe(&self, netlink: &mut Netlink) {
        let Some(place) = &self.place else { return };
        let address = self.vip.address.address;
        let source = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(_) => link_local(place.index, netlink),
        };
        if let Err(error) = place.announcer.probe(address, source) {
            log::debug!("vip {}: {error:#}", self.vip.name);
        }
    }

    fn announce(&self) {
        let Some(place) = &self.place else { return };
        let Err(error) = place.announcer.announce(self.vip.address.address) else {
            return;
        };
        let (vip, address) = (&self.vip.name, &self.vip.address);
        let what = match self.vip.address.address {
            IpAddr::V4(_) => "gratuitous ARP",
            IpAddr::V6(_) => "neighbour advertisement",
        };
        match error.downcast_ref() {
            Some(nix::Error::ENOBUFS) => log::warn!(
                "vip {vip}: {what} for {address} dropped: by the guard, since this node no longer \
                 holds the lease, or by a full queue of {}",
                self.vip.interface
            ),
            _ => log::warn!("vip {vip}: {what} for {address} not sent: {error:#}"),
        }
    }
}

/// Returns the interface's own link-local IPv6 address.
fn link_local(interface: u32, netlink: &mut Netlink) -> Option<Ipv6Addr> {
    let addresses = netlink.addresses(interface).ok()?;
    addresses.iter().find_map(|prefix| match prefix.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    })
}

/// Opens all of `vips`.
pub(super) fn open(vips: &[Vip], netlink: &mut Netlink) -> Result<IndexVec<VipIndex, Held>> {
    let ours: Vec<IpAddr> = vips.iter().map(|vip| vip.address.address).collect();
    let held =
        |vip: &Vip| Held::new(vip, &ours, netlink).with_context(|| format!("vip {}", vip.name));
    vips.iter().map(held).collect()
}

/// Returns all addresses that may be served here.
pub(super) fn addresses(held: &[Held]) -> Vec<IpAddr> {
    held.iter().map(|held| held.vip.address.address).collect()
}
