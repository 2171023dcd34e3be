//! This node's claim to a group's lease, and the times of its requests.

use heartbeat_common::{time::Boottime, wire::LeaseEntry};

use super::{GroupEvent, PENDING_RELEASE_PAUSE, Period, backoff::Backoff};
use crate::{
    Timing,
    index::AcceptorIndex,
    proposer::{Obstacle, Proposer},
};

#[derive(Clone, Debug)]
pub(super) struct GroupClaim {
    pub(super) proposer: Proposer,
    /// The time before which no request is sent.
    pub(super) not_before: Boottime,
    /// The time of the first request, or of the first one after an obstacle had ended.
    pub(super) asked_at: Boottime,
    pub(super) backoff: Backoff,
    /// The reason for giving up the last claim, until it is reported.
    pub(super) given_up: Option<Obstacle>,
    /// A new request of the group must be sent now and not at the next tick.
    pub(super) urgent: bool,
    /// The event that no higher ballot is left was reported.
    exhausted: bool,
}

impl GroupClaim {
    pub(super) fn new(proposer: Proposer) -> Self {
        Self {
            proposer,
            not_before: Boottime::default(),
            asked_at: Boottime::default(),
            backoff: Backoff::default(),
            given_up: None,
            urgent: false,
            exhausted: false,
        }
    }

    /// Counts a vote. `free` is the period since the lease became free, if it is free.
    pub(super) fn count(
        &mut self,
        (acceptor, vote, left): (AcceptorIndex, &LeaseEntry, Boottime),
        free: Option<Period>,
        now: Boottime,
        timing: &Timing,
    ) {
        let preparing = self.proposer.is_preparing();
        let asked = |proposer: &Proposer| proposer.ask().map(|ask| ask.ballot);
        let ballot = asked(&self.proposer);
        let obstacle = self.proposer.count(acceptor, vote, left);
        let promised = preparing && self.proposer.is_holding();
        let raised = asked(&self.proposer).is_some_and(|raised| Some(raised) != ballot);
        if promised || raised {
            self.ask_at_once(now);
        }
        match obstacle {
            None => {}
            Some(Obstacle::Unheard) => self.ask_again_soon(free, now, timing),
            Some(obstacle) if self.proposer.is_hopeless() => self.lose(obstacle, now, timing),
            // The request is repeated at the moment at which the lease ends.
            Some(Obstacle::Lease { remaining, .. }) => {
                self.not_before = self.not_before.max(now.after(remaining));
            }
            Some(_) => {}
        }
    }

    pub(super) fn ask_at_once(&mut self, now: Boottime) {
        self.asked_at = now;
        self.urgent = true;
    }

    /// Repeats a request that came too early. A release is on its way to the acceptor, so the
    /// request is sent again before the next tick, a few times.
    fn ask_again_soon(&mut self, free: Option<Period>, now: Boottime, timing: &Timing) {
        let Some(free) = free else { return };
        let pause = (now.since(free.since) * 3).max(PENDING_RELEASE_PAUSE);
        if pause < timing.interval {
            self.not_before = self.not_before.max(now.after(pause));
        }
    }

    /// Makes way for another node that is ahead.
    pub(super) fn lose(&mut self, obstacle: Obstacle, now: Boottime, timing: &Timing) {
        self.proposer.abandon();
        self.given_up = Some(obstacle);
        let pause = match obstacle {
            Obstacle::Lease { remaining, .. } => remaining,
            _ => self.backoff.lose(timing.interval),
        };
        self.not_before = self.not_before.max(now.after(pause));
    }

    /// Requests the lease, unless there is no higher ballot left. Returns whether it does.
    pub(super) fn begin(&mut self, now: Boottime, out: &mut Vec<GroupEvent>) -> bool {
        let begins = self.proposer.prepare().is_some();
        if begins {
            self.ask_at_once(now);
        } else if !self.exhausted {
            out.push(GroupEvent::BallotsExhausted);
        }
        self.exhausted = !begins;
        begins
    }
}
