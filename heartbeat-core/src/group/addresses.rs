//! The leases of a group's addresses: each address has one of its own, beside the group's.
//!
//! Two nodes may know one address by groups of different names, while a changed configuration is on its
//! way to all of them. The groups' leases do not exclude each other, then; those of the address do. So
//! traffic of an address may pass only while both leases are held. A node asks for an address only once a
//! majority has promised it the group, so that two candidates for one group never share its leases.

use heartbeat_common::{
    lease::{Ballot, Slot},
    time::Boottime,
    wire::{GroupId, LeaseEntry},
};

use super::{Group, Outlook, Serving, UNHEARD_PAUSE};
use crate::{
    Timing,
    proposer::{Obstacle, Proposer},
};

/// This node's claim to one address.
#[derive(Clone, Debug)]
pub(super) struct AddressClaim {
    id: GroupId,
    pub(super) proposer: Proposer,
    /// When to ask anew, with a higher ballot, if it is not held by then.
    again_at: Option<Boottime>,
    /// Another node is ahead: what is asked anew can wait for the tick.
    contested: bool,
}

impl AddressClaim {
    fn new(id: GroupId, proposer: Proposer) -> Self {
        Self {
            id,
            proposer,
            again_at: None,
            contested: false,
        }
    }

    /// Takes note of what our own acceptor says.
    fn learn(&mut self, slot: Slot) {
        self.proposer.saw(Ballot(slot.promised));
        if slot.owner == 0 {
            self.proposer.heard_release(Ballot(slot.ballot));
        }
    }

    /// Whether it is to be prepared now.
    fn is_due(&self, now: Boottime) -> bool {
        if self.proposer.lease_end() > now {
            return false;
        }
        let waits = self.proposer.is_idle() || self.proposer.is_releasing();
        self.again_at.map_or(waits, |at| now >= at)
    }
}

/// What becomes of the claims to the addresses.
enum Aim {
    Hold,
    GiveBack,
    /// Something may still run: the leases run out, as the group's does.
    Abandon,
}

/// One claim for each of `ids`: those of `old` that are among them, and others made of `idle`.
pub(super) fn claims(
    ids: &[GroupId],
    mut old: Vec<AddressClaim>,
    idle: &Proposer,
) -> Vec<AddressClaim> {
    let claim = |id: &GroupId| match old.iter().position(|claim| claim.id == *id) {
        Some(at) => old.swap_remove(at),
        None => AddressClaim::new(*id, idle.clone()),
    };
    ids.iter().map(claim).collect()
}

impl Group {
    /// Until when traffic of the address with this index in [`super::GroupPlan::addresses`] may pass: the start of
    /// the clock where it may not.
    pub fn address_open_until(&self, index: usize) -> Boottime {
        let Some(claim) = self.addresses.get(index) else {
            return self.open_until();
        };
        match self.serving {
            Serving::Started => {
                let both = claim.proposer.lease_end().min(self.proposer.lease_end());
                both.max(self.inherited_until)
            }
            Serving::Stopped | Serving::Stopping => Boottime::default(),
        }
    }

    /// Until when this node holds the group and all of its addresses.
    pub fn lease_end(&self) -> Boottime {
        let ends = self.addresses.iter();
        let ends = ends.map(|claim| claim.proposer.lease_end());
        ends.fold(self.proposer.lease_end(), Boottime::min)
    }

    /// All claims, the group's own first.
    pub(crate) fn proposers(&self) -> impl Iterator<Item = &Proposer> {
        let addresses = self.addresses.iter().map(|claim| &claim.proposer);
        std::iter::once(&self.proposer).chain(addresses)
    }

    pub(super) fn proposers_mut(&mut self) -> impl Iterator<Item = &mut Proposer> {
        let addresses = self.addresses.iter_mut().map(|claim| &mut claim.proposer);
        std::iter::once(&mut self.proposer).chain(addresses)
    }

    /// What every probe is to ask.
    pub(crate) fn requests(&self) -> impl Iterator<Item = LeaseEntry> {
        let own = (self.plan.id, &self.proposer);
        let addresses = self
            .addresses
            .iter()
            .map(|claim| (claim.id, &claim.proposer));
        let all = std::iter::once(own).chain(addresses);
        all.filter_map(|(id, proposer)| Some(proposer.ask()?.entry(id)))
    }

