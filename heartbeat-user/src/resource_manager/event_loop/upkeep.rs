//! Keeps the addresses in place against changes by other programs and hosts: adds removed addresses
//! again, removes addresses that were added without a lease, and answers claims to addresses that
//! are served here.
//!
//! An address is only ever added for a group that this node serves. Groups in maintenance mode are
//! not touched.

use heartbeat_core::{index::VipIndex, resource::Outcome};

use super::EventLoop;
use crate::{
    clock,
    control::protocol::VipEvent,
    messages::{ResourceEvent, ResourceRef},
    net::{Changes, Claim},
    resource_manager::address::{Held, Settled, addresses},
};

/// From this loss in a row on, the removal is taken as deliberate.
const AGAIN_AND_AGAIN: u32 = 3;

/// The required place of a group's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// The address is served and should be on its interface.
    Required,
    /// The address should be on no interface.
    Forbidden,
    /// The address is being started or stopped, or is in maintenance mode.
    Undecided,
}

impl<R: FnMut(ResourceEvent)> EventLoop<R> {
    /// Checks the addresses that a change on interfaces may affect.
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
                self.retry_supplied(vip);
            }
            if appeared {
                self.remove_stray(vip);
            }
        }
    }

    /// Repeats the start of an address that failed for lack of a network, once the network is
    /// present.
    fn retry_supplied(&mut self, vip: VipIndex) {
        let ours = addresses(&self.held);
        if !self.held[vip].lacks_no_more(&ours, &mut self.netlink) {
            return;
        }
        if let Some(ResourceRef { group, resource }) = self.resource_of(vip) {
            // The missing network was the only cause of the failure.
            let (now, resource) = (clock::now(), Some(resource));
            self.drive(group, |engine, out| engine.cleanup(resource, now, out));
        }
    }

    fn presence(&self, vip: VipIndex) -> Presence {
        let Some(ResourceRef { group, .. }) = self.resource_of(vip) else {
            return Presence::Undecided;
        };
        let run = &self.groups[group];
        let settled = run.engine.is_some() && run.next.is_none();
        let settled = settled && !run.maintained && !run.removed;
        match (run.wanted, self.held[vip].is_wanted()) {
            (true, true) if settled => Presence::Required,
            (false, false) if settled && !run.stop_owed && !self.held[vip].is_stuck() => {
                Presence::Forbidden
            }
            _ => Presence::Undecided,
        }
    }

    /// Adds a served address again if it is missing. A failure does not fail the resource: that is
    /// left to its monitor.
    pub(super) fn settle(&mut self, vip: VipIndex) {
        if self.presence(vip) == Presence::Required
            && let Err(message) = self.try_settle(vip)
        {
            log::warn!("vip {}: {message}", self.held[vip].vip.name);
        }
    }

    fn try_settle(&mut self, vip: VipIndex) -> Result<Settled, String> {
        let ours = addresses(&self.held);
        let now = clock::now();
        let settled = self.held[vip].settle(now, &ours, &mut self.netlink);
        let settled = settled.map_err(|error| format!("could not be added again: {error:#}"))?;
        if let Settled::PutBack(Some(times)) = settled {
            let message = self.put_back_message(vip, times);
            self.report_vip(vip, VipEvent::PutBack { times, message });
        }
        Ok(settled)
    }

    fn put_back_message(&self, vip: VipIndex, times: u32) -> String {
        let vip = &self.held[vip].vip;
        let (address, interface) = (vip.address, &vip.interface);
        let once = format!(
            "another process had removed {address} from {interface}: the agent added it again and \
             announced it"
        );
        if times < AGAIN_AND_AGAIN {
            return once;
        }
        format!(
            "{once}, {times} times in a row. See who manages {interface} (systemd-networkd: \
             `KeepConfiguration=yes` and `ManageForeignRoutes=no`; NetworkManager: `nmcli device`; \
             another cluster manager, such as Pacemaker or keepalived; a script)"
        )
    }

    /// Monitors an address that should be served.
    pub(super) fn monitor(&mut self, vip: VipIndex) -> Result<Outcome, String> {
        let outcome = self.held[vip].observe(&mut self.netlink)?;
        if outcome == Outcome::OK || self.presence(vip) != Presence::Required {
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
    pub(super) fn remove_stray(&mut self, vip: VipIndex) {
        if self.presence(vip) != Presence::Forbidden {
            return;
        }
        let now = clock::now();
        let held = &mut self.held[vip];
        let due = held.backoff.due(now);
        if due > now {
            // The guard is closed meanwhile.
            held.restore_at = Some(due);
            return;
        }
        let address = held.vip.address.address;
        let message = match self.netlink.remove_from_all(address, None) {
            Ok(removed) if removed.is_empty() => return,
            Ok(removed) => format!(
                "{address} was on {} without the lease of its group: removed; another program here \
                 adds it beside heartbeat (netplan, NetworkManager, a script): take it out there",
                removed.join(", ")
            ),
            Err(error) => format!("{address} is here without the lease of its group: {error:#}"),
        };
        if held.backoff.done(now).is_some() {
            self.report_vip(vip, VipEvent::Stray { message });
        }
    }

    /// Removes the addresses from the former interface, after another one has got the name
    /// `interface`.
    pub(super) fn vacate(&mut self, interface: &str, arrived: u32) {
        for vip in self.held.indices() {
            if self.held[vip].vip.interface != interface {
                continue;
            }
            self.held[vip].vacate(arrived, &mut self.netlink);
        }
    }

    /// Answers another host's claim to an address: announces it again, and reports the claim to the
    /// operator.
    pub(super) fn claimed(&mut self, claim: &Claim) {
        let is_it = |held: &Held| held.vip.address.address == claim.address;
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
                "{} is claimed by another host, {mac} on {}, while this node holds its lease: \
                 announced again, and so each time; find that host, and take the address from it \
                 (a former owner that was paused or migrated does this once)",
                held.vip.address, held.vip.interface
            );
            self.report_vip(vip, VipEvent::Claimed { mac, message });
        }
        self.do_what_is_due();
    }
}
