//! The nodes on which a group may run, and the better ones among them.

use heartbeat_common::{time::Boottime, wire::NodeId};

use super::{Group, GroupContext, Phase, Reason, Serving};
use crate::{
    eligibility::Eligibility,
    placement::{Key, View},
};

impl Group {
    /// Whether this node may contend for the group.
    pub(super) fn may_take(&self, context: &GroupContext<'_>) -> bool {
        let GroupContext { index, view, .. } = *context;
        let View {
            local,
            constraints,
            seen,
            ..
        } = view;
        (context.node.may_take || self.takes_back(context))
            && self.may_be_taken_by(local)
            && constraints.allow(index, local, local, seen)
            && constraints.may_start(index, seen)
            && view.lacks(index, local).is_none()
    }

    /// Whether no fact about the group itself keeps it from this node (`local`).
    pub(crate) fn may_be_taken_by(&self, local: NodeId) -> bool {
        self.resources.ready
            && !self.resources.barred
            && !self.operator.disabled
            && !self.operator.maintained
            && self.plan.ranked.contains(&local)
            && !self.plan.is_banned(local)
    }

    /// Whether this node released the group, and the group has not been seen to run on another node
    /// since.
    pub(crate) fn was_let_go(&self) -> bool {
        match self.phase {
            Phase::Stopping(_) => true,
            _ => self.departure.given_up_at.is_some(),
        }
    }

    /// Whether this node should take the group back. An operator empties the node, and it released
    /// the group for another node. Now neither that node nor any other can have the group.
    fn takes_back(&self, context: &GroupContext<'_>) -> bool {
        let reason = match self.phase {
            Phase::Stopping(stop) => Some(stop.reason),
            _ => self.departure.reason,
        };
        // Includes a group that followed another group on its way.
        let on_purpose =
            reason.is_some_and(|reason| reason.is_lasting() || reason == Reason::Constrained);
        let fit = |node: &NodeId| {
            *node != context.view.local && self.eligibility(*node, context) == Eligibility::Eligible
        };
        context.node.empties && self.was_let_go() && on_purpose && !self.plan.ranked.iter().any(fit)
    }

    /// The reason why the group must not go on here, if there is one. `leaving` is the earlier
    /// decision.
    pub(super) fn must_leave(
        &self,
        leaving: Option<Reason>,
        context: &GroupContext<'_>,
    ) -> Option<Reason> {
        if self.operator.maintained {
            // docs/design/leases.md#rule-6: the lease of a group in maintenance keeps every other
            // node from serving it, and a hanging control task neglects nothing of such a group.
            None
        } else if !context.node.may_keep {
            Some(Reason::NodeUnfit)
        } else if self.operator.disabled {
            Some(Reason::Disabled)
        } else if context.node.unhealthy {
            Some(Reason::Unhealthy)
        } else if self.resources.barred {
            Some(Reason::Failed)
        } else if self.plan.ranked.is_empty() {
            Some(Reason::Removed)
        } else if self.is_forbidden_here(context) {
            Some(Reason::Constrained)
        } else if self.is_better_reached_elsewhere(context) {
            Some(Reason::CutOff)
        } else {
            leaving.filter(|reason| reason.is_lasting())
        }
    }

    /// Whether other groups or the configuration forbid the group to go on here.
    fn is_forbidden_here(&self, context: &GroupContext<'_>) -> bool {
        let GroupContext { index, view, .. } = *context;
        let View {
            local,
            constraints,
            seen,
            ..
        } = view;
        !constraints.allow(index, local, local, seen)
            || constraints.must_stop(index, seen)
            || self.plan.is_banned(local)
            || !self.plan.ranked.contains(&local)
    }

    /// The rank of a node for this group: less is better.
    pub(super) fn rank(&self, node: NodeId, context: &GroupContext<'_>) -> Key {
        context.view.key(&self.plan, context.index, node)
    }

    /// Whether a peer can own this group, as far as this node knows.
    pub(super) fn eligibility(&self, node: NodeId, context: &GroupContext<'_>) -> Eligibility {
        let GroupContext { view, index, .. } = *context;
        let reported = context.observation.reported(index, node);
        Eligibility::of(view.ineligibility(&self.plan, index, node, reported))
    }

    /// Whether the lease is requested, and not granted yet.
    pub(crate) fn is_claiming(&self) -> bool {
        matches!(self.phase, Phase::Claiming { .. })
    }

    /// Whether the group seems about to go from one node to another, so that the load of each node
    /// matters now.
    pub(crate) fn is_placed_anew(&self, now: Boottime, votes_from: Boottime) -> bool {
        if self.operator.disabled || self.operator.maintained {
            return false;
        }
        match self.serving() {
            Serving::Started => self.leaving().is_some(),
            Serving::Stopping => true,
            Serving::Stopped => {
                let known = self.acceptor.known.live_owner(now);
                let owned = known.is_some() || now < self.owner.until;
                self.acceptor.freed || (!owned && self.is_free_anew(now, votes_from))
            }
        }
    }
}
