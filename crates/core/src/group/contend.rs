//! When a group that is served nowhere is this node's to try.
//!
//! All of it only saves time: if two nodes ask at once, at most one gets a majority.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::NodeId,
};

use super::{
    Course, FAILBACK_HOLD, Group, GroupCommand, MAX_FAILBACK_HOLD, Outlook, Period, Reason, Serving,
};
use crate::{proposer::Obstacle, ranking::Standing, reach::RECOVERY};

impl Group {
    /// Nothing is served here, and nothing is asked: is it this node's turn to try?
    pub(super) fn contend(&mut self, outlook: &Outlook<'_>, out: &mut Vec<GroupCommand>) {
        let Outlook {
            now,
            timing,
            local,
            constraints,
            index,
            seen,
            ..
        } = *outlook;
        let Some(free) = self.is_free(outlook) else {
            return;
        };
        if !free {
            let ends = Boottime::from_nanos(self.known.expires).max(self.not_before);
            self.look_at = Some(ends);
            return;
        }
        let Some(taken_until) = self.address_taken_until(outlook) else {
            return;
        };
        if let Some(until) = taken_until {
            // Under another name: whoever has it knows another configuration.
            self.free = None;
            self.look_at = Some(until);
            return;
        }
        let Some(turn) = self.turn(outlook) else {
            return;
        };
        if now < turn {
            self.look_at = Some(turn);
            return;
        }
        if constraints.displaces(index, local, local, seen) {
            // Nobody gives way for what an acceptor that forgot its votes takes for free.
            self.coming = now >= outlook.heard.votes_from.after(timing.interval * 2);
            return;
        }
        self.course = Course {
            free: self.free.map_or(now, |free| free.since),
            majority: Boottime::default(),
        };
        self.claim(now, out);
    }

    /// Looks at our own acceptor's slot if what it last said may be outdated. `None` if it was not read.
    fn is_free(&mut self, outlook: &Outlook<'_>) -> Option<bool> {
        let Outlook {
            now, timing, local, ..
        } = *outlook;
        if !self.is_known_to_be_taken(local, now.after(timing.interval)) {
            let slot = self.slot(&outlook.heard)?;
            if slot.promised != self.known.promised {
                self.make_way(&slot, outlook);
            }
            self.learn(slot);
        }
        if self.is_known_to_be_taken(local, now) {
            (self.free, self.told) = (None, None);
            return Some(false);
        }
        let since = match self.known.owner {
            0 => now,
            _ => Boottime::from_nanos(self.known.expires).min(now),
        };
        self.free.get_or_insert(Period::since(since));
        Some(true)
    }

    /// Somebody just got our own acceptor's promise for a lease that is free: let it finish.
    fn make_way(&mut self, slot: &Slot, outlook: &Outlook<'_>) {
        // One more than the ballot is what a release leaves behind.
        let claimed = slot.promised > slot.ballot.saturating_add(1);
        if claimed && Ballot(slot.promised).node() != outlook.local {
            let patience = outlook.timing.stagger() * 2;
            self.not_before = self.not_before.max(outlook.now.after(patience));
        }
    }

    /// When it is this node's turn. `None` if it has none.
    fn turn(&mut self, outlook: &Outlook<'_>) -> Option<Boottime> {
        let Outlook { timing, local, .. } = *outlook;
        let period = self.free.as_mut()?;
        // This node stood still. So may all have, and then the owner only needs another moment.
        let woken = period.or_woken(outlook.woke_at, timing.interval);
        let mut free = period.since;
        let own = self.rank(local, outlook);
        if self
            .plan
            .ranked
            .iter()
            .any(|node| self.rank(*node, outlook) < own)
        {
            // Where all start at once none is fit yet, and all acceptors abstain: the best node is to be
            // the first that asks one that votes.
            free = free.max(outlook.heard.votes_from);
        }
        // An owner that could renew would have.
        let mut passed_over = NodeId(self.known.owner as u16);
        let successor = Successor(self.known.successor).node();
        if self.known.owner == 0 && successor.0 != 0 {
            if successor == local {
                return Some(free.max(self.not_before));
            }
            // It is another's until it would have ended, and who has not taken it by then cannot.
            free = free.max(Boottime::from_nanos(self.known.expires));
            passed_over = successor;
        }
        let mut turn = free.max(self.not_before).max(woken);
        if self.is_cut_off(outlook) {
            // One that reaches further has taken it by then, or cannot.
            turn = turn.max(free.after(timing.lease * 2));
        }
        let before = self.plan.ranked.iter().filter(|node| {
            **node != local
                && **node != passed_over
                && self.rank(**node, outlook) < own
                && self.standing(**node, outlook) != Standing::Out
        });
        let before = u32::try_from(before.count()).unwrap_or(u32::MAX);
        Some(turn.max(free.after(timing.stagger() * before)))
    }

    pub(super) fn claim(&mut self, now: Boottime, out: &mut Vec<GroupCommand>) {
        if self.proposer.prepare().is_some() {
            self.ask_at_once(now);
            self.exhausted = false;
        } else if !self.exhausted {
            self.exhausted = true;
            out.push(GroupCommand::BallotsExhausted);
        }
    }

    /// The lease was asked for: was it granted?
    pub(super) fn follow_claim(&mut self, outlook: &Outlook<'_>, out: &mut Vec<GroupCommand>) {
        let Outlook { now, timing, .. } = *outlook;
        if self.lease_end() > now {
            self.serving = Serving::Started;
            self.won(outlook);
            self.course.majority = now;
            out.push(GroupCommand::Start(self.course));
            return;
        }
        if self.asked_at < self.not_before {
            // What stands in the way ends soon.
            if now >= self.not_before {
                self.ask_at_once(now);
            } else {
                self.look_at = Some(self.not_before);
            }
        }
        let contested =
            self.proposer.is_contested() && now.since(self.asked_at) > timing.interval * 2;
        let stuck = self.proposer.is_holding() && now.since(self.asked_at) > timing.lease;
        if contested || stuck {
            self.lose_contest(Obstacle::Silence, now, timing);
        }
    }

    fn won(&mut self, outlook: &Outlook<'_>) {
        let Outlook {
            now, timing, local, ..
        } = *outlook;
        self.pinned =
            self.known.owner == 0 && Successor(self.known.successor) == Successor::chosen(local);
        // Who is better but did not take it may not be there any more, or may not hear us: to hand it
        // on at once could go on and on.
        self.failback_from = self.failback_from.max(now.after(timing.lease));
        let handed_over = self.handed_over_at.take();
        self.failback_hold = match handed_over {
            // Whom it was for did not take it, or did not keep it.
            Some(at) if now.since(at) < MAX_FAILBACK_HOLD => {
                (self.failback_hold * 2).clamp(FAILBACK_HOLD, MAX_FAILBACK_HOLD)
            }
            _ => Duration::ZERO,
        };
        self.failback_from = self.failback_from.max(now.after(self.failback_hold));
        let soon = RECOVERY.max(timing.lease * 4);
        let came_back = handed_over.is_some_and(|at| now.since(at) < soon);
        if came_back && self.stops_for == Some(Reason::CutOff) {
            // The node that seemed to reach further did not take it, or does not.
            self.stays_until = now.after(self.failback_hold);
        }
        (self.free, self.told) = (None, None);
    }
}
