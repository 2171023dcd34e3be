//! One node's claim to one lease, of a group or of an address: the requests to the acceptors, and
//! the count of their votes.
//!
//! ```text
//!         prepare             majority promised
//!   idle ─────────▶ preparing ─────────────────▶ holding
//!    ▲ ▲              │                          │ │
//!    │ └── abandon ───┴──────── abandon ─────────┘ │ release
//!    │                                             ▼
//!    └── all acceptors confirmed, or abandon ── releasing
//! ```
//!
//! A proposer in the phase *holding* holds the lease only from the time at which a majority has
//! granted it (`owned`) to [`Proposer::lease_end`]. The proposer repeats a release until all
//! acceptors have confirmed the release, or until the caller abandons it.
//!
//! An owner counts an acceptor's vote from the departure of the *probe* that asked for it, and for
//! a little less than the acceptor does: the lease ends by the owner's count before it ends by the
//! acceptor's. The proposer must never count from a later moment, nor for longer than the probe
//! asked for. The `group` module decides when a node claims a lease.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Operation, Successor, Vote},
    time::Boottime,
    wire::{LeaseEntry, NodeId},
};
use serde::{Deserialize, Serialize};

use crate::index::AcceptorIndex;

/// The greatest number of acceptors whose votes are sorted without allocating.
const FEW: usize = 64;

/// The length of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// The duration in the requests to the acceptors.
    pub asked: Duration,
    /// The time for which the owner counts a vote, from the departure of its probe.
    pub counted: Duration,
}

impl Term {
    /// Whether a vote for a lease of `micros` microseconds grants the requested length. An acceptor
    /// of an earlier release of this software sends 0 in each grant. Acceptors of this release
    /// never grant a lease of length 0.
    fn is_met_by(self, micros: u32) -> bool {
        micros == 0 || u128::from(micros) >= self.asked.as_micros()
    }
}

/// The request for one lease, as the probes carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub operation: Operation,
    pub ballot: Ballot,
    /// The length of the requested lease.
    pub lease: Duration,
    /// The node for which a lease is released.
    pub successor: Successor,
}

impl Ask {
    /// The request as a lease entry, for the lease with the id `group`.
    pub fn entry(&self, group: heartbeat_common::wire::GroupId) -> LeaseEntry {
        let micros = match self.operation {
            Operation::Release => self.successor.0,
            _ => u32::try_from(self.lease.as_micros()).unwrap_or(u32::MAX),
        };
        LeaseEntry {
            group: group.0,
            operation: self.operation as u8,
            vote: 0,
            micros,
            ballot: self.ballot.0,
        }
    }
}

/// The reason why an acceptor did not grant a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Obstacle<N = NodeId> {
    /// A lease of the node `owner`, which ends on the acceptor after `remaining`.
    Lease { owner: N, remaining: Duration },
    /// A lease that its owner has released. This node knows of the release, but the acceptor has
    /// not received the release yet.
    Unheard,
    /// A promise to the higher ballot `ballot` of the node `to`.
    Promise { to: N, ballot: Ballot },
    /// Too few acceptors granted the request in time.
    Silence,
}

impl Obstacle {
    /// Whether both obstacles are of one kind and about one node. Times and ballots may differ.
    pub fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Lease { owner, .. }, Self::Lease { owner: other, .. }) => owner == other,
            (Self::Promise { to, .. }, Self::Promise { to: other, .. }) => to == other,
            (one, other) => one == other,
        }
    }
}

impl<N> Obstacle<N> {
    /// Applies `name` to each node in the obstacle.
    pub(crate) fn named<M>(self, name: impl Fn(N) -> M) -> Obstacle<M> {
        match self {
            Self::Lease { owner, remaining } => Obstacle::Lease {
                owner: name(owner),
                remaining,
            },
            Self::Unheard => Obstacle::Unheard,
            Self::Promise { to, ballot } => Obstacle::Promise {
                to: name(to),
                ballot,
            },
            Self::Silence => Obstacle::Silence,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    /// Asks for promises.
    Preparing {
        ballot: Ballot,
        /// By acceptor: whether it has promised the lease to `ballot`.
        promised: Vec<bool>,
    },
    /// Asks for grants and renewals, after a majority has promised the lease.
    Holding {
        /// The first ballot of this claim.
        first: Ballot,
        ballot: Ballot,
        /// By acceptor: the time until which its vote counts. Time 0 means that there is no vote.
        until: Vec<Boottime>,
        /// Whether votes of a majority have come in for this claim. They may have ended since.
        owned: bool,
    },
    /// Releases the lease. This node counts no grant any more.
    Releasing {
        ballot: Ballot,
        successor: Successor,
        /// By acceptor: whether it has confirmed the release.
        freed: Vec<bool>,
    },
}

/// The acceptors whose votes count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MajorityConfig {
    /// By acceptor: whether its votes count.
    pub counts: Vec<bool>,
    /// The number of voters, including voters that this node cannot ask.
    pub voters: usize,
}

impl MajorityConfig {
    /// The configuration in which all acceptors count.
    pub fn of_all(acceptors: usize) -> Self {
        Self {
            counts: vec![true; acceptors],
            voters: acceptors,
        }
    }