    fn address_mut(&mut self, id: GroupId) -> Option<&mut AddressClaim> {
        self.addresses.iter_mut().find(|claim| claim.id == id)
    }

    /// Counts the vote of `acceptor` if it is about one of the group's addresses.
    pub(crate) fn count_address(
        &mut self,
        acceptor: usize,
        vote: &LeaseEntry,
        left: Boottime,
        now: Boottime,
        timing: &Timing,
    ) {
        // As for the group: the longer it takes, the less often.
        let unheard = (now.since(self.asked_at) * 3).max(UNHEARD_PAUSE);
        let Some(claim) = self.address_mut(GroupId(vote.group)) else {
            return;
        };
        let preparing = claim.proposer.is_preparing();
        let pause = match claim.proposer.count(acceptor, vote, left) {
            Some(Obstacle::Lease { remaining, .. }) => Some(remaining),
            Some(Obstacle::Unheard) => Some(unheard.min(timing.interval)),
            Some(Obstacle::Promise { .. }) => {
                claim.contested = true;
                Some(timing.interval)
            }
            Some(Obstacle::Silence) | None => None,
        };
        if let Some(pause) = pause {
            // One acceptor after the other says so, and each tick asks again anyway.
            claim.again_at = claim.again_at.max(Some(now.after(pause)));
        }
        if preparing && claim.proposer.is_holding() {
            claim.again_at = None;
            // One round for all of them.
            let mut others = self.addresses.iter();
            self.urgent |= others.all(|claim| !claim.proposer.is_preparing());
        }
    }

    /// Our own acceptor heard that the lease with this id was released.
    pub(crate) fn freed_address(&mut self, id: GroupId) {
        let claim = self.address_mut(id);
        if let Some(claim) = claim.filter(|claim| claim.proposer.is_preparing()) {
            claim.again_at = Some(Boottime::default());
        }
    }

    /// Until when one of the addresses is another node's, as our own acceptor knows, if it is.
    pub(super) fn address_taken_until(&mut self, outlook: &Outlook<'_>) -> Option<Boottime> {
        let mut until = None;
        for claim in &mut self.addresses {
            let slot = (outlook.slot)(claim.id);
            claim.learn(slot);
            let owner = slot.live_owner(outlook.now);
            if owner.is_some_and(|owner| owner != outlook.local) {
                until = until.max(Some(Boottime::from_nanos(slot.expires)));
            }
        }
        until
    }

    /// Lets the claims to the addresses follow the group's.
    pub(super) fn tend_addresses(&mut self, outlook: &Outlook<'_>) {
        let Outlook { now, timing, .. } = *outlook;
        let aim = match self.serving {
            _ if self.proposer.is_holding() => Aim::Hold,
            Serving::Stopped => Aim::GiveBack,
            Serving::Started | Serving::Stopping => Aim::Abandon,
        };
        let stays = self.serving != Serving::Stopping;
        let patient = now.since(self.asked_at) <= timing.lease;
        for claim in &mut self.addresses {
            if claim.proposer.is_preparing() {
                claim.learn((outlook.slot)(claim.id));
            }
            match aim {
                Aim::Hold if stays && claim.is_due(now) => {
                    let waits = std::mem::take(&mut claim.contested);
                    claim.again_at = None;
                    self.urgent |= claim.proposer.prepare().is_some() && !waits;
                }
                Aim::Hold => {}
                // Goes out with the group's own release, or at the next tick after a claim that failed.
                Aim::GiveBack if claim.proposer.is_holding() => {
                    claim.proposer.release(self.successor);
                }
                Aim::GiveBack if claim.proposer.is_releasing() && patient => {}
                Aim::GiveBack | Aim::Abandon => claim.proposer.abandon(),
            }
            let waits = claim
                .again_at
                .filter(|at| *at > now && claim.proposer.lease_end() <= now);
            let waits =
                waits.filter(|_| claim.proposer.is_preparing() || claim.proposer.is_holding());
            self.look_at = match (self.look_at, waits) {
                (Some(at), Some(again)) => Some(at.min(again)),
                (at, again) => at.or(again),
            };
        }
    }
}
