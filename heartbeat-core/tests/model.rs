//! Every interleaving of the lease protocol, within bounds.

#[path = "model/state.rs"]
mod state;

use std::{sync::Arc, time::Duration};

use heartbeat_common::{
    lease::{Operation, Vote},
    wire::NodeId,
};
use heartbeat_core::{Timing, proposer::Proposer};
use state::{Acceptor, CANDIDATES, Candidate, NODES, Probe, Reply, State};
use stateright::{Checker, HasDiscoveries, Model, Property};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    VotesAtOnce,
    CountsFromArrival,
    IgnoresDrift,
    CountsEarlierClaims,
    ReleasesWhileServing,
}

#[derive(Clone, Debug)]
struct Leases {
    flaw: Option<Flaw>,
    rates: Vec<[u64; NODES]>,
    claims: [u8; CANDIDATES],
    ticks: u64,
    probes_kept: usize,
    replies_kept: usize,
    acceptor_restarts: u8,
    agent_restarts: u8,
    pauses: u8,
    lose: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Tick,
    Claim(usize),
    Release(usize),
    Send(usize),
    Ask(usize, usize, Probe),
    AskLost(usize, usize, Probe),
    Answer(usize, usize, Reply),
    Pause(usize),
    Wake(usize),
    RestartAcceptor(usize),
    RestartAgent(usize),
}

fn timing() -> Timing {
    Timing {
        interval: Duration::from_micros(1),
        timeout: Duration::from_micros(1),
        agent_stall: Duration::from_micros(1),
        lease: Duration::from_micros(4),
        drift_ppm: 250_000,
    }
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap())
}

