//! Every interleaving of the lease protocol: never two owners, at no instant, on no clocks.
//!
//! The acceptors run `lease::decide` and the candidates `Proposer`, as the kernel and the agent do.
//! The model covers everything between them: time, the network, guards and faults. There are three
//! voters, two of which are candidates, and one group.
//!
//! - The rates of the clocks differ a little more than the drift bound allows, so that a vote's
//!   time ends for its owner at the very instant at which it ends for the acceptor.
//! - A candidate sends a request at every instant. Its probes get lost, are doubled and come out of
//!   order: the last probe of every request may reach any acceptor at any later time, any number of
//!   times, or never. (An earlier probe of the same request is granted alike and counts for less.)
//! - The answer is counted at once, late (at any age), several times, or never. Answers from a
//!   node's own acceptor are no different.
//! - Candidates claim, abandon claims for new ones and release at any time. They serve, and stop at
//!   once when told to: a guard is open until the last written time. A paused candidate does
//!   nothing, and its guard stays as it is.
//! - An acceptor restarts with an empty slot, an agent with a new proposer and the old guard.
//!   Before that it may ask for a lease that is twice as long.
//!
//! The limits of the model are in [`Bounds`]. No one bound holds in all of the tests: each widens
//! some and narrows the others, so that all of them together take a minute of one processor.

#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/state.rs"]
mod state;

use std::time::Duration;

use heartbeat_core::Timing;
use protocol::{Bounds, Flaw, Goal, Leases};
use state::{Rates, VOTERS};
use stateright::{Checker, Model};

const TIMING: Timing = Timing {
    interval: Duration::from_micros(1),
    timeout: Duration::from_micros(3),
    agent_stall: Duration::from_micros(3),
    lease: Duration::from_micros(4),
    // The fast clocks below run at twice the rate of the slow ones.
    drift_ppm: 250_000,
};

/// First, the owner that takes the lease first is the slow one, which is the worst case. Then both
/// candidates are slow, with a fast witness between them. Then the first is the only fast one.
const RATES: [Rates; 3] = [[1, 2, 2], [1, 1, 2], [2, 1, 1]];
const SLOW_OWNER: &[Rates] = &[RATES[0]];

/// The bounds that the tests below widen.
const NARROW: Bounds = Bounds {
    rates: SLOW_OWNER,
    ticks: 3,
    claims: [1, 1],
    releases: false,
    past_asks: 0,
    late_answers: 0,
    lost_answers: false,
    refusals: 0,
    acceptor_restarts: 0,
    agent_restarts: 0,
    restarts: 0,
    pauses: 0,
};
/// A number above every possible one.
const ALL: usize = usize::MAX - 1;

const TAKEOVER: Goal = ("takeover from an owner that stands still", |_, state| {
    state.candidates[0].paused && state.owns(1)
});
const HAND_OVER: Goal = ("hand-over before the lease would have ended", |_, state| {
    state.candidates[0].gave_back && state.owns(1) && state.ticks == 0
});
const RETURN: Goal = ("the lease back at a node that gave it away", |_, state| {
    state.candidates[0].gave_back && state.candidates[1].gave_back && state.owns(0)
});
const HIGHER_BALLOT: Goal = ("an owner that goes on under a higher ballot", |_, state| {
    let first = &state.candidates[0];
    let ballot = first.proposer.ask().map(|ask| ask.ballot);
    let renewed = |node: usize| Some(state.acceptors[node].slot.ballot) == ballot.map(|it| it.0);
    state.owns(0) && ballot > Some(first.claimed) && (0..VOTERS).all(renewed)
});
const VOTES_AGAIN: Goal = ("a restarted acceptor that votes", |_, state| {
    let votes = |node: &state::Acceptor| node.votes_from.as_nanos() > 0 && node.slot.owner > 0;
    state.acceptors.iter().any(votes)
});
const INHERITED: Goal = ("an owner whose lease an earlier agent got", |_, state| {
    let first = &state.candidates[0];
    state.owns(0) && first.proposer.is_preparing()
});

const HEARD_BEFORE_OTHERS: Goal = (
    "an owner that was refused for a lease whose release it had heard of",
    |_, state| {
        let second = &state.candidates[1];
        state.candidates[0].gave_back && second.refusals > 0 && state.owns(1)
    },
);
const INHERITED_LONGER: Goal = ("one that got it for longer than usual", |model, state| {
    let usual = state.now(0).after(model.term.counted);
    INHERITED.1(model, state) && state.candidates[0].open_until > usual
});
const TAKEOVER_AFTER_PARTING: Goal = ("takeover when that has ended", |_, state| {
    state.restarts > 0
        && state.agent_restarts > 0
        && state.owns(1)
        && !state.candidates[0].gave_back
});

