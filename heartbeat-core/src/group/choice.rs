//! Where a group may be, and where it is better off.

use std::cmp::Reverse;

use heartbeat_common::wire::NodeId;

use super::{Group, Outlook, Reason};
use crate::{placement::Score, ranking::Standing, report::Reported};

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
        outlook.may_take
            && self.ready
            && !self.barred
            && !self.disabled
            && !self.maintained
            && self.plan.ranked.contains(&local)
            && self.plan.location(local) != Score::NEVER
            && constraints.allow(index, local, local, seen)
            && constraints.may_start(index, seen)
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
        if outlook.hangs || !(outlook.may_keep || self.maintained) {
            Some(Reason::NodeUnfit)
        } else if self.maintained {
            None
        } else if self.disabled {
            Some(Reason::Disabled)
        } else if self.barred {
            Some(Reason::Failed)
        } else if !constraints.allow(index, local, local, seen)
            || constraints.must_stop(index, seen)
            || self.plan.location(local) == Score::NEVER
            || !self.plan.ranked.contains(&local)
        {
            Some(Reason::Constrained)
        } else {
            self.leaving.filter(|reason| reason.is_lasting())
        }
    }

    /// Less is better.
    pub(super) fn rank(&self, node: NodeId, outlook: &Outlook<'_>) -> (Reverse<Score>, usize) {
        let Outlook {
            index,
            constraints,
            seen,
            ..
        } = *outlook;
        self.plan.rank(node, index, constraints, seen)
    }

    /// Whether a peer can own this group, as far as is known.
    pub(super) fn standing(&self, node: NodeId, outlook: &Outlook<'_>) -> Standing {
        let Reported { current, said } = (outlook.reported)(node);
        let barred = said.barred
            || (current && said.settling)
            || self.plan.location(node) == Score::NEVER
            || !outlook
                .constraints
                .allow(outlook.index, node, outlook.local, outlook.seen);
        if barred {
            Standing::Out
        } else {
            (outlook.standing)(node)
        }
    }
}