impl Leases {
    fn counted(&self) -> Duration {
        match self.flaw {
            Some(Flaw::IgnoresDrift) => timing().lease,
            _ => timing().counted_lease(),
        }
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.rates
            .iter()
            .map(|rates| State {
                ticks: 0,
                rates: *rates,
                acceptors: [Acceptor::default(); NODES],
                candidates: std::array::from_fn(|i| {
                    Arc::new(Candidate::new(NodeId(i as u16 + 1), self.counted()))
                }),
                acceptor_restarts: self.acceptor_restarts,
                agent_restarts: self.agent_restarts,
                pauses: self.pauses,
            })
            .collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let begun = state.candidates.iter().any(|c| c.claims > 0);
        if begun && state.ticks < self.ticks {
            actions.push(Action::Tick);
        }
        for (i, c) in state.candidates.iter().enumerate() {
            for probe in &c.probes {
                for j in 0..NODES {
                    actions.push(Action::Ask(i, j, *probe));
                    if self.lose {
                        actions.push(Action::AskLost(i, j, *probe));
                    }
                }
            }
            if c.paused {
                actions.push(Action::Wake(i));
                continue;
            }
            if c.claims < self.claims[i] {
                actions.push(Action::Claim(i));
            }
            if c.proposer.is_holding() {
                actions.push(Action::Release(i));
            }
            if c.proposer.ask().is_some() {
                actions.push(Action::Send(i));
            }
            for (j, replies) in c.replies.iter().enumerate() {
                for reply in replies {
                    actions.push(Action::Answer(i, j, *reply));
                }
            }
            if state.pauses > 0 && state.owns(i) {
                actions.push(Action::Pause(i));
            }
            if state.agent_restarts > 0 && c.claims > 0 {
                actions.push(Action::RestartAgent(i));
            }
        }
        if state.acceptor_restarts > 0 {
            for (j, acceptor) in state.acceptors.iter().enumerate() {
                if acceptor.slot != Default::default() {
                    actions.push(Action::RestartAcceptor(j));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.ticks += 1,
            Action::Claim(i) => {
                let slot = state.acceptors[i].slot;
                state.candidate(i).claim(&slot);
            }
            Action::Release(i) => {
                state.candidate(i).release();
                if self.flaw != Some(Flaw::ReleasesWhileServing) {
                    state.candidate(i).write_guard();
                }
            }
            Action::Send(i) => {
                let now = state.now(i);
                let ask = last.candidates[i].proposer.ask()?;
                state.candidate(i).send(ask, now, self.probes_kept);
            }
            Action::Ask(i, j, probe) | Action::AskLost(i, j, probe) => {
                let now = state.now(j);
                let reply = state.acceptors[j].answer(&probe, timing().lease, now)?;
                if matches!(action, Action::Ask(..)) {
                    state.candidate(i).queue(j, reply, self.replies_kept);
                }
            }
            Action::Answer(i, j, mut reply) => {
                let now = state.now(i);
                let left = match self.flaw {
                    Some(Flaw::CountsFromArrival) => now,
                    _ => reply.left,
                };
                let candidate = state.candidate(i);
                if self.flaw == Some(Flaw::CountsEarlierClaims)
                    && reply.vote == Vote::Granted
                    && reply.operation != Operation::Prepare as u8
                {
                    reply.ballot = candidate.proposer.ask()?.ballot;
                }
                candidate.count(j, &reply, left);
            }
            Action::Pause(i) => {
                state.pauses -= 1;
                state.candidate(i).paused = true;
            }
            Action::Wake(i) => state.candidate(i).paused = false,
            Action::RestartAcceptor(j) => {
                state.acceptor_restarts -= 1;
                let now = state.now(j);
                state.acceptors[j] = Acceptor {
                    votes_from: match self.flaw {
                        Some(Flaw::VotesAtOnce) => 0,
                        _ => now.after(timing().lease).as_nanos(),
                    },
                    ..Acceptor::default()
                };
            }
            Action::RestartAgent(i) => {
                state.agent_restarts -= 1;
                let counted = self.counted();
                let c = state.candidate(i);
                c.proposer = Proposer::new(NodeId(i as u16 + 1), NODES, c.round, counted);
                c.inherited_until = c.open_until;
                c.replies = Default::default();
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let one = Property::always("one owner", |_: &Self, s: &State| {
            !(0..CANDIDATES).all(|i| s.owns(i))
        });
        if self.flaw.is_some() {
            return vec![one];
        }
        vec![
            one,
            Property::sometimes("takeover", |_, s: &State| {
                s.candidates[0].paused && s.owns(1)
            }),
        ]
    }
}

fn model(flaw: Option<Flaw>) -> Leases {
    let all = [[1, 2, 2], [1, 1, 2], [2, 1, 1]];
    Leases {
        flaw,
        rates: all[..env("RATES", 1) as usize].to_vec(),
        claims: [env("CA", 1) as u8, env("CB", 1) as u8],
        ticks: env("TICKS", 4),
        probes_kept: env("PK", 2) as usize,
        replies_kept: env("RK", 1) as usize,
        acceptor_restarts: env("AR", 0) as u8,
        agent_restarts: env("GR", 0) as u8,
        pauses: env("PA", 0) as u8,
        lose: env("LOSE", 1) == 1,
    }
}

#[test]
fn explore() {
    let begun = std::time::Instant::now();
    let flaw = match env("FLAW", 0) {
        0 => None,
        1 => Some(Flaw::VotesAtOnce),
        2 => Some(Flaw::CountsFromArrival),
        3 => Some(Flaw::IgnoresDrift),
        4 => Some(Flaw::CountsEarlierClaims),
        _ => Some(Flaw::ReleasesWhileServing),
    };
    let builder = model(flaw)
        .checker()
        .threads(env("THREADS", 1) as usize)
        .timeout(Duration::from_secs(env("SECS", 60)))
        .finish_when(HasDiscoveries::AnyFailures);
    let checker: Box<dyn Fn() -> _> = Box::new(|| ());
    checker();
    if env("BFS", 0) == 1 {
        show(builder.spawn_bfs().join(), begun);
    } else {
        show(builder.spawn_dfs().join(), begun);
    }
}

fn show(c: impl Checker<Leases>, begun: std::time::Instant) {
    println!(
        "{} unique, {} total, depth {}, done {}, {:?}",
        c.unique_state_count(),
        c.state_count(),
        c.max_depth(),
        c.is_done(),
        begun.elapsed()
    );
    for (name, path) in c.discoveries() {
        println!("{name}: {} steps", path.clone().into_actions().len());
        if env("SHOW", 0) == 1 {
            for a in path.into_actions() {
                println!("   {a:?}");
            }
        }
    }
}
