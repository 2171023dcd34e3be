//! The departure of a group from this node: the choice of the next node, and the end of the stop.

use std::time::Duration;

use heartbeat_common::{lease::Successor, time::Boottime, wire::NodeId};

use super::{
    Group, GroupContext, GroupEvent, Phase, Reason, Serving,
    phase::{Stop, Tenure},
};
use crate::{
    eligibility::{self, Eligibility},
    placement::Ineligibility,
    reach::Reach,
};

impl Group {
    /// Moves the group to `to`, by an operator's command. Has no effect if the group is not served
    /// here.
    pub(crate) fn move_to(&mut self, to: NodeId, local: NodeId) {
        let Some(tenure) = self.phase.tenure_mut() else {
            return;
        };
        if to == local {
            tenure.pinned = true;
        } else {
            tenure.leaving = Some(Reason::Moved { to });
        }
    }

    /// Makes the group leave for the node in `reason`, if the group is served here.
    pub(crate) fn hand_over(&mut self, reason: Reason) {
        if let Some(tenure) = self.phase.tenure_mut() {
            tenure.leaving = Some(reason);
        }
    }

    /// Cancels a departure, unless an operator wants the group on another node.
    pub(crate) fn stay(&mut self) {
        if let Some(tenure) = self.phase.tenure_mut()
            && let Some(Reason::Drained { .. } | Reason::Rebalanced { .. }) = tenure.leaving
        {
            tenure.leaving = None;
        }
    }

    /// The reason why the group is about to stop, if it is served here and only waits for groups
    /// that depend on it.
    pub(super) fn leaving(&self) -> Option<Reason> {
        self.phase.tenure()?.leaving
    }

    /// Whether the group must leave, and a group that depends on it has yet to stop.
    pub(crate) fn waits_to_leave(&self) -> bool {
        self.leaving().is_some_and(Reason::is_lasting)
    }

    /// Whether this node could decide to hand the group over: the group is served, not in
    /// maintenance, not blocked, and not on its way already.
    pub(crate) fn is_at_rest(&self) -> bool {
        let tenure = self.phase.tenure();
        tenure.is_some_and(|tenure| tenure.leaving.is_none()) && !self.is_stuck()
    }

    /// Whether the group may move to a node with room.
    pub(crate) fn may_be_moved(&self, now: Boottime) -> bool {
        let pinned = self.phase.tenure().is_some_and(|tenure| tenure.pinned);
        self.is_at_rest()
            && self.plan.rebalance
            && self.plan.stickiness.is_finite()
            && !pinned
            && now >= self.failback_hold.until
            && self.runs()
    }

    /// Whether the group is on its way from here to another node that does not have it yet. This
    /// wait ends after `patience`.
    pub(crate) fn is_leaving(&self, now: Boottime, patience: Duration) -> bool {
        let gone = |at| now.since(at) < patience && !self.operator.disabled;
        match self.serving() {
            Serving::Started => self.waits_to_leave(),
            Serving::Stopping => !self.resources.blocked,
            Serving::Stopped => self.departure.given_up_at.is_some_and(gone),
        }
    }

    /// Hands the group, whose lease is held, to a better node if there is one.
    pub(super) fn fail_back(
        &mut self,
        tenure: Tenure,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let settled_here = !context.node.auto_failback
            || tenure.pinned
            || context.now < self.failback_hold.until
            || self.operator.maintained
            || tenure.leaving.is_some();
        if settled_here {
            return Phase::Serving(tenure);
        }
        match self.better_node(context) {
            Some(to) => self.leave_in_turn(tenure, Reason::FailBack { to }, context, out),
            None => Phase::Serving(tenure),
        }
    }

    /// The best of the nodes that are better than this one and have been for long enough.
    fn better_node(&self, context: &GroupContext<'_>) -> Option<NodeId> {
        let GroupContext { index, view, .. } = *context;
        let own = view.key(&self.plan, index, view.local).staying(&self.plan);
        let better = self.plan.ranked.iter().copied().filter(|node| {
            view.is_better(view.key(&self.plan, index, *node), own)
                && self.is_settled(*node, context)
        });
        eligibility::first(better, |node| self.rank(node, context))
    }

