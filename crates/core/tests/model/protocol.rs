//! The possible next events in the model, and the forbidden past ones.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Operation, Slot, Vote},
    time::Boottime,
};
use heartbeat_core::{Timing, proposer::Term};
use stateright::{Model, Property};

use crate::state::{
    Acceptor, Answer, CANDIDATES, Candidate, Probe, Rates, State, VOTERS, asks_for_lease,
};

/// A rule of the protocol that the model breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A restarted acceptor does not abstain.
    VotesAtOnce,
    /// An owner counts from the arrival of the answer.
    CountsFromArrival,
    /// An owner counts on the whole lease, as if all clocks had the same rate.
    IgnoresDrift,
    /// An owner counts the grants of its earlier claims.
    CountsEarlierClaims,
    /// The guard stays open while the lease is released.
    ServesOn,
    /// A restarted agent uses the same ballots again.
    RepeatsBallots,
    /// A vote for the usual lease counts as one for the last, longer one.
    CountsShortAsLong,
    /// A refusal counts as a grant if it is because of a lease whose release the candidate has
    /// received, and the acceptor has not.
    CountsUnheardAsGranted,
    /// The own acceptor receives a release before the group has stopped.
    FreesOwnAcceptorFirst,
}

/// The bounds of the exploration, which is complete within them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Each set of rates is explored on its own.
    pub(crate) rates: &'static [Rates],
    /// The number of ticks. A lease lasts for two ticks on the fast acceptors, and slow owners
    /// count on two.
    pub(crate) ticks: u64,
    /// The greatest number of claims that each candidate begins.
    pub(crate) claims: [u8; CANDIDATES],
    pub(crate) releases: bool,
    /// The number of requests before the current one whose probes may still arrive, for each
    /// candidate.
    pub(crate) past_asks: usize,
    /// The number of delayed answers. Each may be counted at any later time, also several times.
    pub(crate) late_answers: usize,
    /// Whether other answers than these may get lost.
    pub(crate) lost_answers: bool,
    /// The greatest number of refusals that each candidate receives.
    pub(crate) refusals: u8,
    pub(crate) acceptor_restarts: u8,
    pub(crate) agent_restarts: u8,
    /// The number of owners that ask for a longer lease, as before a restart.
    pub(crate) restarts: u8,
    pub(crate) pauses: u8,
}

