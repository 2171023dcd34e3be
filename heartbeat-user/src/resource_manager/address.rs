//! The addresses of this node's groups: adds, announces, watches and removes them.
//!
//! Whose they are is decided elsewhere, and the guard of the kernel drops their traffic where they
//! are nobody's.

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

/// How long to wait before an address that could not be removed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long it is not told again that the same host claims an address, and that another does.
const SAME: Duration = Duration::from_secs(600);
const OTHER: Duration = Duration::from_secs(1);

/// One address on this node.
pub(super) struct Held {
    pub(super) vip: Vip,
    /// `None` while there is no interface of that name.
    place: Option<Place>,
    /// The address with its prefix length, once that is known: one that the configuration leaves out
    /// is that of the interface's own network, or was when the interface last had such a network.
    prefix: Option<Prefix>,
    wanted: bool,
    /// It could not be added, because its interface or the network there was missing.
    lacked: bool,
    on_interface: bool,
    burst: Option<Burst>,
    defence: Defence,
    /// Who claimed it when that was told last.
    told: Option<([u8; 6], Boottime)>,
    /// When to ask who else has it.
    ask_at: Option<Boottime>,
    retry_at: Option<Boottime>,
    /// Somebody else removes it, or adds it without its lease: how fast that is undone, and when
    /// next.
    pub(super) backoff: Backoff,
    pub(super) restore_at: Option<Boottime>,
    /// Why it could not leave a former interface, as it was told last.
    complaint: Option<String>,
}

