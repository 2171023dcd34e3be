//! The state of the model: acceptors with their repeated votes, owners with their rows, and frames
//! that may still arrive.

use std::{array, time::Duration};

use heartbeat_common::{
    lease::{self, Ballot, Operation, Request, Slot, Successor, Vote},
    renewal::{Claim, ClaimTag, Counting, Counts, GroupRow, RepeatedVote, TaggedEnd, VoterList},
    time::Boottime,
    wire::NodeId,
};

/// The number of voters. The first [`OWNERS`] of them also want the lease, the last is a witness.
pub(crate) const VOTERS: usize = 3;
pub(crate) const OWNERS: usize = 2;

/// By node: the microseconds that its clock counts in a tick.
pub(crate) type Rates = [u64; VOTERS];

/// A set of voters: bit *n* is voter *n*.
pub(crate) type Voters = u8;

/// An ask in a reply, and the life that it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) from: usize,
    pub(crate) life: u32,
    pub(crate) ballot: Ballot,
    pub(crate) lease_micros: u32,
    /// The departure of the reply, on the owner's clock.
    pub(crate) asked_at: Boottime,
    /// Whether it left after the owner's clock had stood still.
    pub(crate) after_freeze: bool,
}

/// A voter's memory about one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VoteRow {
    pub(crate) vote: RepeatedVote,
    pub(crate) after_freeze: bool,
    /// Whether it took the place of a vote of another life with a later asking time.
    pub(crate) before_former: bool,
}

/// A vote on its way to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Echo {
    pub(crate) to: usize,
    pub(crate) voter: usize,
    pub(crate) row: VoteRow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acceptor {
    pub(crate) slot: Slot,
    pub(crate) votes_from: Boottime,
    pub(crate) rows: [Option<VoteRow>; OWNERS],
    /// The slot that new programs have copied, and not taken into use yet.
    pub(crate) copied: Option<Slot>,
}

/// The pulse's knowledge, which ends with the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Pulse {
    #[default]
    Idle,
    Serving,
    /// The addresses are closed, and the stop is not confirmed.
    Stopping,
}

/// A release that each acceptor may still receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Released {
    pub(crate) from: usize,
    pub(crate) ballot: Ballot,
}

/// A run of the owner's kernel program that has read the row, and has not stored its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) row: GroupRow,
    pub(crate) echo: Echo,
    pub(crate) now: Boottime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) row: GroupRow,
    pub(crate) counts: Counts,
    pub(crate) life: u32,
    pub(crate) pulse: Pulse,
    /// The length of the lease in its next asks, in microseconds.
    pub(crate) lease_micros: u32,
    pub(crate) claims: u8,
    pub(crate) run: Option<Run>,
    /// Whether its clock stands still, and the node with it.
    pub(crate) frozen: bool,
    pub(crate) was_frozen: bool,
    /// The tag of a claim whose ends were seen to have passed.
    pub(crate) lapsed: u64,
    /// The voters that refused the ballot for which the owner asks, because of another node.
    pub(crate) refused_by: Voters,
    /// Whether the kernel has withdrawn the claim.
    pub(crate) ended: bool,
    /// Whether the kernel withdrew a claim that had no reason to end.
    pub(crate) wronged: bool,
    /// By voter: the newest vote that reached the owner in this life and this claim.
    pub(crate) newest: [Option<VoteRow>; VOTERS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) ticks: u64,
    pub(crate) clocks: [u64; VOTERS],
    rates: Rates,
    pub(crate) acceptors: [Acceptor; VOTERS],
    pub(crate) owners: [Owner; OWNERS],
    pub(crate) late_asks: Vec<(usize, Ask)>,
    pub(crate) late_votes: Vec<Echo>,
    pub(crate) releases: Vec<Released>,
    /// The highest round of any ballot.
    pub(crate) round: u64,
    pub(crate) faults: Faults,
}

/// The faults that have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) agent_restarts: u8,
    pub(crate) acceptor_restarts: u8,
    pub(crate) reboots: u8,
    pub(crate) freezes: u8,
    pub(crate) upgrades: u8,
    pub(crate) raises: u8,
    pub(crate) prepares: u8,
    pub(crate) preempted: u8,
}

