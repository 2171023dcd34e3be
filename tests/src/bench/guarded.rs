//! The far node's guard: two cables whose far ends have a guarded address, and a third one without
//! a program.
//!
//! The first of the two is like an interface of a service and has only the guard. The second is a
//! link as well, so its responder guards incoming packets. Heartbeats use neither.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context as _, Result};
use aya::maps::Array;
use heartbeat_common::{
    index::VipIndex,
    maps::{Address, GuardRow},
    time::Boottime,
    wire::{GroupId, LinkId},
};
use heartbeat_user::dataplane::{Dataplane, GuardView, Setup, SetupGuard};

use super::{
    local,
    pair::{FAR, PREFIX_LEN, join, setup},
};
use crate::{netns::Namespace, workdir::WorkDir};

const INTERFACE: &str = "vip0";
pub(super) const NEAR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 79, 0, 1));
pub(super) const FAR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 79, 0, 2));
pub(super) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 79, 0, 100));

const LINK_INTERFACE: &str = "hb1";
pub(super) const LINK_NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 80, 0, 1));
pub(super) const LINK_FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 80, 0, 2));
pub(super) const LINK_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 80, 0, 100));

const BARE_INTERFACE: &str = "bare0";
pub(super) const BARE_NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 81, 0, 1));
pub(super) const BARE_FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 81, 0, 2));

const GUARDED: [(IpAddr, &str); 2] = [(VIP, INTERFACE), (LINK_VIP, LINK_INTERFACE)];

/// The relation of a packet to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// No relation, because no address is guarded.
    NoVip,
    /// To or from another address than the guarded one.
    Other,
    /// To or from the guarded address, which is open.
    Vip,
}

/// The programs and maps of the guard.
pub(super) struct Guarded {
    pub(super) plane: Dataplane,
    guard: GuardView,
    present: bool,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl Guarded {
    /// Joins the nodes and guards the far ends. All is open.
    pub(super) fn new(near: &Namespace, far: &Namespace, dir: &WorkDir) -> Result<Self> {
        join(near, far, INTERFACE, NEAR_ADDRESS, FAR_ADDRESS)?;
        join(near, far, LINK_INTERFACE, LINK_NEAR, LINK_FAR)?;
        join(near, far, BARE_INTERFACE, BARE_NEAR, BARE_FAR)?;
        for (address, interface) in GUARDED {
            far.add_address(interface, address, PREFIX_LEN)?;
        }
        let guards = GUARDED.iter().enumerate();
        let guards = guards.map(|(index, (address, interface))| SetupGuard {
            group: GroupId(index as u16),
            address: heartbeat_common::prefix::ServedAddress {
                address: *address,
                len: Some(PREFIX_LEN),
            },
            interface: (*interface).to_owned(),
        });
        let setup = Setup {
            guards: guards.collect(),
            ..setup(
                dir.instance("guard"),
                (FAR, LINK_FAR),
                (LinkId(0), LINK_INTERFACE),
                None,
            )
        };
        let plane = far.enter(|| Dataplane::load(setup, |_, _| Ok(())))?;
        // A packet that the guard at the sockets drops never reaches the guard on the wire, so each
        // of them is measured alone.
        for (name, _) in local::PROGRAMS {
            fs::remove_file(plane.pins().path(&format!("link_{name}")))
                .with_context(|| format!("{name} is not attached: see the log"))?;
        }
        let guard = plane.guard()?;
        let guarded = Self {
            guard,
            plane,
            present: true,
        };
        guarded.open(true);
        Ok(guarded)
    }

    /// Lets traffic of the guarded addresses pass, or none.
    pub(super) fn open(&self, open: bool) {
        let until = Boottime::from_nanos(if open { u64::MAX } else { 0 });
        for vip in (0..GUARDED.len()).map(VipIndex) {
            self.guard.open(vip, until);
        }
    }

    /// Makes the programs find guarded addresses, or none at all.
    pub(super) fn set_present(&mut self, present: bool) -> Result<()> {
        if present == self.present {
            return Ok(());
        }
        // The programs take an empty address in the first row for an empty map.
        let address = if present {
            VIP.into()
        } else {
            Address::default()
        };
        let now = self
            .guard
            .row(VipIndex(0))
            .context("the first VIP has no row")?;
        let row = GuardRow { address, ..now };
        let map = self.plane.ebpf_mut().map_mut("guard");
        let mut rows: Array<_, GuardRow> = map.context("there is no map `guard`")?.try_into()?;
        rows.set(0, row, 0)?;
        self.present = present;
        Ok(())
    }

    /// Packets that the guard has dropped.
    pub(super) fn dropped(&self) -> u64 {
        let rows = (0..GUARDED.len()).filter_map(|vip| self.guard.row(VipIndex(vip)));
        rows.map(|row| row.dropped_in + row.dropped_out).sum()
    }
}
