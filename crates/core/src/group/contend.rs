//! The turn of this node to claim a group that is served nowhere.
//!
//! These rules only save time: if two nodes send requests at once, at most one gets a majority.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::NodeId,
};

use super::{
    AcquisitionTimeline, FAILBACK_HOLD, Group, GroupContext, GroupEvent, MAX_FAILBACK_HOLD, Period,
    Phase, Reason, phase::Tenure,
};
use crate::{
    eligibility::Eligibility,
    placement::{Key, View},
    proposer::Obstacle,
    reach::RECOVERY,
};

impl Group {
    /// The next phase of a group that is neither served nor requested here.
    pub(super) fn wait(&mut self, context: &GroupContext<'_>, out: &mut Vec<GroupEvent>) -> Phase {
        if !self.may_take(context) || self.awaits_others(context) {
            return Phase::Waiting;
        }
        let GroupContext {
            now, index, view, ..
        } = *context;
        let Some(chance) = self.next_chance(context) else {
            return self.phase;
        };
        if chance.is_none_or(|at| at > now) {
            self.next_check = chance;
            return Phase::Waiting;
        }
        let View {
            constraints, seen, ..
        } = view;
        if constraints.displaces(index, view.local, view.local, seen) {
            // An acceptor that forgot its votes may show a held lease as free. No group gives way
            // to a claim on such evidence.
            let sure_from = context
                .observation
                .votes_from
                .after(context.timing.interval * 2);
            return match now >= sure_from {
                true => Phase::Displacing,
                false => Phase::Waiting,
            };
        }
        match self.claim.begin(now, out) {
            true => Phase::Claiming {
                free: self.acceptor.free.map_or(now, |free| free.since),
            },
            false => Phase::Waiting,
        }
    }

    /// The earliest time of a request, as far as is known now. A time not after `now` means at
    /// once, and the inner `None` means never. The outer `None` means that a slot was not read.
    fn next_chance(&mut self, context: &GroupContext<'_>) -> Option<Option<Boottime>> {
        if !self.is_free(context)? {
            let ends = Boottime::from_nanos(self.acceptor.known.expires);
            return Some(Some(ends.max(self.claim.not_before)));
        }
        if let Some(until) = self.address_taken_until(context)? {
            // The address has its lease under another group's name: its owner has another
            // configuration.
            self.acceptor.free = None;
            return Some(Some(until));
        }
        Some(self.turn(context))
    }

    /// Whether the lease is free. Reads this node's own acceptor's slot if the last one may be
    /// outdated. `None` if it was not read.
    fn is_free(&mut self, context: &GroupContext<'_>) -> Option<bool> {
        let GroupContext {
            now, timing, view, ..
        } = *context;
        let local = view.local;
        if !self
            .acceptor
            .knows_other_owner(local, now.after(timing.interval))
        {
            let slot = self.slot(&context.observation)?;
            if slot.promised != self.acceptor.known.promised {
                self.make_way(&slot, context);
            }
            self.learn(slot);
        }
        if self.acceptor.knows_other_owner(local, now) {
            self.acceptor.end_free_period();
            return Some(false);
        }
        let known = &self.acceptor.known;
        let since = match known.owner {
            0 => now,
            _ => Boottime::from_nanos(known.expires).min(now),
        };
        self.acceptor.free.get_or_insert(Period::since(since));
        Some(true)
    }

    /// Makes way for a node that just got the promise of this node's own acceptor for a free lease.
    fn make_way(&mut self, slot: &Slot, context: &GroupContext<'_>) {
        // A release leaves a promise of one more than the ballot.
        let claimed = slot.promised > slot.ballot.saturating_add(1);
        if claimed && Ballot(slot.promised).node() != context.view.local {
            let patience = context.timing.stagger() * 2;
            self.claim.not_before = self.claim.not_before.max(context.now.after(patience));
        }
    }

    /// The time of this node's turn. `None` if it has none.
    fn turn(&mut self, context: &GroupContext<'_>) -> Option<Boottime> {
        let GroupContext { timing, view, .. } = *context;
        let not_before = self.claim.not_before;
        let period = self.acceptor.free.as_mut()?;
        // This node stalled. All nodes may have stalled, and then the owner only needs another
        // moment.
        let woken = period.or_stall_end(context.node.stalled_until, timing.interval);
        let mut free = period.since;
        let known = self.acceptor.known;
        let own = self.rank(view.local, context);
        if self.is_outranked(own, context) {
            // After a start of all nodes at once, no node is fit yet and all acceptors abstain. The
            // best node must be the first that requests a vote after that.
            free = free.max(context.observation.votes_from);
        }
        // The last owner is passed over: it would have renewed if it could.
        let mut passed_over = NodeId(known.owner as u16);
        let successor = self.acceptor.successor();
        if known.owner == 0 && successor.0 != 0 {
            if successor == view.local {
                return Some(free.max(not_before));
            }
            // The lease is reserved for the successor until its original end. A successor that has
            // not taken it by then cannot.
            free = free.max(Boottime::from_nanos(known.expires));
            passed_over = successor;
        }
        let mut turn = free.max(not_before).max(woken);
        if self.is_cut_off(context) {
            // A node that reaches further has taken it by then, or cannot.
            turn = turn.max(free.after(timing.lease * 2));
        }
        let before = self.nodes_before(own, passed_over, context);
        Some(turn.max(free.after(timing.stagger() * before)))
    }

