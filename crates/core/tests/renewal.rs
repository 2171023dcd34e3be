//! Every interleaving of the renewal of a lease by the kernels.
//!
//! The voters run `lease::decide`, and the owner's kernel `renewal::Counts::count`, as the kernel
//! programs will. The model covers everything between them. There are three voters, two of which
//! want the lease, and one group.
//!
//! - An owner's kernel asks in a reply at any instant. The ask arrives at once, late (at any age),
//!   several times, or never; so does each probe that repeats a vote. A run of the owner's kernel
//!   may be interrupted between its reading of the row and its result.
//! - A pulse acquires the lease from any majority in one step: the model in `model.rs` has the
//!   interleavings of that. It raises its ballot, lengthens the lease, stops, releases, gives a
//!   claim up that it never wrote down, and ends with its agent at any time.
//! - The rates of the clocks differ a little more than the drift bound allows. A clock may stand
//!   still, with its node, and go on.
//! - An acceptor restarts with an empty slot, or hands its slot to new programs; a node reboots,
//!   and its clock begins anew.

#[path = "renewal/protocol.rs"]
mod protocol;
#[path = "renewal/state.rs"]
mod state;

use std::time::Duration;

use protocol::{Bounds, Flaw, Goal, Renewal};
use state::Rates;
use stateright::{Checker, HasDiscoveries, Model};

const LEASE: Duration = Duration::from_micros(4);
/// A slow owner counts two microseconds, which are two of its ticks, and two of a fast voter's
/// lease.
const COUNTED_PPM: u32 = 500_000;

/// First, the owner that takes the lease first is the slow one, which is the worst case. Then both
/// are slow, with a fast witness. Then the first is the only fast one.
const RATES: [Rates; 3] = [[1, 2, 2], [1, 1, 2], [2, 1, 1]];
const SLOW_OWNER: &[Rates] = &[RATES[0]];

/// The bounds that the tests below widen.
const NARROW: Bounds = Bounds {
    rates: SLOW_OWNER,
    ticks: 4,
    claims: [1, 1],
    asks: [true, false],
    late_asks: 0,
    late_votes: 0,
    releases: false,
    lengthens: false,
    raises: 0,
    pulse_asks: false,
    prepares: 0,
    preempted: 0,
    agent_restarts: 0,
    acceptor_restarts: 0,
    reboots: 0,
    ballots_repeat: false,
    freezes: 0,
    upgrades: 0,
};

fn model(bounds: Bounds, goals: &'static [Goal], flaw: Option<Flaw>) -> Renewal {
    Renewal {
        bounds,
        goals,
        flaw,
        lease: LEASE,
        counted_ppm: COUNTED_PPM,
    }
}

