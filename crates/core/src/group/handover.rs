//! How a group leaves this node: for whom, and when it has gone.

use heartbeat_common::{lease::Successor, time::Boottime, wire::NodeId};

use super::{Group, GroupCommand, Outlook, Reason, Serving};
use crate::{
    placement::Bar,
    ranking::{self, Standing},
    reach::Reach,
};

impl Group {
    /// The operator wants it on `to`.
    pub(crate) fn move_to(&mut self, to: NodeId, local: NodeId) {
        if to == local {
            self.pinned = true;
        } else {
            self.hand_over(Reason::Moved { to });
        }
    }

    /// It is to leave for the node that `reason` names, if it is served here.
    pub(crate) fn hand_over(&mut self, reason: Reason) {
        if self.serving == Serving::Started {
            self.leaving = Some(reason);
        }
    }

    /// It stays after all, unless an operator wants it elsewhere.
    pub(crate) fn stay(&mut self) {
        if let Some(Reason::Drained { .. } | Reason::Rebalanced { .. }) = self.leaving {
            self.leaving = None;
        }
    }

    /// Whether it is to leave, and something that depends on it has yet to stop.
    pub(crate) fn waits_to_leave(&self) -> bool {
        self.serving == Serving::Started && self.leaving.is_some_and(Reason::is_lasting)
    }

