//! The possible next events in the model, and the forbidden states.

use std::time::Duration;

use heartbeat_common::{
    lease::{Answer, Ballot, Operation, Request, Slot},
    renewal::{ClaimTag, GroupRow, Outcome, RepeatedVote, TaggedEnd},
    time::Boottime,
};
use stateright::{Model, Property};

use crate::state::{
    Acceptor, Ask, Echo, OWNERS, Owner, Pulse, Rates, Released, Run, State, VOTERS, VoteRow,
    claimed, granted, id, request,
};

/// A rule of the renewal that the model breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A vote counts from the arrival of the probe that repeats it.
    CountsFromArrival,
    /// The owner does not compare the life in a vote with its own.
    CountsOtherLives,
    /// A voter keeps the vote with the latest asking time, of whatever life.
    KeepsOtherLives,
    /// The kernel writes the pulse's word: it opens what it found open.
    KernelWritesPermit,
    /// A voter combines the time of one ask with its vote on another.
    TornVote,
    /// The kernel asks and counts for a claim whose ends have passed.
    RevivesLapsedClaims,
    /// A raise of the ballot begins a new tag, also after a withdrawal.
    RaiseChangesTag,
    /// The owner counts a vote for the lease that it asks for now.
    CountsOwnLength,
    /// A restarted acceptor does not abstain.
    VotesAtOnce,
    /// New programs copy the slots while the old ones vote.
    CopiesBeforeTheOldEnd,
    /// A refusal withdraws nothing.
    RefusalsDoNotWithdraw,
    /// A refusal of a lower ballot counts.
    CountsRefusalsOfLowerBallots,
    /// A refusal counts although a newer grant has arrived.
    CountsOldRefusals,
    /// An acceptor that abstains counts as one that refuses.
    CountsAbstentions,
    /// A new agent claims without taking over the row that the kernel renews.
    IgnoresTheRow,
    /// The pulse asks under a higher ballot before the kernel does.
    ProbesBeforeTheRaise,
    /// The lease is released while the guard is open.
    ReleasesBeforeClosing,
}

/// The bounds of the exploration, which is complete within them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rates: &'static [Rates],
    pub(crate) ticks: u64,
    /// The greatest number of claims of each owner.
    pub(crate) claims: [u8; OWNERS],
    /// Whose kernels ask. Another owner serves until its first lease ends.
    pub(crate) asks: [bool; OWNERS],
    /// The number of asks, and of votes, that may be delayed. Each may arrive at any later time,
    /// also several times.
    pub(crate) late_asks: usize,
    pub(crate) late_votes: usize,
    pub(crate) releases: bool,
    /// Whether the length of the lease may double, by a reload.
    pub(crate) lengthens: bool,
    pub(crate) raises: u8,
    /// Whether the pulse asks, too.
    pub(crate) pulse_asks: bool,
    /// The number of requests that single acceptors receive from candidates that get no majority.
    pub(crate) prepares: u8,
    pub(crate) preempted: u8,
    pub(crate) agent_restarts: u8,
    pub(crate) acceptor_restarts: u8,
    pub(crate) reboots: u8,
    /// Whether a rebooted node uses its ballots again, as one whose state is lost may.
    pub(crate) ballots_repeat: bool,
    pub(crate) freezes: u8,
    pub(crate) upgrades: u8,
}