fn explore(bounds: Bounds, goals: &'static [Goal]) {
    let checker = model(bounds, goals, None).checker().spawn_dfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Shows that the flaw breaks `rule`, and that nothing breaks it without the flaw within the same
/// bounds.
fn breaks(flaw: Flaw, rule: &'static str, bounds: Bounds) {
    explore(bounds, &[]);
    let first = HasDiscoveries::AnyOf([rule].into());
    let checker = model(bounds, &[], Some(flaw)).checker().finish_when(first);
    let checker = checker.spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    let story = checker.assert_any_discovery(rule);
    println!("{flaw:?}: {story}");
}

const RENEWED: Goal = ("owner that serves longer than a lease", |model, state| {
    let lease = model.lease.as_micros() as u64;
    state.is_open(0) && state.owners[0].claims == 1 && state.ticks * state.rates()[0] > lease / 2
});
const TAKEOVER: Goal = ("takeover when the renewed lease has ended", |_, state| {
    !state.is_open(0) && state.owners[0].claims == 1 && state.is_open(1)
});
const HAND_OVER: Goal = ("hand-over before the lease would have ended", |_, state| {
    state.ticks == 0 && state.owners[0].claims == 1 && state.is_open(1)
});

const RAISED: Goal = ("owner that goes on under a higher ballot", |_, state| {
    let row = &state.owners[0].row;
    let granted = |vote: Option<state::VoteRow>| {
        vote.is_some_and(|row_| row_.vote.ballot.0 == row.asking && row_.vote.granted)
    };
    state.is_open(0) && row.asking > row.first && granted(state.owners[0].newest[2])
});
/// The clock began anew, so the voter's vote of the former life has a later asking time.
const RENEWED_AFTER_REBOOT: Goal = ("rebooted owner with a vote of its new life", |_, state| {
    let owner = &state.owners[0];
    owner.life == 2 && owner.newest[1].is_some_and(|newest| newest.before_former)
});
const CLOSED_AFTER_FREEZE: Goal = ("owner closed by refusals before its own end", |_, state| {
    let row = &state.owners[0].row;
    let open = heartbeat_common::renewal::GroupRow {
        withdrawn: 0,
        ..*row
    };
    state.owners[0].was_frozen
        && row.permit != 0
        && !state.is_open(0)
        && open.open_until() > state.now(0)
});
const BESIDE_ITS_SUCCESSOR: Goal = ("two owners before the refusals arrive", |_, state| {
    state.is_open(0) && state.is_open(1)
});

#[test]
fn renewed_lease_has_one_owner_on_any_clocks() {
    let bounds = Bounds {
        rates: &RATES,
        ..NARROW
    };
    explore(bounds, &[RENEWED, TAKEOVER]);
}

#[test]
fn late_asks_and_votes_lengthen_no_lease() {
    let bounds = Bounds {
        late_asks: 1,
        ..NARROW
    };
    explore(bounds, &[TAKEOVER]);
    let bounds = Bounds {
        late_votes: 1,
        ..NARROW
    };
    explore(bounds, &[TAKEOVER]);
}

#[test]
fn release_with_renewals_in_flight_gives_the_lease_to_one() {
    let bounds = Bounds {
        ticks: 1,
        releases: true,
        late_asks: 1,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
    let bounds = Bounds {
        ticks: 1,
        releases: true,
        late_votes: 1,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
}

#[test]
fn raised_ballots_and_requests_of_others_close_no_rightful_guard() {
    let bounds = Bounds {
        ticks: 1,
        raises: 1,
        prepares: 1,
        late_votes: 1,
        ..NARROW
    };
    explore(bounds, &[RAISED]);
    let bounds = Bounds {
        ticks: 1,
        raises: 1,
        prepares: 1,
        late_asks: 1,
        ..NARROW
    };
    explore(bounds, &[RAISED]);
}

#[test]
fn acceptor_that_abstains_closes_no_guard_and_votes_again() {
    let bounds = Bounds {
        acceptor_restarts: 2,
        ..NARROW
    };
    explore(bounds, &[RENEWED, TAKEOVER]);
}

#[test]
fn restarted_agent_goes_on_with_the_renewed_row() {
    let bounds = Bounds {
        claims: [2, 1],
        agent_restarts: 1,
        ..NARROW
    };
    explore(bounds, &[RENEWED, TAKEOVER]);
}

#[test]
fn interrupted_runs_open_nothing_that_was_closed() {
    let bounds = Bounds {
        ticks: 2,
        releases: true,
        preempted: 1,
        ..NARROW
    };
    explore(bounds, &[HAND_OVER]);
}

#[test]
fn longer_lease_counts_only_where_it_was_asked_for() {
    let bounds = Bounds {
        ticks: 4,
        lengthens: true,
        late_votes: 1,
        ..NARROW
    };
    explore(bounds, &[RENEWED]);
}

#[test]
fn rebooted_owner_is_renewed_in_its_new_life_only() {
    let bounds = Bounds {
        ticks: 5,
        claims: [2, 1],
        reboots: 1,
        ..NARROW
    };
    explore(bounds, &[RENEWED_AFTER_REBOOT]);
}

#[test]
fn new_programs_take_over_the_slots_of_old_ones() {
    let bounds = Bounds {
        upgrades: 1,
        ..NARROW
    };
    explore(bounds, &[RENEWED, TAKEOVER]);
}

#[test]
fn owner_whose_clock_stood_still_closes_by_the_refusals_of_its_successors_acceptors() {
    let bounds = Bounds {
        freezes: 1,
        ..NARROW
    };
    explore(bounds, &[CLOSED_AFTER_FREEZE, BESIDE_ITS_SUCCESSOR]);
}

// docs/design/leases.md#rule-1
#[test]
fn the_checker_sees_that_a_vote_must_count_from_the_asking_time() {
    let bounds = Bounds {
        late_votes: 1,
        ..NARROW
    };
    breaks(Flaw::CountsFromArrival, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_a_vote_must_count_for_the_length_that_was_asked_for() {
    let bounds = Bounds {
        lengthens: true,
        late_votes: 1,
        ..NARROW
    };
    breaks(Flaw::CountsOwnLength, Renewal::ONE_OWNER, bounds);
}

// docs/design/leases.md#rule-2
#[test]
fn the_checker_sees_that_a_restarted_acceptor_must_abstain() {
    let bounds = Bounds {
        ticks: 2,
        acceptor_restarts: 1,
        ..NARROW
    };
    breaks(Flaw::VotesAtOnce, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_new_programs_must_not_copy_slots_while_old_ones_vote() {
    let bounds = Bounds {
        upgrades: 1,
        ..NARROW
    };
    breaks(Flaw::CopiesBeforeTheOldEnd, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_the_kernel_must_not_write_the_word_of_the_pulse() {
    let bounds = Bounds {
        ticks: 1,
        releases: true,
        preempted: 1,
        ..NARROW
    };
    breaks(Flaw::KernelWritesPermit, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_the_guard_must_close_before_the_release() {
    let bounds = Bounds {
        ticks: 0,
        releases: true,
        ..NARROW
    };
    breaks(Flaw::ReleasesBeforeClosing, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_a_vote_must_not_be_torn() {
    let bounds = Bounds {
        ticks: 5,
        prepares: 1,
        ..NARROW
    };
    breaks(Flaw::TornVote, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_a_lapsed_claim_must_not_live_again() {
    let bounds = Bounds {
        late_votes: 1,
        ..NARROW
    };
    breaks(Flaw::RevivesLapsedClaims, Renewal::ENDED_IS_ENDED, bounds);
}

#[test]
fn the_checker_sees_that_a_new_agent_must_take_over_the_row() {
    let bounds = Bounds {
        ticks: 0,
        claims: [2, 1],
        releases: true,
        agent_restarts: 1,
        ..NARROW
    };
    breaks(Flaw::IgnoresTheRow, Renewal::ONE_OWNER, bounds);
}

// Ballots alone tell one life from another, as long as no node uses them again.
#[test]
fn the_checker_sees_that_a_vote_of_another_life_must_not_count() {
    let bounds = Bounds {
        ticks: 5,
        claims: [2, 1],
        reboots: 1,
        ballots_repeat: true,
        ..NARROW
    };
    breaks(Flaw::CountsOtherLives, Renewal::ONE_OWNER, bounds);
}

#[test]
fn the_checker_sees_that_a_voter_must_forget_the_votes_of_an_earlier_life() {
    let bounds = Bounds {
        ticks: 2,
        claims: [2, 0],
        reboots: 1,
        ..NARROW
    };
    let checker = model(bounds, &[RENEWED_AFTER_REBOOT], Some(Flaw::KeepsOtherLives))
        .checker()
        .spawn_dfs()
        .join();
    checker.assert_no_discovery(RENEWED_AFTER_REBOOT.0);
}

// docs/adr/0045-kernels-renew-leases.md
#[test]
fn the_checker_sees_that_a_refusal_must_withdraw_a_vote() {
    let bounds = Bounds {
        freezes: 1,
        ..NARROW
    };
    breaks(
        Flaw::RefusalsDoNotWithdraw,
        Renewal::CLOSES_BY_REFUSALS,
        bounds,
    );
}

#[test]
fn the_checker_sees_that_a_raise_must_not_begin_a_new_tag() {
    let bounds = Bounds {
        freezes: 1,
        raises: 1,
        ticks: 3,
        ..NARROW
    };
    breaks(Flaw::RaiseChangesTag, Renewal::ENDED_IS_ENDED, bounds);
}

#[test]
fn the_checker_sees_that_a_refusal_of_a_lower_ballot_must_not_count() {
    let bounds = Bounds {
        ticks: 0,
        raises: 1,
        pulse_asks: true,
        late_asks: 2,
        ..NARROW
    };
    breaks(
        Flaw::CountsRefusalsOfLowerBallots,
        Renewal::RIGHTFUL,
        bounds,
    );
}

#[test]
fn the_checker_sees_that_a_refusal_must_not_count_against_a_newer_grant() {
    let bounds = Bounds {
        prepares: 1,
        late_votes: 1,
        ..NARROW
    };
    breaks(Flaw::CountsOldRefusals, Renewal::NEWEST, bounds);
}

#[test]
fn the_checker_sees_that_an_abstention_must_not_count_as_a_refusal() {
    let bounds = Bounds {
        ticks: 2,
        acceptor_restarts: 2,
        ..NARROW
    };
    breaks(Flaw::CountsAbstentions, Renewal::RIGHTFUL, bounds);
}

#[test]
fn the_checker_sees_that_the_kernel_must_be_the_first_to_ask_by_a_higher_ballot() {
    let bounds = Bounds {
        ticks: 2,
        raises: 1,
        pulse_asks: true,
        ..NARROW
    };
    breaks(Flaw::ProbesBeforeTheRaise, Renewal::RIGHTFUL, bounds);
}
