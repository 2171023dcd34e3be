//! Which slots of this node's own acceptor one group goes by.

use heartbeat_common::{
    lease::Slot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use super::{Group, Serving, claim::AddressClaim};
use crate::{Timing, cluster::Heard};

/// Why the slots of a group may matter in the next step.
#[derive(Clone, Copy)]
pub(crate) struct Interest<'a> {
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) local: NodeId,
    /// Whether all groups are looked at, or this one for the sake of others.
    pub(crate) is_seen: bool,
    /// Whether this node may contend for the group.
    pub(crate) may_take: bool,
    /// Whether other votes may count from the next step on.
    pub(crate) settles: bool,
}

impl Group {
    /// The leases whose slots the next step goes by: the group's own, and those of addresses.
    pub(crate) fn slots_to_read(
        &self,
        interest: Interest<'_>,
    ) -> impl Iterator<Item = GroupId> + '_ {
        let Interest {
            now,
            timing,
            local,
            is_seen,
            may_take,
            settles,
        } = interest;
        let stopped = self.serving == Serving::Stopped;
        let contends = stopped && may_take && self.is_about_to_contend(now, timing);
        let outdated = || !self.is_known_to_be_taken(local, now.after(timing.interval));
        let own = stopped && (is_seen || self.freed || contends && outdated());
        let all =
            self.lacks_slots || contends && (self.freed || !self.is_known_to_be_taken(local, now));
        let holding = self.proposer.is_holding();
        let wanted = move |claim: &&AddressClaim| {
            all || holding && (settles || claim.proposer.lease_end() <= now)
        };
        let own = (own || self.lacks_slots).then_some(self.plan.id);
        let addresses = self.addresses.iter().filter(wanted);
        own.into_iter().chain(addresses.map(|claim| claim.id))
    }

    /// Whether the last step found that a slot was missing.
    pub(crate) fn lacks_slots(&self) -> bool {
        self.lacks_slots
    }

    /// Begins a step, for which slots were read.
    pub(crate) fn begin_step(&mut self) {
        self.lacks_slots = false;
    }

    /// The slot of its own lease. A slot that was not read is named for the next step.
    pub(super) fn slot(&mut self, heard: &Heard<'_>) -> Option<Slot> {
        let slot = heard.slot(self.plan.id);
        self.lacks_slots |= slot.is_none();
        slot
    }

    /// Whether another node has it at `at`, as far as our own acceptor said last.
    pub(super) fn is_known_to_be_taken(&self, local: NodeId, at: Boottime) -> bool {
        let owner = self.known.live_owner(at);
        owner.is_some_and(|owner| owner != local)
    }

    /// Whether nothing is asked, or what is asked is about to be given up.
    fn is_about_to_contend(&self, now: Boottime, timing: &Timing) -> bool {
        let patient = now.since(self.asked_at) <= timing.lease;
        self.proposer.is_idle() || self.freed || self.proposer.is_releasing() && !patient
    }
}
