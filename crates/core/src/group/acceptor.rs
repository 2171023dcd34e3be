//! This node's own acceptor, from the view of a group: the state of the group's lease there.

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::NodeId,
};

use super::{Group, GroupContext, GroupEvent, Period, Phase};
use crate::proposer::Obstacle;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acceptor {
    /// The last slot that was read.
    pub(super) known: Slot,
    /// The acceptor received a release that this group has not handled yet.
    pub(super) freed: bool,
    /// The ballot of the last release that was handled. A releasing node repeats its release.
    noted: Ballot,
    /// The time since which no node has had the lease, as far as the acceptor knows.
    pub(super) free: Option<Period>,
    /// The last reported reason for giving up a claim in this free period.
    reported: Option<Obstacle>,
    /// The last step lacked a slot that it needed.
    pub(super) lacks_slots: bool,
}

impl Acceptor {
    /// The node for which the lease was released; node 0 means none.
    pub(super) fn successor(&self) -> NodeId {
        Successor(self.known.successor).node()
    }

    /// Whether a node other than `local` has the lease at `at`, by the last slot.
    pub(super) fn knows_other_owner(&self, local: NodeId, at: Boottime) -> bool {
        let owner = self.known.live_owner(at);
        owner.is_some_and(|owner| owner != local)
    }

    /// Ends the free period: a node has the lease, or the period ended in another way.
    pub(super) fn end_free_period(&mut self) {
        (self.free, self.reported) = (None, None);
    }

    /// Makes the next reason for giving up a claim count as new.
    pub(super) fn forget_reported(&mut self) {
        self.reported = None;
    }

    /// Whether this reason for giving up a claim is new, and must be reported.
    fn is_new(&mut self, obstacle: Obstacle) -> bool {
        let reported = self.reported.replace(obstacle);
        !reported.is_some_and(|reported| reported.is_like(obstacle))
    }
}

impl Group {
    /// Records that this node's own acceptor received a release of the lease.
    pub(crate) fn freed(&mut self) {
        self.acceptor.freed = true;
    }

    /// Records the slot of this node's own acceptor.
    pub(super) fn learn(&mut self, slot: Slot) {
        self.claim.proposer.saw(Ballot(slot.promised));
        if slot.owner == 0 {
            self.claim.proposer.heard_release(Ballot(slot.ballot));
        }
        self.acceptor.known = slot;
    }

    /// Handles the release of another node. The last slot is outdated, and so are the obstacles of
    /// a claim.
    pub(super) fn note_release(&mut self, context: &GroupContext<'_>) {
        let Some(slot) = self.slot(&context.observation) else {
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

    /// Reports why a claim to a lease that was released for this node was given up, once for each
    /// reason.
    pub(super) fn report_given_up_claim(&mut self, local: NodeId, out: &mut Vec<GroupEvent>) {
        let released_for_us = self.acceptor.known.owner == 0 && self.acceptor.successor() == local;
        let given_up = self.claim.given_up.take();
        if let Some(obstacle) = given_up.filter(|_| released_for_us)
            && self.acceptor.is_new(obstacle)
        {
            out.push(GroupEvent::ClaimGivenUp(obstacle));
        }
    }
}
