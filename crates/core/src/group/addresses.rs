//! The leases of a group's addresses: each address has one of its own, beside the group's.
//!
//! Two nodes may have one address in groups of different names, while a changed configuration is on
//! its way to all of them. The groups' leases then do not exclude each other, but the leases of the
//! address do. Traffic of an address may therefore pass only while both leases are held. A node
//! requests an address only after a majority has promised it the group, so that two candidates for
//! one group never share its leases.

use heartbeat_common::{
    time::Boottime,
    wire::{GroupId, LeaseEntry},
};

use super::{Group, GroupContext, Serving, address_claim::AddressClaim};
use crate::{
    Timing,
    index::{AcceptorIndex, AddressIndex},
    proposer::Proposer,
};

/// The aim of the claims to the addresses.
enum Aim {
    Hold,
    GiveBack,
    /// A resource may still run: the leases run out, as the group's does.
    Abandon,
}

/// One claim for each of `ids`: an old claim if `old` has it, otherwise a copy of `idle`.
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
    /// The time until which traffic of the address with this index in
    /// [`super::GroupPlan::addresses`] may pass: the start of the clock if it may not.
    pub fn address_open_until(&self, index: AddressIndex) -> Boottime {
        let Some(claim) = self.addresses.get(index.0) else {
            return self.open_until();
        };
        match self.serving() {
            Serving::Started => {
                let own = self.claim.proposer.lease_end();
                let both = claim.proposer.lease_end().min(own);
                both.max(claim.inherited_until)
            }
            Serving::Stopped | Serving::Stopping => Boottime::default(),
        }
    }

    /// The time until which this node holds the group and all of its addresses.
    pub fn lease_end(&self) -> Boottime {
        let ends = self.addresses.iter();
        let ends = ends.map(|claim| claim.proposer.lease_end());
        ends.fold(self.claim.proposer.lease_end(), Boottime::min)
    }

    /// The time until which all of the group is served: the start of the clock if a part of it is
    /// not.
    pub fn served_until(&self) -> Boottime {
        let ends =
            (0..self.addresses.len()).map(|index| self.address_open_until(AddressIndex(index)));
        ends.fold(self.open_until(), Boottime::min)
    }

    /// Whether the group is neither served nor requested here.
    pub fn is_idle(&self) -> bool {
        self.serving() == Serving::Stopped && self.proposers().all(Proposer::is_idle)
    }

    /// Records which addresses are open. Returns whether a closed address is open again, so that
    /// another node may have announced it meanwhile.
    pub(super) fn reopens_an_address(&mut self, now: Boottime) -> bool {
        let mut reopens = false;
        for index in 0..self.addresses.len() {
            let open = self.address_open_until(AddressIndex(index)) > now;
            reopens |= self.addresses[index].reopens(open, now);
        }
        reopens
    }

    /// All claims, the group's own first.
    pub(crate) fn proposers(&self) -> impl Iterator<Item = &Proposer> {
        let addresses = self.addresses.iter().map(|claim| &claim.proposer);
        std::iter::once(&self.claim.proposer).chain(addresses)
    }

    pub(super) fn proposers_mut(&mut self) -> impl Iterator<Item = &mut Proposer> {
        let addresses = self.addresses.iter_mut().map(|claim| &mut claim.proposer);
        std::iter::once(&mut self.claim.proposer).chain(addresses)
    }

    /// The requests that every probe carries.
    pub(crate) fn requests(&self) -> impl Iterator<Item = LeaseEntry> {
        let own = (self.plan.id, &self.claim.proposer);
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
        acceptor: AcceptorIndex,
        vote: &LeaseEntry,
        left: Boottime,
        now: Boottime,
        timing: &Timing,
    ) {
        let Some(claim) = self.address_mut(GroupId(vote.group)) else {
            return;
        };
        let preparing = claim.proposer.is_preparing();
        if let Some(obstacle) = claim.proposer.count(acceptor, vote, left) {
            claim.meet(obstacle, now, timing);
        }
        if preparing && claim.proposer.is_holding() {
            claim.begin_step(now);
            // One round serves all of them.
            let mut others = self.addresses.iter();
            self.claim.urgent |= others.all(|claim| !claim.proposer.is_preparing());
        }
    }

    /// The time until which another node owns one of the addresses, as far as this node's own
    /// acceptor knows, if a node does. `None` if a slot was not read.
    pub(super) fn address_taken_until(
        &mut self,
        context: &GroupContext<'_>,
    ) -> Option<Option<Boottime>> {
        let mut until = None;
        for claim in &mut self.addresses {
            let Some(slot) = context.observation.slot(claim.id) else {
                self.acceptor.lacks_slots = true;
                return None;
            };
            claim.learn(slot);
            let owner = slot.live_owner(context.now);
            if owner.is_some_and(|owner| owner != context.view.local) {
                until = until.max(Some(Boottime::from_nanos(slot.expires)));
            }
        }
        Some(until)
    }

    /// Makes the claims to the addresses follow the group's claim.
    pub(super) fn update_addresses(&mut self, context: &GroupContext<'_>) {
        let GroupContext { now, timing, .. } = *context;
        let aim = match self.serving() {
            _ if self.claim.proposer.is_holding() => Aim::Hold,
            Serving::Stopped => Aim::GiveBack,
            Serving::Started | Serving::Stopping => Aim::Abandon,
        };
        let stays = self.serving() != Serving::Stopping;
        for claim in &mut self.addresses {
            match aim {
                Aim::Hold if stays => {
                    let pursued = claim.pursue(context);
                    self.acceptor.lacks_slots |= pursued.is_none();
                    self.claim.urgent |= pursued.unwrap_or_default();
                    self.next_check = self.next_check.into_iter().chain(claim.next_check()).min();
                }
                Aim::Hold => {}
                Aim::GiveBack => claim.give_back(self.departure.successor, now, timing),
                Aim::Abandon => claim.abandon(),
            }
        }
    }
}