/// What became of an address that is to be on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    There,
    /// Somebody had removed it, and it is there again: so often in a row, if that is to be told.
    PutBack(Option<u32>),
    /// The same, and it goes back later.
    Later,
    /// There is no interface for it.
    NoPlace,
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
    /// `ours` names the addresses that are no node's own.
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
            told: None,
            ask_at: None,
            retry_at: None,
            backoff: Backoff::default(),
            restore_at: None,
            complaint: None,
        };
        held.measure(ours, netlink);
        let there = held.is_there(netlink)?;
        Ok(Self {
            on_interface: there,
            ..held
        })
    }

    /// Whether it is on its interface, as a monitor says it.
    pub(super) fn observe(&self, netlink: &mut Netlink) -> Result<Outcome, String> {
        match self.is_there(netlink) {
            Ok(true) => Ok(Outcome::OK),
            Ok(false) => Ok(Outcome::NOT_RUNNING),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// The same; if it is, an earlier run of this node added it and it is still served: it is
    /// announced anew.
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

    /// Adds and announces it. `ours` names the addresses that are no node's own.
    pub(super) fn add(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> Result<Added> {
        self.wanted = true;
        self.retry_at = None;
        self.measure(ours, netlink);
        self.put(netlink)?;
        let address = clock::now();
        self.on_interface = true;
        self.announce_anew(address);
        let announced = clock::now();
        Ok(Added { address, announced })
    }

    /// Looks whether it is there, as it should be, and puts it back where somebody removed it.
    /// `ours` names the addresses that are no node's own.
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
                    "vip {}: {prefix} stands behind {}'s own address again",
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
        self.measure(ours, netlink);
        self.put(netlink)?;
        self.on_interface = true;
        self.announce_anew(clock::now());
        Ok(Settled::PutBack(self.backoff.done(now)))
    }

    /// Whether it should be on its interface.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a removal failed that is to be tried again.
    pub(super) fn is_stuck(&self) -> bool {
        self.retry_at.is_some()
    }

    /// The index of the interface that it belongs onto.
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
                "{} has no prefix length, and {} has no network that holds it: it is added when one \
                 appears; give the node an address of that network, or write the length",
                self.vip.address, self.vip.interface
            )
        })?;
        // If it is there already, that is as good.
        match netlink.add_address(place.index, prefix) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Err(error.into()),
            result => {
                self.lacked = false;
                Ok(result.map(drop)?)
            }
        }
    }

    /// Whether it could not be added for want of its interface, or of a network there.
    pub(super) fn lacked(&self) -> bool {
        self.lacked
    }

    /// Whether what it [`lacked`](Held::lacked) is there by now, which holds once.
    pub(super) fn lacks_no_more(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> bool {
        if !self.lacked || self.place.is_none() {
            return false;
        }
        self.measure(ours, netlink);
        self.lacked = self.prefix.is_none();
        !self.lacked
    }

    /// Finds the prefix length by the networks that the interface has now. Where it has none that
    /// holds the address, what was known goes on to count: a node may lose its own address, and the
    /// served one with it, which is put back at once.
    fn measure(&mut self, ours: &[IpAddr], netlink: &mut Netlink) {
        let present = match &self.place {
            // What is written needs no interface.
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

    /// Goes on with the interface that has the name now, and puts the address there if it is
    /// served. Its guard must be there already.
    pub(super) fn follow(&mut self, ours: &[IpAddr], netlink: &mut Netlink) -> Result<()> {
        self.place = Place::find(&self.vip.interface, netlink)?;
        self.measure(ours, netlink);
        self.complaint = None;
        // It may have come back to the former one meanwhile, which has no guard any more.
        self.take_away(self.interface(), netlink)?;
        self.lacked = false;
        self.reassert(netlink);
        Ok(())
    }

    /// Takes it from all interfaces but the one with the index `arrived`, which has the name now:
    /// the guard of the former one is about to leave. Nothing is put anywhere before
    /// [`Held::follow`].
    pub(super) fn vacate(&mut self, arrived: u32, netlink: &mut Netlink) {
        self.place = None;
        self.hush();
        let Err(error) = self.take_away(Some(arrived), netlink) else {
            return;
        };
        let (name, address, interface) = (&self.vip.name, self.vip.address, &self.vip.interface);
        let complaint = format!(
            "vip {name}: another interface is called {interface} now, and {address} could not be removed \
             from the former one, whose guard stays: {error:#}"
        );
        if self.complaint.as_ref() != Some(&complaint) {
            log::error!("{complaint}");
            self.complaint = Some(complaint);
        }
    }

    /// Removes it, wherever it is. On failure it is to be tried again at [`Held::due_at`].
    ///
    /// Returns whether it was there.
    pub(super) fn remove(&mut self, netlink: &mut Netlink) -> Result<bool> {
        self.wanted = false;
        self.hush();
        self.retry_at = Some(clock::now().after(RETRY));
        // Also if it should not be there: an addition that failed may have come through.
        let removed = self.take_away(None, netlink)?;
        self.retry_at = None;
        Ok(std::mem::take(&mut self.on_interface) || removed)
    }

    /// Takes it from all interfaces but `spared`: the interface that had it may be called otherwise
    /// now, and somebody may have put it onto another.
    fn take_away(&self, spared: Option<u32>, netlink: &mut Netlink) -> Result<bool> {
        let address = self.vip.address.address;
        let own = self.interface().filter(|index| spared != Some(*index));
        let removed = match own.map(|index| netlink.remove_address(index, address)) {
            // The address went with its interface.
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

    /// Ends the announcements: its guard is closed, and lets none out.
    pub(super) fn hush(&mut self) {
        self.burst = None;
        self.ask_at = None;
        self.restore_at = None;
        self.defence.end();
        self.told = None;
    }

    /// Begins the announcements anew, as after a takeover, if it is held. An IPv6 address may have
    /// gone when its interface was set down.
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

    /// Somebody else says that it is theirs. `None`: that is nothing to defend it against. Else
    /// whether it is to be told, since it is the first for a while.
    ///
    /// Some routers answer for all addresses of a network (local proxy ARP): they are told of
    /// seldom.
    pub(super) fn claimed(&mut self, claim: &Claim, netlink: &mut Netlink) -> Option<bool> {
        let served = self.wanted && self.on_interface && self.burst.is_some();
        if !served || self.interface() != Some(claim.interface) {
            return None;
        }
        // Another interface of this node, on the same network.
        let own = netlink.interfaces().ok()?;
        if own.iter().any(|interface| interface.mac == claim.mac) {
            return None;
        }
        let now = clock::now();
        self.defence.claimed(now);
        let again = self.told.is_some_and(|(mac, at)| {
            let pause = if mac == claim.mac { SAME } else { OTHER };
            now.since(at) < pause
        });
        if !again {
            self.told = Some((claim.mac, now));
        }
        Some(!again)
    }

    /// Begins the announcements anew if it is there. Nothing is put back.
    pub(super) fn recall(&mut self, netlink: &mut Netlink) {
        if self.wanted && self.observe(netlink) == Ok(Outcome::OK) {
            self.burst = Some(Burst::new(clock::now()));
        }
    }

    /// When it needs something done without being told.
    pub(super) fn due_at(&self) -> Option<Boottime> {
        let others = [self.ask_at, self.retry_at, self.restore_at];
        let burst = self.burst.as_ref().map(Burst::due_at);
        let due = others.into_iter().chain([burst, self.defence.due_at()]);
        due.flatten().min()
    }

    /// Whether it is time to undo what somebody did to it.
    pub(super) fn must_restore(&self, now: Boottime) -> bool {
        self.restore_at.is_some_and(|at| at <= now)
    }

    /// Whether it is to be removed, and could not be.
    pub(super) fn must_retry(&self, now: Boottime) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Announces it if that is due, and asks who else has it.
    pub(super) fn poll(&mut self, now: Boottime, netlink: &mut Netlink) {
        if let Some(burst) = self.burst.as_mut().filter(|burst| burst.due_at() <= now) {
            burst.poll(now);
            self.ask_at = burst.asks().then_some(now).or(self.ask_at);
            self.announce();
        }
        if self.defence.poll(now) {
            self.announce();
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
            self.ask(netlink);
        }
    }

    /// Begins the announcements with the first.
    fn announce_anew(&mut self, now: Boottime) {
        let mut burst = Burst::new(now);
        burst.poll(now);
        self.burst = Some(burst);
        self.announce();
        // Later: nothing waits for the answer.
        self.ask_at = Some(now);
    }

    /// Asks who else has it. Nothing depends on an answer, so it is no matter if that fails.
    fn ask(&self, netlink: &mut Netlink) {
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
                "vip {vip}: {what} for {address} dropped: by the guard, since this node no longer holds \
                 the lease, or by a full queue of {}",
                self.vip.interface
            ),
            _ => log::warn!("vip {vip}: {what} for {address} not sent: {error:#}"),
        }
    }
}

/// The interface's own IPv6 address on its link.
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
