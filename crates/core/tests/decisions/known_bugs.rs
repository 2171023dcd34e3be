//! Known bugs put back: the invariants of the simulation detect each of them.

use crate::support::{
    MS,
    invariants::{guard_closes_first, one_owner},
    run::{Fault, Run},
    story::settled,
    truth::Violation,
    world::{Bugs, World},
};

/// The first violation within a few seeds of a network that falls apart and heals.
fn seen(bugs: Bugs, watch: fn(Run) -> Run) -> Violation {
    let faults = [Fault::Partition, Fault::Heal];
    let violation = |seed| watch(Run::new(seed, &faults, bugs)).go().err();
    (0..40).find_map(violation).expect("the bug is seen")
}

#[test]
fn guard_that_outlasts_the_lease() {
    let bugs = Bugs {
        guard_outlasts_lease: true,
        ..Bugs::default()
    };
    let cause = seen(bugs, |run| run);
    assert!(cause.starts_with("the guard of group"), "{cause}");
    let harm = seen(bugs, Run::only_for_two_owners);
    assert!(harm.starts_with("two owners"), "{harm}");
}

// docs/design/leases.md#rule-1
#[test]
fn vote_that_counts_from_its_arrival() {
    let bugs = Bugs {
        counts_from_arrival: true,
        ..Bugs::default()
    };
    let cause = seen(bugs, |run| run);
    assert!(cause.starts_with("the guard of group"), "{cause}");
}

/// A time limit on stops that releases a lease before the stop is confirmed:
/// docs/design/leases.md#rule-4.
#[test]
fn lease_that_is_given_up_when_a_stop_takes_too_long() {
    let faults = [Fault::Move, Fault::Standby, Fault::Online];
    let bugs = Bugs {
        stop_patience: Some(1_000 * MS),
        ..Bugs::default()
    };
    let violation = |seed| {
        let run = Run::new(seed, &faults, bugs).only_planned();
        run.go().err()
    };
    let harm = (0..10).find_map(violation).expect("the bug is seen");
    assert!(harm.starts_with("twice: group"), "{harm}");
}

/// Both voters of the owner reboot, forget it, and do not receive its heartbeats.
fn both_others_reboot(bugs: Bugs, watch: fn(&World) -> Result<(), Violation>) -> Option<Violation> {
    let mut world = settled(1);
    world.bugs = bugs;
    world.cut(&[0], &[1, 2]);
    world.boot(1);
    world.boot(2);
    let outcome = world.run_watched(300 * MS, &mut |world| watch(world));
    if outcome.is_ok() {
        assert_eq!(world.servers(0), [1]);
    }
    outcome.err()
}

// docs/design/leases.md#rule-2
#[test]
fn acceptor_that_votes_though_it_may_have_forgotten_votes() {
    let bugs = Bugs {
        forgetful_votes: true,
        ..Bugs::default()
    };
    for watch in [guard_closes_first::check, one_owner::check] {
        assert_eq!(both_others_reboot(Bugs::default(), watch), None);
    }
    let cause = both_others_reboot(bugs, guard_closes_first::check).unwrap_or_default();
    assert!(cause.starts_with("the guard of group"), "{cause}");
    let harm = both_others_reboot(bugs, one_owner::check).unwrap_or_default();
    assert!(harm.starts_with("two owners"), "{harm}");
}