    pub fn majority(&self) -> usize {
        self.voters / 2 + 1
    }

    /// The number of acceptors whose votes count and for which `holds` is true.
    fn count<T>(&self, of: &[T], holds: impl Fn(&T) -> bool) -> usize {
        let counting = of.iter().zip(&self.counts).filter(|(_, counts)| **counts);
        counting.filter(|(one, _)| holds(one)).count()
    }
}

/// This node's claim to one lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer {
    local: NodeId,
    majority_config: MajorityConfig,
    term: Term,
    /// The longer lease for a graceful restart, and the first ballot that requests it.
    restart_term: Option<(Ballot, Term)>,
    /// The highest round that this node used or received. The next ballot has a higher round.
    round: u64,
    /// The ballot of the last released lease that this node knows of.
    released: Ballot,
    /// By acceptor: whether its last answer refused the request of this phase.
    refused: Vec<bool>,
    phase: Phase,
}

impl Proposer {
    /// Creates an idle proposer. `round` must be higher than all rounds of earlier incarnations of
    /// this node.
    pub fn new(local: NodeId, majority_config: MajorityConfig, round: u64, term: Term) -> Self {
        Self {
            local,
            term,
            restart_term: None,
            round,
            released: Ballot::default(),
            refused: vec![false; majority_config.counts.len()],
            majority_config,
            phase: Phase::Idle,
        }
    }

    pub fn majority(&self) -> usize {
        self.majority_config.majority()
    }

    /// Changes the set of acceptors whose votes count. Votes that were counted before stay.
    pub fn set_majority_config(&mut self, majority_config: MajorityConfig) {
        self.majority_config = majority_config;
    }

