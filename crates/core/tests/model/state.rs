//! The state of the model: acceptors, candidates, and frames that the network may still deliver.

use std::{array, sync::Arc, time::Duration};

use heartbeat_common::{
    lease::{self, Ballot, Limits, Operation, Request, Slot, Successor, Vote},
    time::Boottime,
    wire::{GroupId, LeaseEntry, NodeId},
};
use heartbeat_core::{
    index::AcceptorIndex,
    proposer::{Ask, MajorityConfig, Proposer, Term},
};

/// The number of voters. The first [`CANDIDATES`] of them also want the lease, the last is a
/// witness.
pub(crate) const VOTERS: usize = 3;
pub(crate) const CANDIDATES: usize = 2;

const GROUP: GroupId = GroupId(1);

/// By node: the microseconds that its clock counts in a tick.
pub(crate) type Rates = [u64; VOTERS];

/// A request, and the latest possible departure, on the prober's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) ask: Ask,
    /// The start of the clock if the request is not for a lease.
    pub(crate) left: Boottime,
}

impl Probe {
    fn new(ask: Ask, now: Boottime) -> Self {
        let left = if asks_for_lease(ask.operation) {
            now
        } else {
            Boottime::default()
        };
        Self { ask, left }
    }
}

/// Whether the time of the request matters.
pub(crate) fn asks_for_lease(operation: Operation) -> bool {
    matches!(operation, Operation::Accept | Operation::Renew)
}

/// The answer of an acceptor to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) to: usize,
    pub(crate) acceptor: usize,
    pub(crate) operation: Operation,
    pub(crate) vote: Vote,
    pub(crate) micros: u32,
    pub(crate) ballot: Ballot,
    /// The departure of the probe.
    pub(crate) left: Boottime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acceptor {
    pub(crate) slot: Slot,
    pub(crate) votes_from: Boottime,
}

impl Acceptor {
    /// The kernel's treatment of a lease entry of an authentic probe. `None` if the acceptor
    /// abstains.
    fn answer(
        &mut self,
        ask: &Ask,
        max_lease: Duration,
        now: Boottime,
    ) -> Option<(Operation, lease::Answer)> {
        let entry = ask.entry(GROUP);
        let limits = Limits {
            votes_from: self.votes_from.as_nanos(),
            max_lease_ns: max_lease.as_nanos() as u64,
        };
        let request = Request::read(&entry, ask.ballot.node(), limits, now)?;
        let answer = lease::decide(&mut self.slot, &request, now);
        Some((request.operation, answer))
    }
}

/// A node that wants the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    pub(crate) proposer: Proposer,
    /// The time in its guard.
    pub(crate) open_until: Boottime,
    /// The guard that an earlier agent of this node left open.
    inherited_until: Boottime,
    /// The requests, the oldest first. The last is the current one if there is any.
    pub(crate) asked: Vec<Probe>,
    /// The first ballot of its last claim.
    pub(crate) claimed: Ballot,
    pub(crate) claims: u8,
    /// The number of refusals that it received.
    pub(crate) refusals: u8,
    pub(crate) paused: bool,
    /// Whether the node released the lease as its owner.
    pub(crate) gave_back: bool,
}

impl Candidate {
    fn new(id: NodeId, term: Term) -> Self {
        Self {
            proposer: Proposer::new(id, MajorityConfig::of_all(VOTERS), 0, term),
            open_until: Boottime::default(),
            inherited_until: Boottime::default(),
            asked: Vec::new(),
            claimed: Ballot::default(),
            claims: 0,
            refusals: 0,
            paused: false,
            gave_back: false,
        }
    }

    /// Writes the guard as the group's `open_until` does: an owned group is served.
    pub(crate) fn write_guard(&mut self) {
        self.open_until = self.proposer.lease_end().max(self.inherited_until);
    }

    pub(crate) fn claim(&mut self) {
        let ballot = self.proposer.prepare();
        self.claimed = ballot.expect("the model's rounds are far from the last");
        self.claims += 1;
        self.write_guard();
    }

    pub(crate) fn release(&mut self) {
        self.inherited_until = Boottime::default();
        self.proposer.release(Successor::default());
    }