impl State {
    pub(crate) fn new(rates: Rates, lease: Duration) -> Self {
        let owner = Owner {
            life: 1,
            lease_micros: lease.as_micros() as u32,
            ..Owner::default()
        };
        Self {
            ticks: 0,
            clocks: array::from_fn(boot_micros),
            rates,
            acceptors: [Acceptor::default(); VOTERS],
            owners: [owner; OWNERS],
            late_asks: Vec::new(),
            late_votes: Vec::new(),
            releases: Vec::new(),
            round: 0,
            faults: Faults::default(),
        }
    }

    /// The reading of the clock of `node`. The clocks were never synchronised.
    pub(crate) fn now(&self, node: usize) -> Boottime {
        Boottime::from_nanos(self.clocks[node] * 1_000)
    }

    pub(crate) fn rates(&self) -> Rates {
        self.rates
    }

    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        for node in 0..VOTERS {
            if !self.owners.get(node).is_some_and(|owner| owner.frozen) {
                self.clocks[node] += self.rates[node];
            }
        }
        for node in 0..OWNERS {
            self.note_lapse(node);
        }
    }

    /// Records that the ends of a claim have passed. A run under way may have read the clock before
    /// that: its claim lapses when its result is there.
    pub(crate) fn note_lapse(&mut self, node: usize) {
        let now = self.now(node);
        let owner = &mut self.owners[node];
        if let Some(tag) = ClaimTag::of(Ballot(owner.row.first))
            && owner.row.asking != 0
            && owner.run.is_none()
            && owner.row.end_of(tag) <= now
        {
            owner.lapsed = tag.to_word();
        }
    }

    pub(crate) fn is_open(&self, node: usize) -> bool {
        self.now(node) < self.owners[node].row.open_until()
    }

    pub(crate) fn reboot_clock(&mut self, node: usize) {
        self.clocks[node] = boot_micros(node);
    }

    /// The answer of the acceptor of `voter`. `None` if it abstains.
    pub(crate) fn decide(&mut self, voter: usize, request: &Request) -> Option<lease::Answer> {
        let now = self.now(voter);
        let acceptor = &mut self.acceptors[voter];
        (now >= acceptor.votes_from).then(|| lease::decide(&mut acceptor.slot, request, now))
    }

    /// The claim for which the kernel of `node` asks now. Stores the end of one that has ended.
    pub(crate) fn claim(&mut self, node: usize, revives: bool) -> Option<Claim> {
        let now = self.now(node);
        let row = &mut self.owners[node].row;
        match row.asking_at(now) {
            Ok(claim) => claim,
            Err(ended) if !revives => {
                row.withdrawn = ended.to_word();
                None
            }
            Err(tag) => Some(Claim {
                tag,
                first: Ballot(row.first),
                asking: Ballot(row.asking),
            }),
        }
    }

    pub(crate) fn counting(&self, node: usize, counted_ppm: u32) -> Counting {
        Counting {
            life: self.owners[node].life,
            list: LIST,
            counted_ppm,
        }
    }
}

/// The list of all voters.
const LIST: VoterList = VoterList::new(1, VOTERS as u8, (1 << VOTERS) - 1);

fn boot_micros(node: usize) -> u64 {
    1_000 * (node as u64 + 1)
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(node as u16 + 1)
}

pub(crate) fn request(operation: Operation, ballot: Ballot, lease_micros: u32) -> Request {
    Request {
        operation,
        ballot,
        lease_ns: u64::from(lease_micros) * 1_000,
        successor: Successor::default(),
    }
}

pub(crate) fn granted(answer: &lease::Answer) -> bool {
    answer.vote == Vote::Granted
}

/// The row of a new claim, whose lease ends at `end` by the pulse's count.
pub(crate) fn claimed(row: &mut GroupRow, tag: ClaimTag, first: Ballot, end: Boottime) {
    row.permit = 0;
    row.asking = 0;
    row.until = TaggedEnd::new(tag, end);
    row.first = first.0;
    row.permit = tag.to_word();
    row.asking = first.0;
}
