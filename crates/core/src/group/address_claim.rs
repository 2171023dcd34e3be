//! This node's claim to one address, and its requests before the next tick.
//!
//! Each round sends all requests of the claims. An obstacle causes a round of its own only once, at
//! the time at which it ends. All other changes wait for the tick.

use heartbeat_common::{
    lease::{Ballot, Slot, Successor},
    time::Boottime,
    wire::GroupId,
};

use super::{GroupContext, PENDING_RELEASE_PAUSE, backoff::Backoff};
use crate::{
    Timing,
    proposer::{Obstacle, Proposer},
};

/// The event that a claim waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// The tick, which repeats the request.
    Tick,
    /// The end of an obstacle.
    Obstacle { ends: Boottime },
    /// The end of a pause: another node is ahead, and the claim begins anew then.
    Contest { over: Boottime },
}

#[derive(Clone, Debug)]
pub(super) struct AddressClaim {
    pub(super) id: GroupId,
    pub(super) proposer: Proposer,
    wait: Wait,
    /// The time at which this ballot was first requested, in this step of the protocol.
    asked_at: Boottime,
    /// An acceptor has made a promise to a higher ballot.
    outbid: bool,
    backoff: Backoff,
    /// The time until which an earlier agent of this node left the guard open for this address.
    pub(super) inherited_until: Boottime,
    /// Whether traffic of the address could pass at the last step. `served_with` is the ballot of
    /// the lease at that time.
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

    /// Adopts an address that an earlier agent serves until `until`.
    pub(super) fn inherit(&mut self, until: Boottime) {
        (self.inherited_until, self.open) = (until, true);
    }

    /// Records whether traffic of the address can pass now. Returns whether it could not at the
    /// last step, so that another node may have announced the address meanwhile.
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

    /// Records the slot of this node's own acceptor. Returns whether the acceptor received a new
    /// release.
    pub(super) fn learn(&mut self, slot: Slot) -> bool {
        self.proposer.saw(Ballot(slot.promised));
        slot.owner == 0 && self.proposer.heard_release(Ballot(slot.ballot))
    }

    /// Begins a new step of the protocol, or a new ballot: no acceptor has refused it yet.
    pub(super) fn begin_step(&mut self, now: Boottime) {
        self.forget_obstacles();
        self.asked_at = now;
    }

    fn forget_obstacles(&mut self) {
        (self.wait, self.outbid) = (Wait::Tick, false);
    }

    /// Records the refusal of an acceptor.
    pub(super) fn meet(&mut self, obstacle: Obstacle, now: Boottime, timing: &Timing) {
        // An owner that some acceptor refuses repeats its request at the tick, with a higher ballot
        // if need be.
        if self.proposer.lease_end() > now {
            return;
        }
        match obstacle {
            Obstacle::Lease { remaining, .. } => self.wait_until(now.after(remaining)),
            Obstacle::Unheard => {
                // As for the group, the pause grows with each request.
                let pause = (now.since(self.asked_at) * 3).max(PENDING_RELEASE_PAUSE);
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

    /// Waits until the last of the obstacles ends. Acceptors report them one after the other.
    fn wait_until(&mut self, at: Boottime) {
        self.wait = match self.wait {
            Wait::Tick => Wait::Obstacle { ends: at },
            Wait::Obstacle { ends } => Wait::Obstacle { ends: ends.max(at) },
            Wait::Contest { over } => Wait::Contest { over },
        };
    }

    /// Requests a lease that is not held. Returns whether the request cannot wait for the tick;
    /// `None` if the slot was not read.
    pub(super) fn pursue(&mut self, context: &GroupContext<'_>) -> Option<bool> {
        let GroupContext { now, timing, .. } = *context;
        if self.proposer.lease_end() > now {
            self.backoff.win();
            self.forget_obstacles();
            return Some(false);
        }
        let released = self.learn(context.observation.slot(self.id)?);
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

    /// Repeats the request, with the same ballot if it can win: votes for it may be on their way.
    fn ask_again(&mut self, now: Boottime) -> bool {
        self.wait = Wait::Tick;
        let asked = self.proposer.ask();
        asked.is_some_and(|asked| asked.ballot.round() >= self.proposer.round()) || self.begin(now)
    }

    /// The time of the next check before the tick.
    pub(super) fn next_check(&self) -> Option<Boottime> {
        match self.wait {
            Wait::Tick => None,
            Wait::Obstacle { ends: at } | Wait::Contest { over: at } => Some(at),
        }
    }

    /// Gives the lease back, if it is held: with the group's own release, or at the next tick after
    /// a failed claim.
    pub(super) fn give_back(&mut self, successor: Successor, now: Boottime, timing: &Timing) {
        self.forget_obstacles();
        if self.proposer.is_holding() {
            self.proposer.release(successor);
            self.asked_at = now;
        } else if !self.proposer.is_releasing() || now.since(self.asked_at) > timing.lease {
            // By then, an acceptor that did not receive the release has forgotten the lease.
            self.proposer.abandon();
        }
    }

    /// Gives up the claim without a release, so that the lease runs out.
    pub(super) fn abandon(&mut self) {
        self.forget_obstacles();
        self.proposer.abandon();
    }
}