    /// Whether a peer has been able to own the group for long enough to receive it.
    fn is_settled(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        let GroupContext { index, view, .. } = *context;
        self.is_known_to(node, context)
            && context.observation.reported(index, node).reach == Reach::Whole
            && self.eligibility(node, context) == Eligibility::Eligible
            && !view
                .constraints
                .displaces(index, node, view.local, view.seen)
    }

    /// Whether `node` could have the group, apart from the constraints of other groups: these may
    /// move along.
    pub(crate) fn is_open(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        let GroupContext { view, index, .. } = *context;
        let ineligibility = view.ineligibility(
            &self.plan,
            index,
            node,
            context.observation.reported(index, node),
        );
        matches!(ineligibility, None | Some(Ineligibility::Constrained))
            && self.is_known_to(node, context)
    }

    /// Whether `node` has been fit for long enough, and would receive the release at once.
    fn is_known_to(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        self.receives_release(node, context)
            && context.observation.reported(context.index, node).current
    }

    /// Whether `node` has been fit for the length of a lease, and its acceptor votes for this node.
    /// An acceptor that abstains would not receive the release.
    pub(super) fn receives_release(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        let GroupContext { now, timing, .. } = *context;
        let fit_since = context.observation.fit_since(node);
        let acceptor = context.observation.acceptor(node);
        fit_since.is_some_and(|since| now.since(since) >= timing.lease)
            && acceptor.is_some_and(|acceptor| self.claim.proposer.has_vote_of(acceptor, now))
    }

    /// Updates a stop that is under way. No other node may start the group before the stop has
    /// ended.
    pub(super) fn await_stop(&mut self, stop: Stop, context: &GroupContext<'_>) -> Stop {
        if context.node.hangs && !self.operator.maintained {
            // docs/design/leases.md#rule-6: a hanging control task cannot confirm that the group
            // has stopped. The guard is closed, and the lease runs out. In all other cases the
            // lease is kept until the stop has ended, however long it takes.
            self.claim.proposer.abandon();
        }
        let successor = self.successor_after(stop, context);
        Stop { successor, ..stop }
    }

    /// The node for which the group is released after the stop. A stop takes time, and the best
    /// node may have changed meanwhile, even to this node.
    fn successor_after(&self, stop: Stop, context: &GroupContext<'_>) -> Successor {
        let fit = |to| self.eligibility(to, context) == Eligibility::Eligible;
        match stop.reason {
            // A node that lost its lease does not know which nodes are fit. In a move, the operator
            // has decided.
            Reason::LeaseLost | Reason::Moved { .. } => stop.successor,
            Reason::Rebalanced { to } | Reason::Drained { to } if fit(to) => stop.successor,
            // No node is to have the group. When it may run again, its rank decides: a lease that
            // is kept for a successor would bring it to that node first.
            Reason::Disabled if self.operator.disabled => Successor::default(),
            _ => Successor::fit(self.best(context).unwrap_or_default()),
        }
    }

    /// The best of the nodes that can take the group, as far as this node knows.
    pub(super) fn best(&self, context: &GroupContext<'_>) -> Option<NodeId> {
        let fit = |node: &NodeId| match *node == context.view.local {
            true => self.may_take(context) && !self.is_cut_off(context),
            false => self.eligibility(*node, context) == Eligibility::Eligible,
        };
        let fit = self.plan.ranked.iter().copied().filter(fit);
        eligibility::first(fit, |node| self.rank(node, context))
    }

    /// The node that is about to have the group, if the group is free or leaves this node.
    pub(crate) fn expected(&self, context: &GroupContext<'_>) -> Option<NodeId> {
        let successor = match self.phase {
            Phase::Serving(tenure) | Phase::Lapsed(tenure, _) => {
                return tenure.leaving.and_then(Reason::to);
            }
            Phase::Stopping(stop) => stop.successor,
            Phase::Releasing { .. } => self.departure.successor,
            Phase::Claiming { .. } => return Some(context.view.local),
            Phase::Waiting | Phase::Displacing if self.acceptor.known.owner == 0 => {
                Successor(self.acceptor.known.successor)
            }
            Phase::Waiting | Phase::Displacing => Successor::default(),
        };
        let named = Some(successor.node()).filter(|node| node.0 != 0);
        named.or_else(|| self.best(context))
    }
}
