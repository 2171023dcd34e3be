//! Where a group may be, and where it is better off.

use heartbeat_common::{time::Boottime, wire::NodeId};

use super::{Group, Outlook, Reason, Serving};
use crate::{placement::Key, ranking::Standing};

impl Group {
    /// Whether this node may contend for it.
    pub(super) fn may_take(&self, outlook: &Outlook<'_>) -> bool {
        let Outlook {
            local,
            constraints,
            index,
            seen,
            ..
        } = *outlook;
        (outlook.may_take || self.takes_back(outlook))
            && self.may_be_taken_by(local)
            && constraints.allow(index, local, local, seen)
            && constraints.may_start(index, seen)
            && outlook.view.lacks(index, local).is_none()
    }

    /// Whether nothing that is known of the group itself keeps it from this node (`local`).
    pub(crate) fn may_be_taken_by(&self, local: NodeId) -> bool {
        self.ready
            && !self.barred
            && !self.disabled
            && !self.maintained
            && self.plan.ranked.contains(&local)
            && !self.plan.is_banned(local)
    }

    /// Whether this node let it go, and it has not been seen to run at another since.
    pub(crate) fn was_let_go(&self) -> bool {
        self.given_up_at.is_some() || self.serving == Serving::Stopping
    }

    /// Whether this node, which is emptied and takes nothing, let it go for another that cannot have it
    /// any more, nor can anybody else.
    fn takes_back(&self, outlook: &Outlook<'_>) -> bool {
        // Also behind another that was.
        let on_purpose = self
            .stops_for
            .is_some_and(|reason| reason.is_lasting() || reason == Reason::Constrained);
        let fit = |node: &NodeId| {
            *node != outlook.local && self.standing(*node, outlook) == Standing::Fit
        };
        outlook.empties && self.was_let_go() && on_purpose && !self.plan.ranked.iter().any(fit)
    }

    /// Why it must not go on here, if it must not.
    pub(super) fn must_leave(&self, outlook: &Outlook<'_>) -> Option<Reason> {
        let Outlook {
            local,
            constraints,
            index,
            seen,
            ..
        } = *outlook;
        if self.maintained {
            // Its lease keeps every other node from serving it, and a maintained group has nothing that a hanging slow
            // side should look after: docs/leases.md, rule 6.
            None
        } else if !outlook.may_keep {
            Some(Reason::NodeUnfit)
        } else if self.disabled {
            Some(Reason::Disabled)
        } else if outlook.unhealthy {
            Some(Reason::Unhealthy)
        } else if self.barred {
            Some(Reason::Failed)
        } else if !constraints.allow(index, local, local, seen)
            || constraints.must_stop(index, seen)
            || self.plan.is_banned(local)
            || !self.plan.ranked.contains(&local)
        {
            Some(Reason::Constrained)
        } else if self.is_better_reached_elsewhere(outlook) {
            Some(Reason::CutOff)
        } else {
            self.leaving.filter(|reason| reason.is_lasting())
        }
    }

    /// Less is better.
    pub(super) fn rank(&self, node: NodeId, outlook: &Outlook<'_>) -> Key {
        outlook.view.key(&self.plan, outlook.index, node)
    }

    /// Whether a peer can own this group, as far as is known.
    pub(super) fn standing(&self, node: NodeId, outlook: &Outlook<'_>) -> Standing {
        let Outlook { view, index, .. } = *outlook;
        let reported = outlook.heard.reported(index, node);
        Standing::of(view.bar(&self.plan, index, node, reported))
    }

    /// Whether its lease was asked for, and is not had yet.
    pub(crate) fn is_claiming(&self) -> bool {
        let idle = self.proposer.is_idle() || self.proposer.is_releasing();
        self.serving == Serving::Stopped && !idle
    }

    /// Whether it seems about to go from one node to another, so that who has how much matters now.
    pub(crate) fn is_placed_anew(&self, now: Boottime, votes_from: Boottime) -> bool {
        if self.disabled || self.maintained {
            return false;
        }
        match self.serving {
            Serving::Started => self.leaving.is_some(),
            Serving::Stopping => true,
            Serving::Stopped => {
                let owned = self.known.live_owner(now).is_some() || now < self.owned_until;
                self.freed || (!owned && self.is_free_anew(now, votes_from))
            }
        }
    }

    /// Whether it came to where it is so lately that the load there does not show it yet.
    pub(crate) fn has_just_come(&self, now: Boottime) -> bool {
        let arrived = self.arrived_at;
        arrived.is_some_and(|at| now.since(at) < super::EXPECTED_WITHIN)
    }

    /// Whether nobody has been seen to own it, but not for so long that nobody will.
    pub(crate) fn is_free_anew(&self, now: Boottime, votes_from: Boottime) -> bool {
        let since = self.free_from.map(|since| since.max(votes_from));
        self.serving == Serving::Stopped
            && !self.disabled
            && !self.maintained
            && since.is_none_or(|since| now.since(since) < super::EXPECTED_WITHIN)
    }
}