fn explore(bounds: Bounds, goals: &'static [Goal]) {
    let checker = Leases::new(&TIMING, bounds, goals, None)
        .checker()
        .spawn_dfs()
        .join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Shows that the flaw makes two owners, and that there are none without it within the same bounds.
fn splits(flaw: Flaw, bounds: Bounds) {
    explore(bounds, &[]);
    let checker = Leases::new(&TIMING, bounds, &[], Some(flaw))
        .checker()
        .spawn_bfs()
        .join();
    let story = checker.assert_any_discovery(Leases::ONE_OWNER);
    println!("{flaw:?}: {story}");
}

#[test]
fn on_any_clocks_an_owner_that_stands_still_is_followed_when_its_lease_has_ended() {
    let bounds = Bounds {
        rates: &RATES,
        ticks: 4,
        releases: true,
        pauses: 1,
        ..NARROW
    };
    explore(bounds, &[TAKEOVER, HAND_OVER]);
}

#[test]
fn probes_that_come_late_or_twice_give_nobody_the_lease_again() {
    let bounds = Bounds {
        releases: true,
        past_asks: ALL,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
}

#[test]
fn answers_that_come_late_or_never_do_not_lengthen_a_lease() {
    let bounds = Bounds {
        releases: true,
        late_answers: 1,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
    let bounds = Bounds {
        releases: true,
        lost_answers: true,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
}

#[test]
fn node_may_claim_again_what_it_gave_away() {
    let bounds = Bounds {
        claims: [2, 1],
        releases: true,
        ..NARROW
    };
    explore(bounds, &[RETURN]);
}

#[test]
fn claims_cross_each_other() {
    let bounds = Bounds {
        rates: &RATES[..2],
        claims: [2, 2],
        ..NARROW
    };
    explore(bounds, &[]);
}

#[test]
fn owner_that_is_refused_by_some_renews_under_a_higher_ballot() {
    let bounds = Bounds {
        releases: true,
        refusals: 1,
        ..NARROW
    };
    explore(bounds, &[HIGHER_BALLOT]);
}

#[test]
fn acceptor_that_forgot_its_votes_lets_them_run_out() {
    let bounds = Bounds {
        past_asks: ALL,
        acceptor_restarts: 1,
        ..NARROW
    };
    explore(bounds, &[VOTES_AGAIN]);
    let bounds = Bounds {
        rates: &RATES,
        ticks: 4,
        acceptor_restarts: 2,
        ..NARROW
    };
    explore(bounds, &[VOTES_AGAIN]);
}

#[test]
fn agent_that_restarts_goes_on_serving_and_nobody_beside_it() {
    let bounds = Bounds {
        claims: [2, 1],
        agent_restarts: 1,
        ..NARROW
    };
    explore(bounds, &[INHERITED]);
}

#[test]
fn agent_that_asks_for_a_longer_lease_before_its_restart_serves_on_and_nobody_beside_it() {
    let bounds = Bounds {
        ticks: 1,
        claims: [2, 1],
        agent_restarts: 1,
        restarts: 1,
        ..NARROW
    };
    explore(bounds, &[INHERITED_LONGER]);
    let bounds = Bounds {
        ticks: 5,
        agent_restarts: 1,
        restarts: 1,
        ..NARROW
    };
    explore(bounds, &[TAKEOVER_AFTER_PARTING]);
    let bounds = Bounds {
        ticks: 2,
        late_answers: 1,
        restarts: 1,
        ..NARROW
    };
    explore(bounds, &[]);
}

// docs/design/leases.md#rule-1
#[test]
fn checker_sees_that_a_vote_for_a_short_lease_must_not_count_for_a_long_one() {
    let bounds = Bounds {
        ticks: 2,
        late_answers: 1,
        restarts: 1,
        ..NARROW
    };
    splits(Flaw::CountsShortAsLong, bounds);
}

// docs/design/leases.md#rule-2
#[test]
fn checker_sees_that_a_restarted_acceptor_must_abstain() {
    let bounds = Bounds {
        ticks: 1,
        acceptor_restarts: 1,
        ..NARROW
    };
    splits(Flaw::VotesAtOnce, bounds);
}

// docs/design/leases.md#rule-1
#[test]
fn checker_sees_that_a_vote_must_count_from_when_its_probe_left() {
    let bounds = Bounds {
        ticks: 2,
        late_answers: 1,
        ..NARROW
    };
    splits(Flaw::CountsFromArrival, bounds);
}

// docs/design/leases.md#rule-1
#[test]
fn checker_sees_that_a_vote_must_count_for_less_than_a_lease() {
    splits(Flaw::IgnoresDrift, Bounds { ticks: 2, ..NARROW });
}

#[test]
fn checker_sees_that_votes_for_an_earlier_claim_must_not_count() {
    let bounds = Bounds {
        ticks: 0,
        claims: [2, 1],
        releases: true,
        late_answers: 1,
        ..NARROW
    };
    splits(Flaw::CountsEarlierClaims, bounds);
}

// docs/design/leases.md#rule-4
#[test]
fn checker_sees_that_the_guard_must_close_before_the_lease_is_released() {
    let bounds = Bounds {
        ticks: 0,
        releases: true,
        ..NARROW
    };
    splits(Flaw::ServesOn, bounds);
}

/// A refusal because of a release that the acceptor has not received leads to another request, and
/// is no vote.
#[test]
fn refusal_by_an_acceptor_that_has_not_heard_of_a_release_gives_nobody_the_lease() {
    let bounds = Bounds {
        ticks: 1,
        releases: true,
        refusals: 1,
        ..NARROW
    };
    explore(bounds, &[HEARD_BEFORE_OTHERS]);
}

#[test]
fn checker_sees_that_a_refusal_for_a_released_lease_is_no_grant() {
    let bounds = Bounds {
        ticks: 0,
        claims: [2, 1],
        releases: true,
        refusals: 1,
        ..NARROW
    };
    splits(Flaw::CountsUnheardAsGranted, bounds);
}

#[test]
fn checker_sees_that_the_own_acceptor_must_not_be_freed_before_the_group_has_stopped() {
    let bounds = Bounds {
        ticks: 0,
        releases: true,
        ..NARROW
    };
    splits(Flaw::FreesOwnAcceptorFirst, bounds);
}

#[test]
fn checker_sees_that_no_ballot_may_be_used_again() {
    let bounds = Bounds {
        ticks: 0,
        claims: [2, 1],
        releases: true,
        past_asks: ALL,
        agent_restarts: 1,
        ..NARROW
    };
    splits(Flaw::RepeatsBallots, bounds);
}
