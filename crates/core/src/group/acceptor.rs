//! A group's lease as this node's own acceptor knows it.

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::NodeId,
};

use super::{Group, GroupContext, GroupEvent, Period, Phase};
use crate::proposer::Obstacle;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acceptor {
    /// The slot as it was read last.
    pub(super) known: Slot,
    /// The acceptor heard of a release which was not looked at yet.
    pub(super) freed: bool,
    /// The ballot of the release that was looked at last: a node that releases says so again and
    /// again.
    noted: Ballot,
    /// Since when, as far as the acceptor knows, no node has had the lease.
    pub(super) free: Option<Period>,
    /// The reason for giving up a claim that was told last in this free period.
    told: Option<Obstacle>,
    /// A slot was not read that the last step would have gone by.
    pub(super) lacks_slots: bool,
}

impl Acceptor {
    /// The node that the lease was released for; node 0 is none.
    pub(super) fn successor(&self) -> NodeId {
        Successor(self.known.successor).node()
    }

    /// Whether a node other than `local` has the lease at `at`, as far as the acceptor said last.
    pub(super) fn knows_other_owner(&self, local: NodeId, at: Boottime) -> bool {
        let owner = self.known.live_owner(at);
        owner.is_some_and(|owner| owner != local)
    }

    /// A node has the lease, or a free period ended in another way.
    pub(super) fn end_free_period(&mut self) {
        (self.free, self.told) = (None, None);
    }

    /// The next claim that is given up is told, whatever was told before.
    pub(super) fn forget_told(&mut self) {
        self.told = None;
    }

    /// Whether a claim that was given up for this reason is to be told.
    fn is_new(&mut self, obstacle: Obstacle) -> bool {
        let told = self.told.replace(obstacle);
        !told.is_some_and(|told| told.is_like(obstacle))
    }
}

impl Group {
    /// Our own acceptor heard that the lease was released.
    pub(crate) fn freed(&mut self) {
        self.acceptor.freed = true;
    }

    /// Takes note of what our own acceptor says.
    pub(super) fn learn(&mut self, slot: Slot) {
        self.claim.proposer.saw(Ballot(slot.promised));
        if slot.owner == 0 {
            self.claim.proposer.heard_release(Ballot(slot.ballot));
        }
        self.acceptor.known = slot;
    }

    /// Another node gave the lease back: what our own acceptor last said is outdated, and so is
    /// what stood in the way of a claim.
    pub(super) fn note_release(&mut self, context: &GroupContext<'_>) {
        let Some(slot) = self.slot(&context.sight) else {
            self.acceptor.freed = true;
            return;
        };
        let ballot = Ballot(slot.ballot);
        if slot.owner == 0 && std::mem::replace(&mut self.acceptor.noted, ballot) == ballot {
            return;
        }
        let known = &self.acceptor.known;
        if (slot.owner, slot.ballot) != (known.owner, known.ballot) {
            self.acceptor.end_free_period();
        }
        self.learn(slot);
        let stood_in_the_way = self.claim.asked_at < self.claim.not_before;
        self.claim.not_before = Boottime::default();
        if !self.claim.proposer.is_preparing() {
            return;
        }
        let successor = self.acceptor.successor();
        if successor != context.view.local && successor.0 != 0 {
            self.claim.proposer.abandon();
            self.enter(Phase::Waiting);
        } else if stood_in_the_way {
            self.claim.ask_at_once(context.now);
        }
    }

    /// Says why a claim was given up to a lease that was released for this node, once for each
    /// reason.
    pub(super) fn tell_of_given_up_claim(&mut self, local: NodeId, out: &mut Vec<GroupEvent>) {
        let released_for_us = self.acceptor.known.owner == 0 && self.acceptor.successor() == local;
        let given_up = self.claim.given_up.take();
        if let Some(obstacle) = given_up.filter(|_| released_for_us)
            && self.acceptor.is_new(obstacle)
        {
            out.push(GroupEvent::ClaimGivenUp(obstacle));
        }
    }
}
