//! Keeps the addresses where they belong, whatever others do to them: puts back what somebody
//! removed, removes what somebody added without its lease, and answers who claims one that is
//! served here.
//!
//! It never puts an address anywhere but for a group that this node serves, and leaves groups in
//! maintenance alone.

use heartbeat_core::{index::VipIndex, resource::Outcome};

use super::{Body, address::Settled, addresses};
use crate::{
    clock,
    control::protocol::VipEvent,
    messages::{Part, ResourceEvent},
    net::{Changes, Claim},
};

/// From this loss in a row on it is no accident.
const AGAIN_AND_AGAIN: u32 = 3;

/// How a group's address is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// It is served: it belongs onto its interface.
    Served,
    /// It belongs nowhere.
    None,
    /// It is being started or stopped, or left alone.
    Undecided,
}

impl<R: FnMut(ResourceEvent)> Body<R> {
    /// Addresses came and went: looks at those that this may concern.
    pub(super) fn changed(&mut self, changes: &Changes) {
        for vip in self.held.indices() {
            let held = &self.held[vip];
            let (address, place) = (held.vip.address.address, held.interface());
            let mut list = changes.list.iter();
            let concerned = changes.lost
                || list.any(|change| {
                    change.address == address || Some(change.interface) == place && !change.gone
                });
            let mut list = changes.list.iter();
            let appeared =
                changes.lost || list.any(|change| change.address == address && !change.gone);
            if concerned {
                self.settle(vip);
                self.supplied(vip);
            }
            if appeared {
                self.expel(vip);
            }
        }
    }

    /// Has an address tried again whose start failed for want of a network that is there by now.
    fn supplied(&mut self, vip: VipIndex) {
        let ours = addresses(&self.held);
        if !self.held[vip].lacks_no_more(&ours, &mut self.netlink) {
            return;
        }
        if let Some(Part { group, resource }) = self.part_of(vip) {
            // It failed for want of that, and for nothing else.
            let (now, resource) = (clock::now(), Some(resource));
            self.drive(group, |engine, out| engine.cleanup(resource, now, out));
        }
    }

    fn right(&self, vip: VipIndex) -> Right {
        let Some(Part { group, .. }) = self.part_of(vip) else {
            return Right::Undecided;
        };
        let run = &self.groups[group];
        let settled = run.engine.is_some() && run.next.is_none();
        let settled = settled && !run.maintained && !run.removed;
        match (run.wanted, self.held[vip].is_wanted()) {
            (true, true) if settled => Right::Served,
            (false, false) if settled && !run.stop_owed && !self.held[vip].is_stuck() => {
                Right::None
            }
            _ => Right::Undecided,
        }
    }

    /// Puts an address back that is served here and not there. No failure of the resource: that is
    /// for what its monitor finds.
    pub(super) fn settle(&mut self, vip: VipIndex) {
        if self.right(vip) == Right::Served
            && let Err(message) = self.try_settle(vip)
        {
            log::warn!("vip {}: {message}", self.held[vip].vip.name);
        }
    }

    fn try_settle(&mut self, vip: VipIndex) -> Result<Settled, String> {
        let ours = addresses(&self.held);
        let now = clock::now();
        let settled = self.held[vip].settle(now, &ours, &mut self.netlink);
        let settled = settled.map_err(|error| format!("could not be put back: {error:#}"))?;
        if let Settled::PutBack(Some(times)) = settled {
            let message = self.lost_words(vip, times);
            self.tell(vip, VipEvent::PutBack { times, message });
        }
        Ok(settled)
    }

    fn lost_words(&self, vip: VipIndex, times: u32) -> String {
        let vip = &self.held[vip].vip;
        let (address, interface) = (vip.address, &vip.interface);
        let once = format!(
            "somebody had removed {address} from {interface}: it was put back and announced"
        );
        if times < AGAIN_AND_AGAIN {
            return once;
        }
        format!(
            "{once}, {times} times in a row. See who manages {interface} (systemd-networkd: \
             `KeepConfiguration=yes` and `ManageForeignRoutes=no`; NetworkManager: `nmcli device`; another \
             cluster manager, such as Pacemaker or keepalived; a script)"
        )
    }

    /// A monitor looks at an address that is to be served.
    pub(super) fn monitor(&mut self, vip: VipIndex) -> Result<Outcome, String> {
        let outcome = self.held[vip].observe(&mut self.netlink)?;
        if outcome == Outcome::OK || self.right(vip) != Right::Served {
            return Ok(outcome);
        }
        match self.try_settle(vip) {
            Ok(Settled::There | Settled::PutBack(_) | Settled::Later) => Ok(Outcome::OK),
            Ok(Settled::NoPlace) => Ok(outcome),
            Err(message) => {
                log::warn!("vip {}: {message}", self.held[vip].vip.name);
                Ok(outcome)
            }
        }
    }

    /// Removes an address that is on this node without its lease.
    pub(super) fn expel(&mut self, vip: VipIndex) {
        if self.right(vip) != Right::None {
            return;
        }
        let now = clock::now();
        let held = &mut self.held[vip];
        let due = held.backoff.due(now);
        if due > now {
            // Its guard is closed meanwhile.
            held.restore_at = Some(due);
            return;
        }
        let address = held.vip.address.address;
        let message = match self.netlink.remove_from_all(address, None) {
            Ok(removed) if removed.is_empty() => return,
            Ok(removed) => format!(
                "{address} was on {} without the lease of its group: removed; somebody here adds it \
                 beside heartbeat (netplan, NetworkManager, a script): take it out there",
                removed.join(", ")
            ),
            Err(error) => format!("{address} is here without the lease of its group: {error:#}"),
        };
        if held.backoff.done(now).is_some() {
            self.tell(vip, VipEvent::Stray { message });
        }
    }

    /// Another interface is called `interface` now: takes its addresses off the former one.
    pub(super) fn vacate(&mut self, interface: &str, arrived: u32) {
        for vip in self.held.indices() {
            if self.held[vip].vip.interface != interface {
                continue;
            }
            self.held[vip].vacate(arrived, &mut self.netlink);
        }
    }

    /// Another host says that an address is its own: tells the neighbours better, and the operator.
    pub(super) fn claimed(&mut self, claim: &Claim) {
        let is_it = |held: &super::address::Held| held.vip.address.address == claim.address;
        let Some(vip) = self.held.position(is_it) else {
            return;
        };
        let held = &mut self.held[vip];
        let Some(first) = held.claimed(claim, &mut self.netlink) else {
            return;
        };
        if first {
            let mac = claim.mac.map(|byte| format!("{byte:02x}")).join(":");
            let message = format!(
                "{} is claimed by another host, {mac} on {}, \
                 while this node holds its lease: announced again, and so each time; find that host, and \
                 take the address from it (a former owner that was paused or migrated does this once)",
                held.vip.address, held.vip.interface
            );
            self.tell(vip, VipEvent::Claimed { mac, message });
        }
        self.do_what_is_due();
    }
}