    /// Renumbers the acceptors: the acceptor with the new acceptor index *i* had the index
    /// `former[i]`, or is new if this is `None`.
    pub fn renumber_acceptors(
        &mut self,
        former: &[Option<AcceptorIndex>],
        majority_config: MajorityConfig,
    ) {
        fn moved<T: Copy + Default>(of: &mut Vec<T>, former: &[Option<AcceptorIndex>]) {
            let one =
                |index: &Option<AcceptorIndex>| index.and_then(|index| of.get(index.0).copied());
            *of = former
                .iter()
                .map(|index| one(index).unwrap_or_default())
                .collect();
        }
        moved(&mut self.refused, former);
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Preparing { promised, .. } => moved(promised, former),
            Phase::Holding { until, .. } => moved(until, former),
            Phase::Releasing { freed, .. } => moved(freed, former),
        }
        self.set_majority_config(majority_config);
    }

    /// The highest round that was used or seen.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Records a ballot that is in use, so that the next claim goes beyond it.
    pub fn saw(&mut self, ballot: Ballot) {
        self.round = self.round.max(ballot.round());
    }

    /// Records that the lease with this ballot was released. Returns false if this node already
    /// knew of this release.
    ///
    /// An acceptor that still refuses because of this lease has not received the release yet. Such
    /// a refusal must count as a missing answer, and never as a grant.
    pub fn heard_release(&mut self, ballot: Ballot) -> bool {
        let new = self.released != ballot;
        if new {
            self.released = ballot;
            self.refused.fill(false);
        }
        new
    }

    /// Whether `ballot` belongs to a released lease. A release also ends all leases that its node
    /// had under lower ballots.
    fn is_released(&self, ballot: Ballot) -> bool {
        ballot.node() == self.released.node() && ballot <= self.released
    }

    /// Begins a new claim with a ballot higher than all ballots that this node used or received.
    /// Returns `None` if there is no such ballot.
    pub fn prepare(&mut self) -> Option<Ballot> {
        let ballot = self.next_ballot()?;
        self.enter(Phase::Preparing {
            ballot,
            promised: vec![false; self.refused.len()],
        });
        Some(ballot)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.restart_term = None;
        self.refused.fill(false);
    }

    fn next_ballot(&mut self) -> Option<Ballot> {
        if self.round >= Ballot::MAX_ROUND {
            return None;
        }
        self.round += 1;
        Some(Ballot::new(self.round, self.local))
    }

    /// Gives up the claim without a message to the acceptors: their grants run out.
    pub fn abandon(&mut self) {
        self.enter(Phase::Idle);
    }

    /// Releases the lease for `successor`. A claim that is still preparing ends without a message.
    /// The caller must have stopped serving.
    pub fn release(&mut self, successor: Successor) {
        self.enter(match self.phase {
            Phase::Holding { ballot, .. } => Phase::Releasing {
                ballot,
                successor,
                freed: vec![false; self.refused.len()],
            },
            _ => Phase::Idle,
        });
    }

    /// If this node holds the lease, requests the length `term` from now on, so that the next agent
    /// of this node can go on with the lease. The new ballot distinguishes votes for the longer
    /// lease from votes for a shorter one that are still on their way.
    pub fn prepare_restart(&mut self, term: Term) {
        if matches!(self.phase, Phase::Holding { owned: true, .. })
            && let Some(higher) = self.next_ballot()
            && let Phase::Holding { ballot, .. } = &mut self.phase
        {
            *ballot = higher;
            self.restart_term = Some((higher, term));
        }
    }

    /// The request that every acceptor gets now, if there is one.
    pub fn ask(&self) -> Option<Ask> {
        let lease = self.restart_term.map_or(self.term, |(_, term)| term).asked;
        let ask = |operation, ballot, successor| {
            Some(Ask {
                operation,
                ballot,
                lease,
                successor,
            })
        };
        let nobody = Successor::default();
        match &self.phase {
            Phase::Idle => None,
            Phase::Preparing { ballot, .. } => ask(Operation::Prepare, *ballot, nobody),
            Phase::Holding {
                ballot,
                owned: false,
                ..
            } => ask(Operation::Accept, *ballot, nobody),
            Phase::Holding { ballot, .. } => ask(Operation::Renew, *ballot, nobody),
            Phase::Releasing {
                ballot, successor, ..
            } => ask(Operation::Release, *ballot, *successor),
        }
    }

    /// Counts the vote of `acceptor` on a request in the probe that left at `left`.
    ///
    /// Returns the obstacle if the acceptor refused the current request of this claim.
    pub fn count(
        &mut self,
        acceptor: AcceptorIndex,
        vote: &LeaseEntry,
        left: Boottime,
    ) -> Option<Obstacle> {
        let operation = Operation::from_wire(vote.operation)?;
        let answered = Ballot(vote.ballot);
        match Vote::from_wire(vote.vote) {
            Vote::Abstains => None,
            Vote::Refused => {
                self.saw(answered);
                self.meet(acceptor, operation, answered, vote.micros)
            }
            Vote::Granted => {
                self.granted(acceptor, operation, vote, left);
                if let Some(refused) = self.refused.get_mut(acceptor.0) {
                    *refused = false;
                }
                None
            }
        }
    }

    fn granted(
        &mut self,
        acceptor: AcceptorIndex,
        operation: Operation,
        vote: &LeaseEntry,
        left: Boottime,
    ) {
        let answered = Ballot(vote.ballot);
        let majority = self.majority();
        let majority_config = &self.majority_config;
        let term = match self.restart_term {
            Some((from, term)) if answered >= from => term,
            _ => self.term,
        };
        match &mut self.phase {
            Phase::Preparing { ballot, promised }
                if operation == Operation::Prepare && answered == *ballot =>
            {
                if let Some(promised) = promised.get_mut(acceptor.0) {
                    *promised = true;
                }
                if majority_config.count(promised, |promised| *promised) >= majority {
                    let ballot = *ballot;
                    self.enter(Phase::Holding {
                        first: ballot,
                        ballot,
                        until: vec![Boottime::default(); self.refused.len()],
                        owned: false,
                    });
                }
            }
            // A vote for a lower ballot of the same claim counts too. A vote for a ballot of an
            // earlier claim must not count: this node may have released the lease since. A vote for
            // a lease shorter than `term` must not count either: the acceptor may grant the slot to
            // another node before the end that this node would count.
            Phase::Holding {
                first,
                ballot,
                until,
                owned,
            } if matches!(operation, Operation::Accept | Operation::Renew)
                && (*first..=*ballot).contains(&answered)
                && term.is_met_by(vote.micros) =>
            {
                // docs/design/leases.md#rule-1: a vote counts from the departure of its probe, and
                // for less than the acceptor grants.
                debug_assert!(term.counted <= term.asked);
                let end = left.after(term.counted);
                if let Some(until) = until.get_mut(acceptor.0) {
                    *until = end.max(*until);
                }
                *owned |= majority_config.count(until, |end| end.as_nanos() > 0) >= majority;
            }
            Phase::Releasing { ballot, freed, .. }
                if operation == Operation::Release && answered == *ballot =>
            {
                if let Some(freed) = freed.get_mut(acceptor.0) {
                    *freed = true;
                }
                if freed.iter().all(|freed| *freed) {
                    self.enter(Phase::Idle);
                }
            }
            _ => {}
        }
    }

    /// Handles a refusal by `acceptor`, whose answer has the ballot `answered`. `micros` is the
    /// rest of the obstructing lease, or 0 if a promise obstructs. Returns the obstacle if the
    /// refusal is about the current request.
    fn meet(
        &mut self,
        acceptor: AcceptorIndex,
        operation: Operation,
        answered: Ballot,
        micros: u32,
    ) -> Option<Obstacle> {
        let asked = self.ask()?;
        let same_step = matches!(
            (asked.operation, operation),
            (Operation::Prepare, Operation::Prepare)
                | (
                    Operation::Accept | Operation::Renew,
                    Operation::Accept | Operation::Renew
                )
        );
        if !same_step {
            return None;
        }
        if micros == 0 && answered <= asked.ballot {
            return None;
        }
        if micros > 0 && self.is_released(answered) {
            return Some(Obstacle::Unheard);
        }
        if let Some(refused) = self.refused.get_mut(acceptor.0) {
            *refused = true;
        }
        if micros > 0 {
            return Some(Obstacle::Lease {
                owner: answered.node(),
                remaining: Duration::from_micros(micros.into()),
            });
        }
        // An acceptor that has no record of this node's lease has made a promise to another node. A
        // higher ballot makes the acceptor vote for this claim again. The other node gets no
        // majority meanwhile: the acceptors that granted this node's lease refuse the other node.
        if matches!(self.phase, Phase::Holding { owned: true, .. })
            && let Some(higher) = self.next_ballot()
            && let Phase::Holding { ballot, .. } = &mut self.phase
        {
            *ballot = higher;
        }
        Some(Obstacle::Promise {
            to: answered.node(),
            ballot: answered,
        })
    }

    /// Whether any acceptor refuses the request of this phase.
    pub fn is_contested(&self) -> bool {
        self.refused.contains(&true)
    }

    /// Whether so many acceptors refuse that the rest is no majority of the voters.
    pub fn is_hopeless(&self) -> bool {
        self.majority_config
            .count(&self.refused, |refused| !refused)
            < self.majority()
    }

    /// The end of the lease, or time 0 if no majority granted the lease. Until this end, this node
    /// is the only owner.
    pub fn lease_end(&self) -> Boottime {
        self.lease_end_by(&self.majority_config)
    }

    /// The end of the lease under another majority configuration.
    pub fn lease_end_by(&self, majority_config: &MajorityConfig) -> Boottime {
        let Phase::Holding { until, .. } = &self.phase else {
            return Boottime::default();
        };
        // The pulse must not allocate in the steady state. In a cluster of up to `FEW` nodes the
        // array is large enough.
        let mut few = [Boottime::default(); FEW];
        let mut many;
        let ends = match few.get_mut(..until.len()) {
            Some(few) => few,
            None => {
                many = vec![Boottime::default(); until.len()];
                &mut many[..]
            }
        };
        let mut count = 0;
        for (end, _) in until
            .iter()
            .zip(&majority_config.counts)
            .filter(|(_, counts)| **counts)
        {
            ends[count] = *end;
            count += 1;
        }
        let Some(behind) = count.checked_sub(majority_config.majority()) else {
            return Boottime::default();
        };
        let (_, end, _) = ends[..count].select_nth_unstable(behind);
        *end
    }

    /// Whether the vote of `acceptor` counts at `now`.
    pub fn has_vote_of(&self, acceptor: AcceptorIndex, now: Boottime) -> bool {
        match &self.phase {
            Phase::Holding { until, .. } => until.get(acceptor.0).is_some_and(|until| *until > now),
            _ => false,
        }
    }

    /// The number of acceptors whose votes count and have not ended at `now`.
    pub fn votes(&self, now: Boottime) -> usize {
        match &self.phase {
            Phase::Holding { until, .. } => self.majority_config.count(until, |until| *until > now),
            _ => 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    pub fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing { .. })
    }

    pub fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. })
    }

    pub fn is_releasing(&self) -> bool {
        matches!(self.phase, Phase::Releasing { .. })
    }
}