/// A state that must be reachable, or the bounds are too narrow to prove anything.
pub(crate) type Goal = (&'static str, fn(&Leases, &State) -> bool);

#[derive(Clone, Debug)]
pub(crate) struct Leases {
    bounds: Bounds,
    goals: &'static [Goal],
    flaw: Option<Flaw>,
    pub(crate) term: Term,
    /// The lease that is requested before a restart.
    restart_term: Term,
    /// The longest lease that acceptors grant.
    max_lease: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The answer comes back at once.
    Counted,
    Late,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    Claim {
        node: usize,
    },
    Release {
        node: usize,
    },
    /// A probe reaches an acceptor.
    Ask {
        acceptor: usize,
        probe: Probe,
        answer: Fate,
    },
    /// A late answer, or a copy of it, comes back.
    Count(Answer),
    Pause {
        node: usize,
    },
    Wake {
        node: usize,
    },
    RestartAcceptor {
        node: usize,
    },
    RestartAgent {
        node: usize,
    },
    GracefulRestart {
        node: usize,
    },
}

impl Leases {
    pub(crate) const ONE_OWNER: &'static str = "one owner at most";

    /// A model with the rates and the drift bound of `timing`.
    pub(crate) fn new(
        timing: &Timing,
        bounds: Bounds,
        goals: &'static [Goal],
        flaw: Option<Flaw>,
    ) -> Self {
        Self {
            bounds,
            goals,
            flaw,
            term: match flaw {
                Some(Flaw::IgnoresDrift) => Term {
                    asked: timing.lease,
                    counted: timing.lease,
                },
                _ => timing.term(timing.lease),
            },
            restart_term: timing.term(timing.lease * 2),
            max_lease: timing.lease * if bounds.restarts > 0 { 2 } else { 1 },
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn fates(&self, state: &State, received: bool) -> impl Iterator<Item = Fate> {
        let late = state.late.len() < self.bounds.late_answers;
        let lost = self.bounds.lost_answers;
        [
            (Fate::Counted, received),
            (Fate::Late, late),
            (Fate::Lost, lost),
        ]
        .into_iter()
        .filter_map(|(fate, possible)| possible.then_some(fate))
    }

    fn claim(&self, state: &mut State, node: usize) {
        let known = Ballot(state.acceptors[node].slot.promised);
        let candidate = state.candidate(node);
        if !self.has(Flaw::RepeatsBallots) {
            candidate.proposer.saw(known);
        }
        candidate.claim();
    }

    fn release(&self, state: &mut State, node: usize) {
        let owned = state.owns(node);
        if self.has(Flaw::FreesOwnAcceptorFirst) {
            let mut released = Candidate::clone(&state.candidates[node]);
            released.release();
            if let Some(probe) = released.asks_anew(state.now(node)) {
                state.arrive(&probe, node, self.max_lease);
            }
            return;
        }
        let candidate = state.candidate(node);
        candidate.gave_back |= owned;
        candidate.release();
        if !self.has(Flaw::ServesOn) {
            candidate.write_guard();
        }
    }

    /// Returns `None` if the arrival has no effect.
    fn arrive(&self, state: &mut State, probe: &Probe, acceptor: usize, fate: Fate) -> Option<()> {
        let before = state.acceptors[acceptor];
        let answer = state.arrive(probe, acceptor, self.max_lease)?;
        match fate {
            Fate::Counted => self.count(state, answer),
            Fate::Late => {
                // The same answer could be given later: a delay gains nothing.
                if state.acceptors[acceptor] == before || answer.operation == Operation::Release {
                    return None;
                }
                state.late.push(answer);
                Some(())
            }
            Fate::Lost => Some(()),
        }
    }

    /// Returns `None` if the answer has no effect.
    fn count(&self, state: &mut State, mut answer: Answer) -> Option<()> {
        // The answer would only end the requests.
        if answer.operation == Operation::Release {
            return Some(());
        }
        let now = state.now(answer.to);
        let own = state.acceptors[answer.to].slot;
        let candidate = state.candidate(answer.to);
        if answer.vote == Vote::Refused {
            if candidate.refusals == self.bounds.refusals {
                return None;
            }
            candidate.refusals += 1;
            // A candidate knows the state of its own acceptor.
            if own.owner == 0 {
                candidate.proposer.heard_release(Ballot(own.ballot));
            }
            if self.has(Flaw::CountsUnheardAsGranted)
                && own.owner == 0
                && own.ballot == answer.ballot.0
            {
                answer.vote = Vote::Granted;
                answer.ballot = candidate.proposer.ask()?.ballot;
            }
        }
        if (self.has(Flaw::CountsEarlierClaims) || self.has(Flaw::CountsShortAsLong))
            && answer.vote == Vote::Granted
            && asks_for_lease(answer.operation)
        {
            answer.ballot = candidate.proposer.ask()?.ballot;
            // An acceptor of an earlier release sends no length. Otherwise the length would tell
            // one vote from the other, too.
            answer.micros = 0;
        }
        // If the departure must not matter, the latest possible one is used.
        let left = if self.has(Flaw::CountsFromArrival) || !asks_for_lease(answer.operation) {
            now
        } else {
            answer.left
        };
        candidate.count(&answer, left);
        Some(())
    }

    fn restart_acceptor(&self, state: &mut State, node: usize) {
        state.acceptor_restarts += 1;
        let votes_from = if self.has(Flaw::VotesAtOnce) {
            Boottime::default()
        } else {
            state.now(node).after(self.max_lease)
        };
        state.acceptors[node] = Acceptor {
            slot: Slot::default(),
            votes_from,
        };
    }

    fn restart_agent(&self, state: &mut State, node: usize) {
        state.agent_restarts += 1;
        // Answers to its earlier life carry another nonce.
        state.late.retain(|answer| answer.to != node);
        let candidate = state.candidate(node);
        let round = if self.has(Flaw::RepeatsBallots) {
            0
        } else {
            candidate.round()
        };
        candidate.restart(round, self.term);
    }

    fn acts(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let Bounds {
            claims,
            releases,
            agent_restarts,
            restarts,
            pauses,
            ..
        } = self.bounds;
        let candidate = &state.candidates[node];
        if candidate.paused {
            actions.push(Action::Wake { node });
            return;
        }
        if candidate.claims < claims[node] {
            actions.push(Action::Claim { node });
        }
        if releases && candidate.proposer.is_holding() {
            actions.push(Action::Release { node });
        }
        if state.pauses < pauses && state.owns(node) {
            actions.push(Action::Pause { node });
        }
        if state.agent_restarts < agent_restarts && candidate.claims > 0 {
            actions.push(Action::RestartAgent { node });
        }
        if state.restarts < restarts && candidate.proposer.lease_end() > state.now(node) {
            actions.push(Action::GracefulRestart { node });
        }
        let answers = state.late.iter().filter(|answer| answer.to == node);
        actions.extend(answers.copied().map(Action::Count));
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let rates = self.bounds.rates.iter();
        rates.map(|rates| State::new(*rates, self.term)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Before the first claim all instants are alike.
        let begun = state.candidates.iter().any(|it| it.claims > 0);
        if begun && state.ticks < self.bounds.ticks {
            actions.push(Action::Tick);
        }
        for node in 0..CANDIDATES {
            self.acts(state, node, actions);
            let candidate = &state.candidates[node];
            for &probe in &candidate.asked {
                for acceptor in 0..VOTERS {
                    let fates = self.fates(state, !candidate.paused);
                    actions.extend(fates.map(|answer| Action::Ask {
                        acceptor,
                        probe,
                        answer,
                    }));
                }
            }
        }
        if state.acceptor_restarts < self.bounds.acceptor_restarts {
            let knows = |node: &usize| state.acceptors[*node].slot != Slot::default();
            let forgetful = (0..VOTERS).filter(knows);
            actions.extend(forgetful.map(|node| Action::RestartAcceptor { node }));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.ticks += 1,
            Action::Claim { node } => self.claim(&mut state, node),
            Action::Release { node } => self.release(&mut state, node),
            Action::Ask {
                acceptor,
                probe,
                answer,
            } => self.arrive(&mut state, &probe, acceptor, answer)?,
            Action::Count(answer) => self.count(&mut state, answer)?,
            Action::Pause { node } => {
                state.pauses += 1;
                state.candidate(node).paused = true;
            }
            Action::Wake { node } => state.candidate(node).paused = false,
            Action::RestartAcceptor { node } => self.restart_acceptor(&mut state, node),
            Action::RestartAgent { node } => self.restart_agent(&mut state, node),
            Action::GracefulRestart { node } => {
                state.restarts += 1;
                state
                    .candidate(node)
                    .proposer
                    .prepare_restart(self.restart_term);
            }
        }
        state.ask(self.bounds.past_asks);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let one_owner = Property::always(Self::ONE_OWNER, |_: &Self, state: &State| {
            (0..CANDIDATES).filter(|node| state.owns(*node)).count() <= 1
        });
        let goals = self.goals.iter();
        let goals = goals.map(|(name, reached)| Property::sometimes(name, *reached));
        [one_owner].into_iter().chain(goals).collect()
    }
}
