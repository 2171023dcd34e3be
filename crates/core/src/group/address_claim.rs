//! This node's claim to one address, and when it is asked for out of turn.
//!
//! Each round asks for all that is claimed. An obstacle is worth a round of its own only once, at
//! the time at which it ends: whatever else comes waits for the tick.

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::GroupId,
};

use super::{GroupContext, UNHEARD_PAUSE, backoff::Backoff};
use crate::{
    Timing,
    proposer::{Obstacle, Proposer},
};

/// The event that a claim waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// The tick, which asks again.
    Tick,
    /// An obstacle, which ends then.
    Obstacle { ends: Boottime },
    /// Another node is ahead: the claim begins anew then.
    Contest { over: Boottime },
}

#[derive(Clone, Debug)]
pub(super) struct AddressClaim {
    pub(super) id: GroupId,
    pub(super) proposer: Proposer,
    wait: Wait,
    /// When this ballot was first asked for, in this step.
    asked_at: Boottime,
    /// An acceptor has promised itself to a higher one.
    outbid: bool,
    backoff: Backoff,
    /// The guard that an earlier agent of this node left open for this address.
    pub(super) inherited_until: Boottime,
    /// Whether traffic of the address could pass at the last step, and the ballot of the lease for
    /// that.
    open: bool,
    served_with: Option<Ballot>,
}

impl AddressClaim {
    pub(super) fn new(id: GroupId, proposer: Proposer) -> Self {
        Self {
            id,
            proposer,
            wait: Wait::Tick,
            asked_at: Boottime::default(),
            outbid: false,
            backoff: Backoff::default(),
            inherited_until: Boottime::default(),
            open: false,
            served_with: None,
        }
    }

    /// An earlier agent serves it until `until`.
    pub(super) fn inherit(&mut self, until: Boottime) {
        (self.inherited_until, self.open) = (until, true);
    }

    /// Takes note whether traffic of the address can pass now. Says whether it could not at the
    /// last step, and another node may have announced the address meanwhile.
    pub(super) fn reopens(&mut self, open: bool, now: Boottime) -> bool {
        let held = self
            .proposer
            .ask()
            .filter(|_| self.proposer.lease_end() > now);
        let ballot = held.map(|ask| ask.ballot);
        let reopens = open && !self.open && ballot != self.served_with;
        self.open = open;
        self.served_with = ballot.or(self.served_with);
        reopens
    }

    /// Takes note of what our own acceptor says: whether it heard of one more release.
    pub(super) fn learn(&mut self, slot: Slot) -> bool {
        self.proposer.saw(Ballot(slot.promised));
        slot.owner == 0 && self.proposer.heard_release(Ballot(slot.ballot))
    }

    /// Something else is asked from now on, or with another ballot: no acceptor has refused that
    /// yet.
    pub(super) fn begin_step(&mut self, now: Boottime) {
        self.forget_obstacles();
        self.asked_at = now;
    }

    fn forget_obstacles(&mut self) {
        (self.wait, self.outbid) = (Wait::Tick, false);
    }

    /// An acceptor refused it.
    pub(super) fn meet(&mut self, obstacle: Obstacle, now: Boottime, timing: &Timing) {
        // An owner that some acceptor refuses asks at its tick, with a higher ballot if need be.
        if self.proposer.lease_end() > now {
            return;
        }
        match obstacle {
            Obstacle::Lease { remaining, .. } => self.wait_until(now.after(remaining)),
            Obstacle::Unheard => {
                // As for the group: the longer it takes, the less often.
                let pause = (now.since(self.asked_at) * 3).max(UNHEARD_PAUSE);
                if pause < timing.interval {
                    self.wait_until(now.after(pause));
                }
            }
            Obstacle::Promise { ballot, .. } => {
                let asked = self.proposer.ask();
                self.outbid |= asked.is_some_and(|asked| asked.ballot < ballot);
            }
            Obstacle::Silence => {}
        }
    }

    /// One acceptor after the other says so: the last of the obstacles counts.
    fn wait_until(&mut self, at: Boottime) {
        self.wait = match self.wait {
            Wait::Tick => Wait::Obstacle { ends: at },
            Wait::Obstacle { ends } => Wait::Obstacle { ends: ends.max(at) },
            Wait::Contest { over } => Wait::Contest { over },
        };
    }

    /// Asks for what is not held. Says whether that cannot wait for the tick; `None` if its slot was
    /// not read.
    pub(super) fn pursue(&mut self, context: &GroupContext<'_>) -> Option<bool> {
        let GroupContext { now, timing, .. } = *context;
        if self.proposer.lease_end() > now {
            self.backoff.win();
            self.forget_obstacles();
            return Some(false);
        }
        let released = self.learn(context.sight.slot(self.id)?);
        if self.is_lost(now, timing) {
            self.abandon();
            let over = now.after(self.backoff.lose(timing.interval));
            self.wait = Wait::Contest { over };
        }
        Some(match self.wait {
            Wait::Tick => self.is_at_rest() && self.begin(now),
            Wait::Obstacle { ends } if released || now >= ends => self.ask_again(now),
            Wait::Contest { over } if released || now >= over => self.begin(now) && released,
            Wait::Obstacle { .. } | Wait::Contest { .. } => false,
        })
    }

    /// Whether another node is ahead, by the same rule as for the group.
    fn is_lost(&self, now: Boottime, timing: &Timing) -> bool {
        let long = now.since(self.asked_at) > timing.interval * 2;
        self.outbid && (long || self.proposer.is_hopeless())
    }

    fn is_at_rest(&self) -> bool {
        self.proposer.is_idle() || self.proposer.is_releasing()
    }

    fn begin(&mut self, now: Boottime) -> bool {
        self.begin_step(now);
        self.proposer.prepare().is_some()
    }

    /// With the same ballot if it can win: votes for it may be on their way.
    fn ask_again(&mut self, now: Boottime) -> bool {
        self.wait = Wait::Tick;
        let asked = self.proposer.ask();
        asked.is_some_and(|asked| asked.ballot.round() >= self.proposer.round()) || self.begin(now)
    }

    /// When to look at it again before the tick.
    pub(super) fn look_at(&self) -> Option<Boottime> {
        match self.wait {
            Wait::Tick => None,
            Wait::Obstacle { ends: at } | Wait::Contest { over: at } => Some(at),
        }
    }

    /// Gives the lease back, if it is held: with the group's own release, or at the next tick after
    /// a claim that failed.
    pub(super) fn give_back(&mut self, successor: Successor, now: Boottime, timing: &Timing) {
        self.forget_obstacles();
        if self.proposer.is_holding() {
            self.proposer.release(successor);
            self.asked_at = now;
        } else if !self.proposer.is_releasing() || now.since(self.asked_at) > timing.lease {
            // An acceptor that did not hear of the release has forgotten the lease by then.
            self.proposer.abandon();
        }
    }

    /// Lets it run out.
    pub(super) fn abandon(&mut self) {
        self.forget_obstacles();
        self.proposer.abandon();
    }
}