    /// Starts a new agent, which adopts the old one's state in the kernel: the guard.
    pub(crate) fn restart(&mut self, round: u64, term: Term) {
        let id = self.claimed.node();
        self.proposer = Proposer::new(id, MajorityConfig::of_all(VOTERS), round, term);
        self.inherited_until = self.open_until;
    }

    /// The highest round in any of its lives.
    pub(crate) fn round(&self) -> u64 {
        let asked = self
            .asked
            .last()
            .map_or(0, |probe| probe.ask.ballot.round());
        asked.max(self.claimed.round())
    }

    pub(crate) fn count(&mut self, answer: &Answer, left: Boottime) {
        let vote = LeaseEntry {
            group: GROUP.0,
            operation: answer.operation as u8,
            vote: answer.vote as u8,
            micros: answer.micros,
            ballot: answer.ballot.0,
        };
        self.proposer
            .count(AcceptorIndex(answer.acceptor), &vote, left);
        self.write_guard();
    }

    /// The request at `now`, unless it is already the last of [`Candidate::asked`].
    pub(crate) fn asks_anew(&self, now: Boottime) -> Option<Probe> {
        let probe = Probe::new(self.proposer.ask()?, now);
        (!self.paused && self.asked.last() != Some(&probe)).then_some(probe)
    }

    fn ask(&mut self, probe: Probe, past_asks: usize) {
        if self.asked.last().is_some_and(|last| last.ask == probe.ask) {
            self.asked.pop();
        }
        self.asked.push(probe);
        if self.asked.len() > past_asks + 1 {
            self.asked.remove(0);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) ticks: u64,
    rates: Rates,
    pub(crate) acceptors: [Acceptor; VOTERS],
    /// States with equal candidates share them.
    pub(crate) candidates: [Arc<Candidate>; CANDIDATES],
    /// Answers on their way.
    pub(crate) late: Vec<Answer>,
    pub(crate) acceptor_restarts: u8,
    pub(crate) agent_restarts: u8,
    pub(crate) restarts: u8,
    pub(crate) pauses: u8,
}

impl State {
    pub(crate) fn new(rates: Rates, term: Term) -> Self {
        Self {
            ticks: 0,
            rates,
            acceptors: [Acceptor::default(); VOTERS],
            candidates: array::from_fn(|node| Arc::new(Candidate::new(id(node), term))),
            late: Vec::new(),
            acceptor_restarts: 0,
            agent_restarts: 0,
            restarts: 0,
            pauses: 0,
        }
    }

    /// The reading of the clock of `node`. The clocks were never synchronised.
    pub(crate) fn now(&self, node: usize) -> Boottime {
        let micros = 1_000 * (node as u64 + 1) + self.ticks * self.rates[node];
        Boottime::from_nanos(micros * 1_000)
    }

    pub(crate) fn owns(&self, node: usize) -> bool {
        self.candidates[node].open_until > self.now(node)
    }

    pub(crate) fn candidate(&mut self, node: usize) -> &mut Candidate {
        Arc::make_mut(&mut self.candidates[node])
    }

    /// Handles the arrival of `probe` at `acceptor`. Returns `None` if that abstains.
    pub(crate) fn arrive(
        &mut self,
        probe: &Probe,
        acceptor: usize,
        max_lease: Duration,
    ) -> Option<Answer> {
        let now = self.now(acceptor);
        let (operation, said) = self.acceptors[acceptor].answer(&probe.ask, max_lease, now)?;
        Some(Answer {
            to: usize::from(probe.ask.ballot.node().0) - 1,
            acceptor,
            operation,
            vote: said.vote,
            micros: said.micros,
            ballot: Ballot(said.ballot),
            left: probe.left,
        })
    }

    /// Makes every candidate that is not paused send a request, as at every instant.
    pub(crate) fn ask(&mut self, past_asks: usize) {
        for node in 0..CANDIDATES {
            let now = self.now(node);
            if let Some(probe) = self.candidates[node].asks_anew(now) {
                self.candidate(node).ask(probe, past_asks);
            }
        }
    }
}

fn id(node: usize) -> NodeId {
    NodeId(node as u16 + 1)
}