/// A state that must be reachable, or the bounds are too narrow to prove anything.
pub(crate) type Goal = (&'static str, fn(&Renewal, &State) -> bool);

#[derive(Clone, Debug)]
pub(crate) struct Renewal {
    pub(crate) bounds: Bounds,
    pub(crate) goals: &'static [Goal],
    pub(crate) flaw: Option<Flaw>,
    pub(crate) lease: Duration,
    /// The share of a lease that counts, in parts per million.
    pub(crate) counted_ppm: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    /// A node prepares and gets the lease from these voters, by its pulse.
    Acquire {
        node: usize,
        voters: [bool; VOTERS],
    },
    /// A node gets the lease, and releases it before it has written its row.
    GiveUp {
        node: usize,
        voters: [bool; VOTERS],
    },
    /// A single acceptor receives a request of a candidate that gets no majority.
    Contend {
        node: usize,
        voter: usize,
        operation: Operation,
    },
    /// An acceptor receives the request of the owner's pulse, whose answer is lost.
    PulseAsk {
        node: usize,
        voter: usize,
    },
    Raise {
        node: usize,
    },
    Lengthen {
        node: usize,
    },
    Stop {
        node: usize,
    },
    Release {
        node: usize,
    },
    /// The pulse ends a claim that the kernel has withdrawn.
    Close {
        node: usize,
    },
    /// A release reaches an acceptor.
    Free {
        release: usize,
        voter: usize,
    },
    /// The owner's kernel counts its own vote.
    OwnVote {
        node: usize,
    },
    /// A reply with an ask reaches a voter at once, or is delayed.
    Ask {
        node: usize,
        voter: usize,
        late: bool,
    },
    /// A delayed ask arrives, or a copy of it.
    AskArrives(usize),
    /// A probe with a vote reaches the owner at once, is delayed, or is worked off slowly.
    Probe {
        node: usize,
        voter: usize,
        fate: Fate,
    },
    VoteArrives(usize),
    /// The kernel stores the result of a slow run.
    FinishRun {
        node: usize,
    },
    RestartAgent {
        node: usize,
    },
    RestartAcceptor {
        voter: usize,
    },
    Reboot {
        node: usize,
    },
    Freeze {
        node: usize,
    },
    Thaw {
        node: usize,
    },
    CopySlots {
        voter: usize,
    },
    UseCopy {
        voter: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Counted,
    Late,
    Preempted,
}

impl Renewal {
    pub(crate) const ONE_OWNER: &'static str = "one owner at most";
    pub(crate) const ENDED_IS_ENDED: &'static str =
        "a claim that has lapsed, or was withdrawn, never serves again";
    pub(crate) const RIGHTFUL: &'static str =
        "a guard closes early only where a majority can no longer grant";
    pub(crate) const CLOSES_BY_REFUSALS: &'static str =
        "an owner that all acceptors of its successor have refused is closed";
    pub(crate) const NEWEST: &'static str = "no refusal counts against a newer grant";

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn max_lease(&self) -> Duration {
        self.lease * if self.bounds.lengthens { 2 } else { 1 }
    }

    /// The answer of the acceptor of `voter`. `None` if it abstains.
    fn decide(&self, state: &mut State, voter: usize, request: &Request) -> Option<Answer> {
        let ending = state.acceptors[voter].copied.is_some();
        if ending && !self.has(Flaw::CopiesBeforeTheOldEnd) {
            return None;
        }
        state.decide(voter, request)
    }

    /// Gets the lease from exactly `voters`. `None` if one of them does not grant it.
    fn accepts(
        &self,
        state: &mut State,
        node: usize,
        voters: [bool; VOTERS],
    ) -> Option<(ClaimTag, Ballot)> {
        state.round += 1;
        let ballot = Ballot::new(state.round, id(node));
        let micros = state.owners[node].lease_micros;
        for voter in (0..VOTERS).filter(|voter| voters[*voter]) {
            for operation in [Operation::Prepare, Operation::Accept] {
                let request = request(operation, ballot, micros);
                let answer = self.decide(state, voter, &request)?;
                if !granted(&answer) {
                    return None;
                }
            }
        }
        state.owners[node].claims += 1;
        Some((ClaimTag::of(ballot)?, ballot))
    }

    fn acquire(&self, state: &mut State, node: usize, voters: [bool; VOTERS]) -> Option<()> {
        let (tag, ballot) = self.accepts(state, node, voters)?;
        let now = state.now(node);
        let owner = &mut state.owners[node];
        let nanos = u64::from(owner.lease_micros) * u64::from(self.counted_ppm) / 1_000;
        claimed(
            &mut owner.row,
            tag,
            ballot,
            now.after(Duration::from_nanos(nanos)),
        );
        owner.pulse = Pulse::Serving;
        forget_history(owner);
        Some(())
    }

    fn give_up(&self, state: &mut State, node: usize, voters: [bool; VOTERS]) -> Option<()> {
        let (_, ballot) = self.accepts(state, node, voters)?;
        state.releases.push(Released { from: node, ballot });
        Some(())
    }

    fn raise(&self, state: &mut State, node: usize) -> Option<()> {
        state.faults.raises += 1;
        state.round += 1;
        let ballot = Ballot::new(state.round, id(node));
        let owner = &mut state.owners[node];
        owner.row.asking = ballot.0;
        owner.refused_by = 0;
        if self.has(Flaw::RaiseChangesTag) {
            let tag = ClaimTag::of(ballot)?;
            let old = ClaimTag::of(Ballot(owner.row.first))?;
            owner.row.until = TaggedEnd::new(tag, owner.row.end_of(old));
            owner.row.first = ballot.0;
            owner.row.permit = tag.to_word();
        }
        Some(())
    }

    fn release(&self, state: &mut State, node: usize) {
        let owner = &mut state.owners[node];
        let ballot = Ballot(owner.row.asking);
        owner.row.asking = 0;
        owner.pulse = Pulse::Idle;
        state.releases.push(Released { from: node, ballot });
    }

    /// The ask that a reply of `node` carries now.
    fn ask(&self, state: &mut State, node: usize) -> Option<Ask> {
        let claim = state.claim(node, self.has(Flaw::RevivesLapsedClaims))?;
        let owner = &state.owners[node];
        Some(Ask {
            from: node,
            life: owner.life,
            ballot: claim.asking,
            lease_micros: owner.lease_micros,
            asked_at: state.now(node),
            after_freeze: owner.was_frozen,
        })
    }

    /// The voter decides, and remembers its vote.
    fn ask_arrives(&self, state: &mut State, voter: usize, ask: Ask) -> Option<()> {
        let request = request(Operation::Renew, ask.ballot, ask.lease_micros);
        let answer = self.decide(state, voter, &request);
        if answer.is_none() && !self.has(Flaw::CountsAbstentions) {
            return None;
        }
        let vote = answer.is_some_and(|answer| granted(&answer));
        let owner = &mut state.owners[ask.from];
        let current = owner.row.asking == ask.ballot.0 && owner.life == ask.life;
        // An own promise to a higher ballot of the claim is no reason to end it.
        let by_another = answer.is_some_and(|answer| {
            !granted(&answer) && Ballot(answer.ballot).node() != id(ask.from)
        });
        if current && by_another {
            owner.refused_by |= 1 << voter;
        }
        let row = &mut state.acceptors[voter].rows[ask.from];
        if let Some(old) = row
            && (old.vote.life == ask.life || self.has(Flaw::KeepsOtherLives))
        {
            let order = |vote: &RepeatedVote| (vote.asked_at, vote.ballot);
            if order(&old.vote) >= (ask.asked_at, ask.ballot) {
                return Some(());
            }
            if self.has(Flaw::TornVote) && !vote {
                old.vote.asked_at = ask.asked_at;
                return Some(());
            }
        }
        *row = Some(VoteRow {
            vote: RepeatedVote {
                life: ask.life,
                ballot: ask.ballot,
                asked_at: ask.asked_at,
                lease_micros: ask.lease_micros,
                granted: vote,
            },
            after_freeze: ask.after_freeze,
            before_former: row.is_some_and(|old| old.vote.asked_at > ask.asked_at),
        });
        Some(())
    }

    fn own_vote(&self, state: &mut State, node: usize) -> Option<()> {
        let Some(ask) = self.ask(state, node) else {
            return Some(());
        };
        self.ask_arrives(state, node, ask)?;
        let row = state.acceptors[node].rows[node]?;
        let own = Echo {
            to: node,
            voter: node,
            row,
        };
        self.vote_arrives(state, own);
        Some(())
    }

    fn vote_arrives(&self, state: &mut State, echo: Echo) {
        let row = state.owners[echo.to].row;
        let now = state.now(echo.to);
        let outcome = self.count(state, echo, &row, now);
        self.store(state, echo.to, &row, outcome);
    }

    /// The kernel's run up to its result.
    fn count(&self, state: &mut State, echo: Echo, row: &GroupRow, now: Boottime) -> Outcome {
        let mut by = state.counting(echo.to, self.counted_ppm);
        let Echo {
            to,
            voter,
            row: said,
        } = echo;
        let owner = &mut state.owners[to];
        let lives = matches!(row.asking_at(now), Ok(Some(_)));
        if lives && said.vote.life == owner.life && said.vote.ballot >= Ballot(owner.row.first) {
            let newest = &mut owner.newest[voter];
            if newest.is_none_or(|newest| newest.vote.asked_at < said.vote.asked_at) {
                *newest = Some(said);
            }
        }
        let (mut vote, mut words) = (said.vote, *row);
        if self.has(Flaw::CountsOtherLives) {
            by.life = vote.life;
        }
        if self.has(Flaw::CountsFromArrival) {
            vote.asked_at = now;
        }
        if self.has(Flaw::CountsOwnLength) {
            vote.lease_micros = owner.lease_micros;
        }
        if self.has(Flaw::RefusalsDoNotWithdraw) && !vote.granted {
            return Outcome::Ignored;
        }
        if self.has(Flaw::CountsRefusalsOfLowerBallots) && !vote.granted {
            vote.ballot = Ballot(row.asking);
        }
        if self.has(Flaw::CountsOldRefusals) && !vote.granted {
            owner.counts.votes[voter].asked_at = 0;
        }
        if self.has(Flaw::RevivesLapsedClaims)
            && let Some(tag) = ClaimTag::of(Ballot(row.first))
            && row.end_of(tag) <= now
        {
            words.until = TaggedEnd::new(tag, now.after(Duration::from_micros(1)));
        }
        owner
            .counts
            .count(&words, &by, (voter, id(voter)), &vote, now)
    }

    fn store(&self, state: &mut State, node: usize, read: &GroupRow, outcome: Outcome) {
        let now = state.now(node);
        let owner = &mut state.owners[node];
        match outcome {
            Outcome::Ignored => {}
            Outcome::Renewed(end) => {
                owner.row.renewed = end;
                if self.has(Flaw::KernelWritesPermit) {
                    owner.row.permit = read.permit;
                }
            }
            Outcome::Withdrawn(tag) => {
                owner.row.withdrawn = tag.to_word();
                owner.ended = true;
                let lapsed = read.end_of(tag) <= now;
                owner.wronged |= owner.row.asking == read.asking && !lapsed && !has_reason(owner);
            }
        }
    }
    fn probe(&self, state: &mut State, node: usize, voter: usize, fate: Fate) -> Option<()> {
        let row = state.acceptors[voter].rows[node]?;
        let echo = Echo {
            to: node,
            voter,
            row,
        };
        match fate {
            Fate::Counted => self.vote_arrives(state, echo),
            Fate::Late => state.late_votes.push(echo),
            Fate::Preempted => {
                state.faults.preempted += 1;
                let now = state.now(node);
                let owner = &mut state.owners[node];
                owner.run = Some(Run {
                    row: owner.row,
                    echo,
                    now,
                });
            }
        }
        Some(())
    }

    fn restart_agent(&self, state: &mut State, node: usize) {
        state.faults.agent_restarts += 1;
        let owner = &mut state.owners[node];
        owner.pulse = if self.has(Flaw::IgnoresTheRow) {
            Pulse::Idle
        } else if owner.row.asking == 0 || owner.row.withdrawn == owner.row.permit {
            // It cannot take the row over, and closes it.
            owner.row.permit = 0;
            owner.row.asking = 0;
            Pulse::Idle
        } else if owner.row.permit == 0 {
            Pulse::Stopping
        } else {
            Pulse::Serving
        };
    }

    fn reboot(&self, state: &mut State, node: usize) {
        state.faults.reboots += 1;
        state.reboot_clock(node);
        let max_lease = self.max_lease();
        let votes_from = state.now(node).after(max_lease);
        if self.bounds.ballots_repeat {
            state.round = 0;
        }
        let owner = &mut state.owners[node];
        *owner = Owner {
            life: owner.life + 1,
            lease_micros: owner.lease_micros,
            claims: owner.claims,
            ..Owner::default()
        };
        state.acceptors[node] = Acceptor {
            votes_from,
            ..Acceptor::default()
        };
    }

    fn restart_acceptor(&self, state: &mut State, voter: usize) {
        state.faults.acceptor_restarts += 1;
        let votes_from = if self.has(Flaw::VotesAtOnce) {
            Boottime::default()
        } else {
            state.now(voter).after(self.max_lease())
        };
        state.acceptors[voter] = Acceptor {
            votes_from,
            ..Acceptor::default()
        };
    }

    fn pulse_acts(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let owner = &state.owners[node];
        let bounds = &self.bounds;
        match owner.pulse {
            Pulse::Idle if owner.claims < bounds.claims[node] => {
                for voters in majorities() {
                    actions.push(Action::Acquire { node, voters });
                    if bounds.releases {
                        actions.push(Action::GiveUp { node, voters });
                    }
                }
            }
            Pulse::Idle => {}
            _ if owner.row.asking != 0
                && ClaimTag::of(Ballot(owner.row.first))
                    .is_some_and(|tag| tag.to_word() == owner.row.withdrawn) =>
            {
                actions.push(Action::Close { node });
                // The pulse may raise the ballot before it reads the word.
                if state.faults.raises < bounds.raises {
                    actions.push(Action::Raise { node });
                }
            }
            Pulse::Serving => {
                if bounds.pulse_asks {
                    actions.extend((0..VOTERS).map(|voter| Action::PulseAsk { node, voter }));
                }
                if state.faults.raises < bounds.raises {
                    actions.push(Action::Raise { node });
                }
                if bounds.releases {
                    actions.push(Action::Stop { node });
                }
                if self.has(Flaw::ReleasesBeforeClosing) {
                    actions.push(Action::Release { node });
                }
            }
            Pulse::Stopping => actions.push(Action::Release { node }),
        }
        let usual = self.lease.as_micros() as u32;
        if bounds.lengthens && owner.pulse == Pulse::Serving && owner.lease_micros == usual {
            actions.push(Action::Lengthen { node });
        }
        if state.faults.agent_restarts < bounds.agent_restarts && owner.claims > 0 {
            actions.push(Action::RestartAgent { node });
        }
        if state.faults.prepares < bounds.prepares && owner.pulse == Pulse::Idle {
            for operation in [Operation::Prepare, Operation::Accept] {
                actions.extend((0..VOTERS).map(|voter| Action::Contend {
                    node,
                    voter,
                    operation,
                }));
            }
        }
    }

    fn kernel_acts(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let owner = &state.owners[node];
        let bounds = &self.bounds;
        if owner.run.is_some() {
            actions.push(Action::FinishRun { node });
        }
        if owner.row.asking != 0 && bounds.asks[node] {
            actions.push(Action::OwnVote { node });
            for voter in (0..VOTERS).filter(|voter| *voter != node) {
                actions.push(Action::Ask {
                    node,
                    voter,
                    late: false,
                });
                if state.late_asks.len() < bounds.late_asks {
                    actions.push(Action::Ask {
                        node,
                        voter,
                        late: true,
                    });
                }
            }
        }
        for voter in (0..VOTERS).filter(|voter| *voter != node) {
            let Some(_) = state.acceptors[voter].rows[node] else {
                continue;
            };
            let mut push = |fate| actions.push(Action::Probe { node, voter, fate });
            if owner.run.is_none() {
                push(Fate::Counted);
                if state.faults.preempted < bounds.preempted {
                    push(Fate::Preempted);
                }
            }
            if state.late_votes.len() < bounds.late_votes {
                push(Fate::Late);
            }
        }
        if state.faults.freezes < bounds.freezes && owner.pulse == Pulse::Serving {
            actions.push(Action::Freeze { node });
        }
        if state.faults.reboots < bounds.reboots && owner.claims > 0 {
            actions.push(Action::Reboot { node });
        }
    }

    fn voter_acts(&self, state: &State, voter: usize, actions: &mut Vec<Action>) {
        let acceptor = &state.acceptors[voter];
        if acceptor.slot == Slot::default() {
            return;
        }
        if state.faults.acceptor_restarts < self.bounds.acceptor_restarts {
            actions.push(Action::RestartAcceptor { voter });
        }
        if acceptor.copied.is_some() {
            actions.push(Action::UseCopy { voter });
        } else if state.faults.upgrades < self.bounds.upgrades {
            actions.push(Action::CopySlots { voter });
        }
    }
}

fn forget_history(owner: &mut Owner) {
    owner.refused_by = 0;
    owner.ended = false;
    owner.was_frozen = false;
    owner.newest = Default::default();
}

/// The smallest majorities.
fn majorities() -> impl Iterator<Item = [bool; VOTERS]> {
    (0..1_u8 << VOTERS)
        .filter(|set| set.count_ones() as usize == VOTERS / 2 + 1)
        .map(|set| std::array::from_fn(|voter| set >> voter & 1 == 1))
}

impl Model for Renewal {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let rates = self.bounds.rates.iter();
        rates.map(|rates| State::new(*rates, self.lease)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let begun = state.owners.iter().any(|owner| owner.claims > 0);
        if begun && state.ticks < self.bounds.ticks {
            actions.push(Action::Tick);
        }
        for node in 0..OWNERS {
            if state.owners[node].frozen {
                actions.push(Action::Thaw { node });
                continue;
            }
            self.pulse_acts(state, node, actions);
            self.kernel_acts(state, node, actions);
        }
        for (index, echo) in state.late_votes.iter().enumerate() {
            if !state.owners[echo.to].frozen && state.owners[echo.to].run.is_none() {
                actions.push(Action::VoteArrives(index));
            }
        }
        for voter in 0..VOTERS {
            if state.owners.get(voter).is_some_and(|owner| owner.frozen) {
                continue;
            }
            self.voter_acts(state, voter, actions);
            for (index, (to, _)) in state.late_asks.iter().enumerate() {
                if *to == voter {
                    actions.push(Action::AskArrives(index));
                }
            }
            let releases = 0..state.releases.len();
            actions.extend(releases.map(|release| Action::Free { release, voter }));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let frozen = |voter: usize| last.owners.get(voter).is_some_and(|owner| owner.frozen);
        match action {
            Action::Tick => state.tick(),
            Action::Acquire { node, voters } | Action::GiveUp { node, voters }
                if (0..VOTERS).any(|voter| voters[voter] && frozen(voter)) =>
            {
                let _ = node;
                return None;
            }
            Action::Acquire { node, voters } => self.acquire(&mut state, node, voters)?,
            Action::GiveUp { node, voters } => self.give_up(&mut state, node, voters)?,
            Action::Contend { voter, .. }
            | Action::Ask { voter, .. }
            | Action::PulseAsk { voter, .. }
                if frozen(voter) =>
            {
                return None;
            }
            Action::Contend {
                node,
                voter,
                operation,
            } => {
                state.faults.prepares += 1;
                state.round += 1;
                let ballot = Ballot::new(state.round, id(node));
                let micros = state.owners[node].lease_micros;
                self.decide(&mut state, voter, &request(operation, ballot, micros))?;
            }
            Action::PulseAsk { node, voter } => {
                let owner = &state.owners[node];
                let ballot = if self.has(Flaw::ProbesBeforeTheRaise) {
                    Ballot::new(state.round + 1, id(node))
                } else {
                    Ballot(owner.row.asking)
                };
                let request = request(Operation::Renew, ballot, owner.lease_micros);
                self.decide(&mut state, voter, &request)?;
            }
            Action::Raise { node } => self.raise(&mut state, node)?,
            Action::Lengthen { node } => state.owners[node].lease_micros *= 2,
            Action::Stop { node } => {
                state.owners[node].row.permit = 0;
                state.owners[node].pulse = Pulse::Stopping;
            }
            Action::Release { node } => self.release(&mut state, node),
            Action::Close { node } => {
                let owner = &mut state.owners[node];
                (owner.row.permit, owner.row.asking) = (0, 0);
                owner.pulse = Pulse::Idle;
            }
            Action::Free { release, voter } => {
                let Released { ballot, .. } = state.releases[release];
                self.decide(&mut state, voter, &request(Operation::Release, ballot, 0))?;
            }
            Action::OwnVote { node } => {
                if state.owners[node].run.is_some() {
                    return None;
                }
                self.own_vote(&mut state, node)?;
            }
            Action::Ask { node, voter, late } => {
                let ask = self.ask(&mut state, node);
                match ask {
                    Some(ask) if late => state.late_asks.push((voter, ask)),
                    Some(ask) => self.ask_arrives(&mut state, voter, ask)?,
                    None => {}
                }
            }
            Action::AskArrives(index) => {
                let (voter, ask) = state.late_asks[index];
                self.ask_arrives(&mut state, voter, ask)?;
            }
            Action::Probe { node, voter, fate } => self.probe(&mut state, node, voter, fate)?,
            Action::VoteArrives(index) => {
                let echo = state.late_votes[index];
                self.vote_arrives(&mut state, echo);
            }
            Action::FinishRun { node } => {
                let run = state.owners[node].run.take()?;
                let outcome = self.count(&mut state, run.echo, &run.row, run.now);
                self.store(&mut state, node, &run.row, outcome);
                state.note_lapse(node);
            }
            Action::RestartAgent { node } => self.restart_agent(&mut state, node),
            Action::RestartAcceptor { voter } => self.restart_acceptor(&mut state, voter),
            Action::Reboot { node } => self.reboot(&mut state, node),
            Action::Freeze { node } => {
                state.faults.freezes += 1;
                state.owners[node].frozen = true;
            }
            Action::Thaw { node } => {
                state.owners[node].frozen = false;
                state.owners[node].was_frozen = true;
                // No two asks have one time.
                state.clocks[node] += 1;
            }
            Action::CopySlots { voter } => {
                state.faults.upgrades += 1;
                let acceptor = &mut state.acceptors[voter];
                acceptor.copied = Some(acceptor.slot);
            }
            Action::UseCopy { voter } => {
                let acceptor = &mut state.acceptors[voter];
                acceptor.slot = acceptor.copied.take()?;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let rules = [
            Property::always(Self::ONE_OWNER, |_: &Self, state: &State| {
                state
                    .owners
                    .iter()
                    .any(|owner| owner.frozen || owner.was_frozen)
                    || (0..OWNERS).filter(|node| state.is_open(*node)).count() <= 1
            }),
            Property::always(Self::ENDED_IS_ENDED, |_: &Self, state: &State| {
                (0..OWNERS).all(|node| {
                    let owner = &state.owners[node];
                    let lapsed = owner.lapsed != 0 && owner.row.permit == owner.lapsed;
                    !(lapsed || owner.ended) || !state.is_open(node)
                })
            }),
            Property::always(Self::RIGHTFUL, |_: &Self, state: &State| {
                !state.owners.iter().any(|owner| owner.wronged)
            }),
            Property::always(Self::NEWEST, |_: &Self, state: &State| {
                state.owners.iter().all(|owner| {
                    let mut votes = owner.newest.iter().zip(&owner.counts.votes);
                    let tag = ClaimTag::of(Ballot(owner.row.first)).map(ClaimTag::to_word);
                    owner.counts.first != owner.row.first
                        || tag == Some(owner.row.withdrawn)
                        || votes.all(|(newest, counted)| {
                            counted.refused == 0
                                || newest.is_some_and(|newest| !newest.vote.granted)
                        })
                })
            }),
            Property::always(Self::CLOSES_BY_REFUSALS, |_: &Self, state: &State| {
                (0..OWNERS).all(|node| {
                    let successor = acceptors_of(state, 1 - node);
                    successor.len() <= VOTERS / 2
                        || !have_refused(&state.owners[node], &successor)
                        || !state.is_open(node)
                })
            }),
        ];
        let goals = self.goals.iter();
        let goals = goals.map(|(name, reached)| Property::sometimes(name, *reached));
        rules.into_iter().chain(goals).collect()
    }
}

/// Whether the claim has lapsed, or so many voters refuse its ballot that no majority is left, each
/// by the newest vote that has arrived.
fn has_reason(owner: &Owner) -> bool {
    let refused = |voter: &usize| owner.refused_by >> voter & 1 == 1;
    let arrived = |voter: &usize| owner.newest[*voter].is_some_and(|newest| !newest.vote.granted);
    let refusing = (0..VOTERS).filter(arrived).filter(refused).count();
    let tag = ClaimTag::of(Ballot(owner.row.first));
    VOTERS - refusing <= VOTERS / 2 || tag.is_some_and(|tag| tag.to_word() == owner.lapsed)
}

/// Whether all of `voters` have refused the ballot for which this owner asks, after its clock had
/// stood still, and nothing newer has arrived.
fn have_refused(owner: &Owner, voters: &[usize]) -> bool {
    voters.iter().all(|voter| {
        owner.newest[*voter].is_some_and(|newest| {
            let VoteRow {
                vote, after_freeze, ..
            } = newest;
            after_freeze && !vote.granted && vote.ballot.0 == owner.row.asking
        })
    })
}

/// The acceptors whose lease of `node` lasts.
fn acceptors_of(state: &State, node: usize) -> Vec<usize> {
    let owned = |voter: &usize| {
        state.acceptors[*voter].slot.live_owner(state.now(*voter)) == Some(id(node))
    };
    (0..VOTERS).filter(owned).collect()
}