    /// Whether a node of the group's list ranks before this one, whose rank is `own`.
    fn is_outranked(&self, own: Key, context: &GroupContext<'_>) -> bool {
        let mut ranked = self.plan.ranked.iter();
        ranked.any(|node| self.rank(*node, context) < own)
    }

    /// The number of nodes that contend before this one, whose rank is `own`.
    fn nodes_before(&self, own: Key, passed_over: NodeId, context: &GroupContext<'_>) -> u32 {
        let before = self.plan.ranked.iter().filter(|node| {
            **node != context.view.local
                && **node != passed_over
                && self.rank(**node, context) < own
                && self.eligibility(**node, context) != Eligibility::Ineligible
        });
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// The next phase of a group whose lease is requested. The lease had been free since `free`.
    pub(super) fn follow_claim(
        &mut self,
        free: Boottime,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let GroupContext { now, timing, .. } = *context;
        if !self.may_take(context) {
            return self.withdraw(now);
        }
        if self.lease_end() > now {
            return self.win(free, context, out);
        }
        let claim = &mut self.claim;
        if claim.asked_at < claim.not_before {
            // The obstacle ends soon.
            if now >= claim.not_before {
                claim.ask_at_once(now);
            } else {
                self.next_check = Some(claim.not_before);
            }
        }
        let asked_for = now.since(claim.asked_at);
        let contested = claim.proposer.is_contested() && asked_for > timing.interval * 2;
        let stuck = claim.proposer.is_holding() && asked_for > timing.lease;
        if contested || stuck {
            claim.lose(Obstacle::Silence, now, timing);
            return Phase::Waiting;
        }
        Phase::Claiming { free }
    }

    /// Withdraws the claim. No resource runs here, so a granted lease is given back.
    fn withdraw(&mut self, now: Boottime) -> Phase {
        if self.claim.proposer.is_holding() {
            self.departure.successor = Successor::default();
            return self.release(now);
        }
        self.claim.proposer.abandon();
        Phase::Waiting
    }

    /// Begins to serve: a majority granted the leases of the group and of all its addresses.
    fn win(
        &mut self,
        free: Boottime,
        context: &GroupContext<'_>,
        out: &mut Vec<GroupEvent>,
    ) -> Phase {
        let now = context.now;
        // docs/design/leases.md#rule-4: a group is started only while its lease is held.
        debug_assert!(self.claim.proposer.lease_end() > now);
        let known = &self.acceptor.known;
        let chosen = Successor::chosen(context.view.local);
        let pinned = known.owner == 0 && Successor(known.successor) == chosen;
        self.hold_failback(context);
        self.acceptor.end_free_period();
        let timeline = AcquisitionTimeline {
            free,
            majority: now,
        };
        out.push(GroupEvent::LeaseAcquired {
            timeline,
            regained: false,
        });
        Phase::Serving(Tenure {
            timeline,
            pinned,
            ..Tenure::default()
        })
    }

    /// Keeps the group here for a while. A better node that did not take the group may be gone, or
    /// may not receive this node's heartbeats. Repeated hand-overs to such a node could go on for
    /// ever.
    fn hold_failback(&mut self, context: &GroupContext<'_>) {
        let GroupContext { now, timing, .. } = *context;
        let hold = &mut self.failback_hold;
        let handed_over = self.departure.handed_over_at.take();
        hold.length = match handed_over {
            // The successor did not take the group, or did not keep it.
            Some(at) if now.since(at) < MAX_FAILBACK_HOLD => {
                (hold.length * 2).clamp(FAILBACK_HOLD, MAX_FAILBACK_HOLD)
            }
            _ => Duration::ZERO,
        };
        hold.until = hold.until.max(now.after(timing.lease.max(hold.length)));
        let soon = RECOVERY.max(timing.lease * 4);
        let came_back = handed_over.is_some_and(|at| now.since(at) < soon);
        if came_back && self.departure.reason == Some(Reason::CutOff) {
            // The node that seemed to reach further did not take it, or does not reach further.
            hold.reach_until = now.after(hold.length);
        }
    }
}
