//! The state of the model: acceptors, candidates and what the network may still deliver.

use std::{sync::Arc, time::Duration};

use heartbeat_common::{
    lease::{self, Ballot, Limits, Request, Slot, Successor, Vote},
    time::Boottime,
    wire::{GroupId, LeaseEntry, NodeId},
};
use heartbeat_core::proposer::{Ask, Proposer};

/// Voters. The first [`CANDIDATES`] of them also want the lease, the others are witnesses.
pub(crate) const NODES: usize = 3;
pub(crate) const CANDIDATES: usize = 2;

/// A probe on its way to any acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) ask: Ask,
    /// t1, on its sender's clock.
    pub(crate) left: Boottime,
}

/// A reply on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reply {
    pub(crate) operation: u8,
    pub(crate) vote: Vote,
    pub(crate) micros: u32,
    pub(crate) ballot: Ballot,
    /// That of the probe.
    pub(crate) left: Boottime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acceptor {
    pub(crate) slot: Slot,
    pub(crate) votes_from: u64,
}

impl Acceptor {
    /// What the kernel does with a lease entry.
    pub(crate) fn answer(
        &mut self,
        probe: &Probe,
        lease: Duration,
        now: Boottime,
    ) -> Option<Reply> {
        let entry = probe.ask.entry(GroupId(1), lease);
        let limits = Limits {
            votes_from: self.votes_from,
            max_lease_ns: u64::try_from(lease.as_nanos()).unwrap(),
        };
        let from = probe.ask.ballot.node();
        let request = Request::read(&entry, from, limits, now)?;
        let answer = lease::decide(&mut self.slot, &request, now);
        Some(Reply {
            operation: entry.operation,
            vote: answer.vote,
            micros: answer.micros,
            ballot: Ballot(answer.ballot),
            left: probe.left,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    pub(crate) proposer: Proposer,
    /// As last written into the guard.
    pub(crate) open_until: Boottime,
    /// The guard that an earlier agent left open.
    pub(crate) inherited_until: Boottime,
    pub(crate) claims: u8,
    /// The highest round that it used in any of its lives.
    pub(crate) round: u64,
    pub(crate) paused: bool,
    /// The newest probes.
    pub(crate) probes: Vec<Probe>,
    /// By acceptor.
    pub(crate) replies: [Vec<Reply>; NODES],
}

impl Candidate {
    pub(crate) fn new(id: NodeId, counted: Duration) -> Self {
        Self {
            proposer: Proposer::new(id, NODES, 0, counted),
            open_until: Boottime::default(),
            inherited_until: Boottime::default(),
            claims: 0,
            round: 0,
            paused: false,
            probes: Vec::new(),
            replies: Default::default(),
        }
    }

    pub(crate) fn write_guard(&mut self) {
        self.open_until = self.proposer.lease_end().max(self.inherited_until);
    }

    pub(crate) fn claim(&mut self, slot: &Slot) {
        self.proposer.saw(Ballot(slot.promised));
        let ballot = self.proposer.prepare().unwrap();
        self.claims += 1;
        self.round = ballot.round();
        self.write_guard();
    }

    pub(crate) fn release(&mut self) {
        self.inherited_until = Boottime::default();
        self.proposer.release(Successor::default());
    }

    pub(crate) fn send(&mut self, ask: Ask, now: Boottime, kept: usize) {
        self.probes.retain(|probe| probe.ask != ask);
        self.probes.push(Probe { ask, left: now });
        if self.probes.len() > kept {
            self.probes.remove(0);
        }
    }

    pub(crate) fn queue(&mut self, acceptor: usize, reply: Reply, kept: usize) {
        let queue = &mut self.replies[acceptor];
        queue.retain(|old| {
            (old.operation, old.vote, old.ballot) != (reply.operation, reply.vote, reply.ballot)
        });
        queue.push(reply);
        if queue.len() > kept {
            queue.remove(0);
        }
    }

    pub(crate) fn count(&mut self, acceptor: usize, reply: &Reply, left: Boottime) {
        let vote = LeaseEntry {
            group: 1,
            operation: reply.operation,
            vote: reply.vote as u8,
            micros: reply.micros,
            ballot: reply.ballot.0,
        };
        self.proposer.count(acceptor, &vote, left);
        if let Some(ask) = self.proposer.ask() {
            self.round = self.round.max(ask.ballot.round());
        }
        self.write_guard();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) ticks: u64,
    /// By node: how far its clock goes in a tick, in microseconds.
    pub(crate) rates: [u64; NODES],
    pub(crate) acceptors: [Acceptor; NODES],
    pub(crate) candidates: [Arc<Candidate>; CANDIDATES],
    pub(crate) acceptor_restarts: u8,
    pub(crate) agent_restarts: u8,
    pub(crate) pauses: u8,
}

impl State {
    /// What the clock of `node` shows. No two clocks agree.
    pub(crate) fn now(&self, node: usize) -> Boottime {
        let micros = 1_000 * (node as u64 + 1) + self.ticks * self.rates[node];
        Boottime::from_nanos(micros * 1_000)
    }

    pub(crate) fn owns(&self, candidate: usize) -> bool {
        self.candidates[candidate].open_until > self.now(candidate)
    }

    pub(crate) fn candidate(&mut self, index: usize) -> &mut Candidate {
        Arc::make_mut(&mut self.candidates[index])
    }
}
