//! The slots of this node's own acceptor that one group needs.

use heartbeat_common::{
    lease::Slot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use super::{Group, Serving, address_claim::AddressClaim};
use crate::{Timing, observation::Observation};

/// The reasons why the slots of a group may matter in the next step.
#[derive(Clone, Copy)]
pub(crate) struct Interest<'a> {
    pub(crate) now: Boottime,
    pub(crate) timing: &'a Timing,
    pub(crate) local: NodeId,
    /// Whether a snapshot of all groups is due, or of this group because of others.
    pub(crate) is_seen: bool,
    /// Whether this node may contend for the group.
    pub(crate) may_take: bool,
    /// Whether other votes may count from the next step on.
    pub(crate) settles: bool,
}

impl Group {
    /// The leases whose slots the next step needs: the group's own, and those of addresses.
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
        let stopped = self.serving() == Serving::Stopped;
        let contends = stopped && may_take && self.is_about_to_contend(now, timing);
        let outdated = || {
            !self
                .acceptor
                .knows_other_owner(local, now.after(timing.interval))
        };
        let own = stopped && (is_seen || self.acceptor.freed || contends && outdated());
        let all = self.acceptor.lacks_slots
            || contends && (self.acceptor.freed || !self.acceptor.knows_other_owner(local, now));
        let holding = self.claim.proposer.is_holding();
        let wanted = move |claim: &&AddressClaim| {
            all || holding && (settles || claim.proposer.lease_end() <= now)
        };
        let own = (own || self.acceptor.lacks_slots).then_some(self.plan.id);
        let addresses = self.addresses.iter().filter(wanted);
        own.into_iter().chain(addresses.map(|claim| claim.id))
    }

    /// Whether the last step lacked a slot.
    pub(crate) fn lacks_slots(&self) -> bool {
        self.acceptor.lacks_slots
    }

    /// Begins a step, for which slots were read.
    pub(crate) fn begin_step(&mut self) {
        self.acceptor.lacks_slots = false;
    }

    /// The slot of the group's own lease. A slot that was not read is named for the next step.
    pub(super) fn slot(&mut self, observation: &Observation<'_>) -> Option<Slot> {
        let slot = observation.slot(self.plan.id);
        self.acceptor.lacks_slots |= slot.is_none();
        slot
    }

    /// Whether the group has no request, or is about to give up its request.
    fn is_about_to_contend(&self, now: Boottime, timing: &Timing) -> bool {
        let patient = now.since(self.claim.asked_at) <= timing.lease;
        self.claim.proposer.is_idle()
            || self.acceptor.freed
            || self.claim.proposer.is_releasing() && !patient
    }
}