    /// Whether it could be handed over by a decision of this node: it is served and left alone by
    /// nobody, and it is not on its way already.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.serving == Serving::Started && self.leaving.is_none() && !self.is_stuck()
    }

    /// Whether it may go to where there is room.
    pub(crate) fn may_be_moved(&self, now: Boottime) -> bool {
        self.is_at_rest()
            && self.plan.rebalance
            && self.plan.stickiness.is_finite()
            && !self.pinned
            && now >= self.failback_from
            && self.runs()
    }

    /// Whether it is on its way from here to another node that does not have it yet. It is not waited
    /// for longer than `patience`.
    pub(crate) fn is_leaving(&self, now: Boottime, patience: std::time::Duration) -> bool {
        let gone = |at| now.since(at) < patience && !self.disabled;
        match self.serving {
            Serving::Started => self.waits_to_leave(),
            Serving::Stopping => !self.blocked,
            Serving::Stopped => self.given_up_at.is_some_and(gone),
        }
    }

    /// Stops it, or lets go first what depends on it.
    pub(super) fn leave(
        &mut self,
        reason: Reason,
        outlook: &Outlook<'_>,
        out: &mut Vec<GroupCommand>,
    ) {
        let followed = outlook
            .constraints
            .followed_here(outlook.index, outlook.seen);
        if followed && !outlook.hangs {
            self.leaving = Some(reason);
        } else {
            self.stop(reason, out);
            self.wait_for_stop(outlook);
        }
    }

    pub(super) fn fail_back(&mut self, outlook: &Outlook<'_>, out: &mut Vec<GroupCommand>) {
        let Outlook {
            now,
            local,
            index,
            view,
            ..
        } = *outlook;
        let settled_here = !outlook.auto_failback || self.pinned || now < self.failback_from;
        if settled_here || self.maintained || self.leaving.is_some() {
            return;
        }
        let own = view.key(&self.plan, index, local).staying(&self.plan);
        let better = self.plan.ranked.iter().copied().filter(|node| {
            view.is_better(view.key(&self.plan, index, *node), own)
                && self.is_settled(*node, outlook)
        });
        if let Some(to) = ranking::first(better, |node| self.rank(node, outlook)) {
            self.leave(Reason::FailBack { to }, outlook, out);
        }
    }

    /// Whether a peer has been able to own it for long enough to hand it over there.
    fn is_settled(&self, node: NodeId, outlook: &Outlook<'_>) -> bool {
        let Outlook {
            local,
            constraints,
            index,
            seen,
            ..
        } = *outlook;
        self.is_known_to(node, outlook)
            && outlook.heard.reported(index, node).reach == Reach::Whole
            && self.standing(node, outlook) == Standing::Fit
            && !constraints.displaces(index, node, local, seen)
    }

    /// The same, but for what other groups have to say: they may come along.
    pub(crate) fn is_open(&self, node: NodeId, outlook: &Outlook<'_>) -> bool {
        let Outlook { view, index, .. } = *outlook;
        let bar = view.bar(&self.plan, index, node, outlook.heard.reported(index, node));
        matches!(bar, None | Some(Bar::Constrained)) && self.is_known_to(node, outlook)
    }

    /// Whether `node` has been fit for long enough, and would hear at once that the lease is free.
    fn is_known_to(&self, node: NodeId, outlook: &Outlook<'_>) -> bool {
        self.hears_of_release(node, outlook) && outlook.heard.reported(outlook.index, node).current
    }

    /// Whether `node` has been fit for a lease, and its acceptor votes for this node: one that abstains would not
    /// hear that the lease is free.
    pub(super) fn hears_of_release(&self, node: NodeId, outlook: &Outlook<'_>) -> bool {
        let Outlook { now, timing, .. } = *outlook;
        let fit_since = outlook.heard.fit_since(node);
        let acceptor = outlook.heard.acceptor(node);
        fit_since.is_some_and(|since| now.since(since) >= timing.lease)
            && acceptor.is_some_and(|acceptor| self.proposer.has_vote_of(acceptor, now))
    }

    pub(super) fn stop(&mut self, reason: Reason, out: &mut Vec<GroupCommand>) {
        self.successor = match reason {
            // It stays there until that node fails, or the operator minds no more.
            Reason::Moved { to } | Reason::Rebalanced { to } => Successor::chosen(to),
            Reason::FailBack { to } | Reason::Drained { to } => Successor::fit(to),
            _ => Successor::default(),
        };
        self.leaving = None;
        self.lapsed = None;
        self.stops_for = Some(reason);
        self.serving = Serving::Stopping;
        self.inherited_until = Boottime::default();
        for claim in &mut self.addresses {
            claim.inherited_until = Boottime::default();
        }
        out.push(GroupCommand::Stop(reason));
    }

    /// It is being stopped here: until it has, nobody else may start it.
    pub(super) fn wait_for_stop(&mut self, outlook: &Outlook<'_>) {
        if outlook.hangs && !self.maintained {
            // The dead-man: nobody is there who could say that it has stopped. The guard is closed, and the
            // lease runs out. However long a stop takes otherwise, the lease is kept until it has ended.
            self.proposer.abandon();
        }
        // Stopping takes its time, and the best may be another by now, even this node.
        let best = || Successor::fit(self.best(outlook).unwrap_or_default());
        let fit = |to| self.standing(to, outlook) == Standing::Fit;
        self.successor = match self.stops_for {
            // A node that lost its lease does not know who is fit, and an operator has decided.
            Some(Reason::LeaseLost | Reason::Moved { .. }) => return,
            Some(Reason::Rebalanced { to } | Reason::Drained { to }) if fit(to) => return,
            _ => best(),
        };
    }

    /// The best of the nodes that can take it, as far as is known.
    pub(super) fn best(&self, outlook: &Outlook<'_>) -> Option<NodeId> {
        let fit = |node: &NodeId| match *node == outlook.local {
            true => self.may_take(outlook) && !self.is_cut_off(outlook),
            false => self.standing(*node, outlook) == Standing::Fit,
        };
        let fit = self.plan.ranked.iter().copied().filter(fit);
        ranking::first(fit, |node| self.rank(node, outlook))
    }

    /// Who is about to have it, if nobody has it for long or if it leaves here.
    pub(crate) fn expected(&self, outlook: &Outlook<'_>) -> Option<NodeId> {
        let successor = match self.serving {
            Serving::Started => return self.leaving.and_then(Reason::to),
            Serving::Stopping => self.successor,
            Serving::Stopped if self.proposer.is_releasing() => self.successor,
            Serving::Stopped if !self.proposer.is_idle() => return Some(outlook.local),
            Serving::Stopped if self.known.owner == 0 => Successor(self.known.successor),
            Serving::Stopped => Successor::default(),
        };
        let named = Some(successor.node()).filter(|node| node.0 != 0);
        named.or_else(|| self.best(outlook))
    }

    pub(super) fn release(&mut self, now: Boottime) {
        self.proposer.release(self.successor);
        self.handed_over_at = (self.successor != Successor::default()).then_some(now);
        self.given_up_at = Some(now);
        self.ask_at_once(now);
    }
}
