//! A group that is served here: whether this node still holds its lease, and whether it should.

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{
    Group, GroupContext, GroupEvent, Period, Phase, Reason,
    phase::{Stop, Tenure},
};

impl Group {
    /// The next phase of a group that runs here. `lapsed` is the time since its lease ended, if it
    /// has.
    pub(super) fn serve(
        &mut self,
        mut tenure: Tenure,
        lapsed: Option<Period>,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let now = context.now;
        let leaves = self.must_leave(tenure.leaving, context);
        if let Some(reason) = leaves.filter(|_| !self.waits_for_dependents(context)) {
            return self.leave(tenure, reason, context, out);
        }
        tenure.leaving = leaves;
        let end = self.open_until();
        if end > now && self.claim.proposer.lease_end() > now {
            let tenure = self.hold(tenure, lapsed, now, out);
            return self.fail_back(tenure, context, out);
        }
        if self.claim.proposer.is_idle() && now >= self.claim.not_before {
            self.claim.begin(now, out);
        }
        if end > now {
            return Phase::served(tenure, lapsed);
        }
        self.lapse(tenure, lapsed, context, out)
    }

    /// Updates the tenure of a group whose lease this node holds.
    fn hold(
        &mut self,
        mut tenure: Tenure,
        lapsed: Option<Period>,
        now: Boottime,
        out: &mut Vec<GroupEvent>,
    ) -> Tenure {
        self.claim.backoff.win();
        self.acceptor.forget_reported();
        let ballot = self.claim.proposer.ask().map(|ask| ask.ballot);
        // A late renewal under the same ballot means that no acceptor promised a higher one
        // meanwhile, so ownership never changed.
        if lapsed.is_some() && ballot != tenure.served_with {
            tenure.timeline.majority = now;
            out.push(GroupEvent::LeaseAcquired {
                timeline: tenure.timeline,
                regained: true,
            });
        }
        tenure.served_with = ballot;
        tenure
    }

    /// Handles the end of the lease, with which the guard has closed. A renewal may still arrive,
    /// also after a stall of this node. If none does, the resources are stopped.
    fn lapse(
        &mut self,
        mut tenure: Tenure,
        lapsed: Option<Period>,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let (now, end) = (context.now, self.open_until());
        // docs/design/leases.md#rule-4
        debug_assert!(end <= now, "the guard is open in a lapse");
        if lapsed.is_none() {
            tenure.timeline.free = now;
        }
        let mut lapsed = lapsed.unwrap_or(Period::since(end));
        let grace_from = lapsed
            .or_stall_end(context.node.stalled_until, Duration::ZERO)
            .max(end);
        let hopeless = now.since(grace_from) > context.timing.grace_after_lapse();
        if !hopeless || self.operator.maintained {
            return Phase::Lapsed(tenure, lapsed);
        }
        if !self.claim.proposer.is_holding() {
            self.claim.proposer.abandon();
        }
        // A lease that is still held is released after the stop. The acceptors may receive this
        // node's requests although their votes do not arrive here. Without the release, other nodes
        // would wait for the end of one more lease.
        Phase::Stopping(self.stop(tenure, Reason::LeaseLost, out))
    }

    /// Whether a group here has to stop before this group may.
    fn waits_for_dependents(&self, context: &GroupContext<'_>) -> bool {
        let view = context.view;
        let followed = view.constraints.followed_here(context.index, view.seen);
        followed && !context.node.hangs
    }

    /// Stops the group.
    pub(super) fn leave(
        &mut self,
        tenure: Tenure,
        reason: Reason,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let stop = self.stop(tenure, reason, out);
        // The choice of a successor depends on the phase.
        self.enter(Phase::Stopping(stop));
        Phase::Stopping(self.await_stop(stop, context))
    }

    /// Stops the group, or first the groups that depend on it.
    pub(super) fn leave_in_turn(
        &mut self,
        tenure: Tenure,
        reason: Reason,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        if self.waits_for_dependents(context) {
            let leaving = Some(reason);
            return Phase::Serving(Tenure { leaving, ..tenure });
        }
        self.leave(tenure, reason, context, out)
    }

    fn stop(&mut self, tenure: Tenure, reason: Reason, out: &mut Vec<GroupEvent>) -> Stop {
        for claim in &mut self.addresses {
            claim.inherited_until = Boottime::default();
        }
        out.push(GroupEvent::LeaseGivenUp(reason));
        Stop {
            reason,
            successor: reason.successor(),
            free: tenure.timeline.free,
        }
    }

    /// Records that all of the group has stopped here.
    pub(crate) fn stopped(&mut self, now: Boottime) {
        let Phase::Stopping(stop) = self.phase else {
            return;
        };
        self.resources.running = false;
        self.departure.reason = Some(stop.reason);
        self.departure.successor = stop.successor;
        let proposer = &self.claim.proposer;
        let next = if proposer.is_holding() {
            self.release(now)
        } else if proposer.is_preparing() {
            Phase::Claiming { free: stop.free }
        } else {
            Phase::Waiting
        };
        self.enter(next);
    }

    /// Gives the lease back, for the successor that was decided on.
    pub(super) fn release(&mut self, now: Boottime) -> Phase {
        let successor = self.departure.successor;
        // docs/design/leases.md#rule-4: the guard is closed before the lease is released.
        debug_assert!(self.served_until() == Boottime::default());
        self.claim.proposer.release(successor);
        self.departure.handed_over_at = (successor != Default::default()).then_some(now);
        self.departure.given_up_at = Some(now);
        self.claim.ask_at_once(now);
        Phase::Releasing { since: now }
    }
}
