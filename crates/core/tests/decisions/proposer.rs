//! One claim and its votes: which votes count, for which claim and until when.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Operation, Successor, Vote},
    time::Boottime,
    wire::{GroupId, LeaseEntry, NodeId},
};
use heartbeat_core::{
    index::AcceptorIndex,
    proposer::{MajorityConfig, Obstacle, Proposer, Term},
};

const LOCAL: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const NOW: Boottime = Boottime::from_nanos(5_000_000_000);
const TERM: Term = Term {
    asked: Duration::from_millis(60),
    counted: Duration::from_millis(59),
};
/// The last lease before a graceful restart.
const LONG: Term = Term {
    asked: Duration::from_millis(500),
    counted: Duration::from_millis(490),
};

fn proposer(voters: usize) -> Proposer {
    Proposer::new(LOCAL, MajorityConfig::of_all(voters), 10, TERM)
}

fn vote(operation: Operation, vote: Vote, ballot: Ballot, micros: u32) -> LeaseEntry {
    LeaseEntry {
        group: 1,
        operation: operation as u8,
        vote: vote as u8,
        micros,
        ballot: ballot.0,
    }
}

/// Grants the present request.
fn grant(proposer: &mut Proposer, acceptor: usize, left: Boottime) {
    let ask = proposer.ask().expect("it asks");
    let granted = vote(ask.operation, Vote::Granted, ask.ballot, 0);
    assert_eq!(
        proposer.count(AcceptorIndex(acceptor), &granted, left),
        None
    );
}

fn ballot(proposer: &Proposer) -> Ballot {
    proposer.ask().expect("it asks").ballot
}

/// A claim that these acceptors promised, and granted to a probe that left now.
fn owner(voters: usize, acceptors: impl IntoIterator<Item = usize> + Clone) -> Proposer {
    let mut proposer = proposer(voters);
    proposer.prepare();
    for acceptor in acceptors.clone() {
        if proposer.is_preparing() {
            grant(&mut proposer, acceptor, NOW);
        }
    }
    assert!(proposer.is_holding());
    for acceptor in acceptors {
        grant(&mut proposer, acceptor, NOW);
    }
    proposer
}

#[test]
fn lease_takes_more_than_half_of_the_voters_however_many_there_are() {
    let majorities = [1, 2, 2, 3, 3, 4, 4, 5, 5];
    for (voters, majority) in (1..).zip(majorities) {
        let mut claim = proposer(voters);
        assert_eq!(claim.majority(), majority, "{voters} voters");
        claim.prepare();
        for acceptor in 0..majority {
            assert!(claim.is_preparing(), "{acceptor} of {voters} promised");
            grant(&mut claim, acceptor, NOW);
        }
        assert!(claim.is_holding(), "{majority} of {voters} promised");
        for acceptor in 0..majority {
            assert_eq!(claim.lease_end(), Boottime::default(), "{voters} voters");
            grant(&mut claim, acceptor, NOW);
        }
        assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
        assert_eq!(claim.votes(NOW), majority);
        // The last vote of a majority that runs out ends the lease.
        for acceptor in 1..voters {
            grant(&mut claim, acceptor, NOW.after(TERM.counted));
        }
        let renewed = usize::from(voters > majority);
        let end = NOW.after(TERM.counted * (1 + renewed as u32));
        assert_eq!(claim.lease_end(), end, "{voters} voters");
    }
}

#[test]
fn lease_of_acceptors_without_a_vote_is_none() {
    let majority_config = MajorityConfig {
        counts: vec![true, false, false, true],
        voters: 3,
    };
    let mut claim = Proposer::new(LOCAL, majority_config.clone(), 10, TERM);
    claim.prepare();
    for acceptor in 0..3 {
        grant(&mut claim, acceptor, NOW);
    }
    assert!(claim.is_preparing(), "one voter of three promised");
    grant(&mut claim, 3, NOW);
    assert!(claim.is_holding());
    for acceptor in 0..3 {
        grant(&mut claim, acceptor, NOW);
    }
    assert_eq!(
        (claim.lease_end(), claim.votes(NOW)),
        (Boottime::default(), 1)
    );
    grant(&mut claim, 3, NOW);
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
    assert_eq!(claim.votes(NOW), 2);
    // A list of only those nodes that have no vote now.
    let others = MajorityConfig {
        counts: vec![false, true, true, false],
        voters: 3,
    };
    assert_eq!(claim.lease_end_by(&others), NOW.after(TERM.counted));
    let gone = MajorityConfig {
        counts: vec![true, false, false, false],
        voters: 3,
    };
    assert_eq!(claim.lease_end_by(&gone), Boottime::default());
}

/// The votes move with the acceptors that gave them: a new acceptor has not granted anything.
#[test]
fn vote_stays_with_its_acceptor_when_the_acceptors_are_numbered_anew() {
    let former = [Some(AcceptorIndex(0)), Some(AcceptorIndex(2)), None];
    let mut claim = owner(3, [0, 1]);
    claim.renumber_acceptors(&former, MajorityConfig::of_all(3));
    let has = |claim: &Proposer| {
        [0, 1, 2].map(|acceptor| claim.has_vote_of(AcceptorIndex(acceptor), NOW))
    };
    assert_eq!(has(&claim), [true, false, false]);
    assert_eq!(claim.lease_end(), Boottime::default());
    let mut claim = owner(3, [0, 2]);
    claim.renumber_acceptors(&former, MajorityConfig::of_all(3));
    assert_eq!(has(&claim), [true, true, false]);
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
}

#[test]
fn promise_stays_with_its_acceptor_when_the_acceptors_are_numbered_anew() {
    let mut claim = proposer(3);
    claim.prepare();
    grant(&mut claim, 1, NOW);
    claim.renumber_acceptors(
        &[Some(AcceptorIndex(0)), Some(AcceptorIndex(2)), None],
        MajorityConfig::of_all(3),
    );
    grant(&mut claim, 0, NOW);
    assert!(claim.is_preparing(), "who promised has gone");
    grant(&mut claim, 1, NOW);
    assert!(claim.is_holding());
}

#[test]
fn vote_for_an_earlier_claim_does_not_count() {
    let mut claim = owner(3, [0, 1]);
    let earlier = ballot(&claim);
    claim.abandon();
    claim.prepare();
    grant(&mut claim, 0, NOW);
    grant(&mut claim, 1, NOW);
    assert!(claim.is_holding());
    for acceptor in 0..3 {
        for operation in [Operation::Accept, Operation::Renew] {
            let late = vote(operation, Vote::Granted, earlier, 0);
            claim.count(AcceptorIndex(acceptor), &late, NOW);
        }
    }
    assert_eq!(
        (claim.lease_end(), claim.votes(NOW)),
        (Boottime::default(), 0)
    );
}

#[test]
fn vote_for_a_lower_ballot_of_the_same_claim_counts() {
    let mut claim = owner(3, [0, 1]);
    let first = ballot(&claim);
    let promised = vote(Operation::Renew, Vote::Refused, Ballot::new(99, OTHER), 0);
    let higher = Ballot(promised.ballot);
    let obstacle = claim.count(AcceptorIndex(2), &promised, NOW);
    let promise = Obstacle::Promise {
        to: OTHER,
        ballot: higher,
    };
    assert_eq!(obstacle, Some(promise));
    assert!(ballot(&claim) > higher, "it goes beyond");
    let late = vote(Operation::Renew, Vote::Granted, first, 0);
    for acceptor in 0..2 {
        claim.count(AcceptorIndex(acceptor), &late, NOW.after(TERM.counted));
    }
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted * 2));
}

#[test]
fn vote_for_the_usual_lease_counts_for_no_longer_one() {
    let mut claim = owner(3, [0, 1]);
    let usual = ballot(&claim);
    claim.prepare_restart(LONG);
    assert!(
        ballot(&claim) > usual,
        "the long lease has a ballot of its own"
    );
    assert_eq!(claim.ask().map(|ask| ask.lease), Some(LONG.asked));
    let late = vote(Operation::Renew, Vote::Granted, usual, 0);
    for acceptor in 0..3 {
        claim.count(AcceptorIndex(acceptor), &late, NOW);
    }
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
    grant(&mut claim, 0, NOW);
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted), "one of three");
    grant(&mut claim, 1, NOW);
    assert_eq!(claim.lease_end(), NOW.after(LONG.counted));
}

#[test]
fn claim_after_a_last_long_lease_asks_for_the_usual_one() {
    let mut claim = owner(3, [0, 1]);
    claim.prepare_restart(LONG);
    claim.abandon();
    claim.prepare();
    assert_eq!(claim.ask().map(|ask| ask.lease), Some(TERM.asked));
    grant(&mut claim, 0, NOW);
    grant(&mut claim, 1, NOW);
    assert_eq!(claim.ask().map(|ask| ask.lease), Some(TERM.asked));
    grant(&mut claim, 0, NOW);
    grant(&mut claim, 1, NOW);
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
}

#[test]
fn claim_that_owns_nothing_asks_for_no_longer_lease() {
    let mut claim = proposer(3);
    claim.prepare();
    let first = ballot(&claim);
    claim.prepare_restart(LONG);
    assert_eq!(ballot(&claim), first);
    assert_eq!(claim.ask().map(|ask| ask.lease), Some(TERM.asked));
}

#[test]
fn release_is_asked_until_every_acceptor_has_heard_of_it() {
    let mut claim = owner(3, [0, 1]);
    let owned = ballot(&claim);
    claim.release(Successor::fit(OTHER));
    assert_eq!(claim.lease_end(), Boottime::default());
    for acceptor in [0, 0, 1] {
        let ask = claim.ask().expect("two have not heard of it");
        assert_eq!((ask.operation, ask.ballot), (Operation::Release, owned));
        assert_eq!(ask.successor, Successor::fit(OTHER));
        assert_eq!(ask.entry(GroupId(1)).micros, Successor::fit(OTHER).0);
        grant(&mut claim, acceptor, NOW);
        assert!(claim.is_releasing());
    }
    // An answer to an earlier request does not count.
    claim.count(
        AcceptorIndex(2),
        &vote(Operation::Renew, Vote::Granted, owned, 0),
        NOW,
    );
    assert!(claim.is_releasing());
    grant(&mut claim, 2, NOW);
    assert!(claim.is_idle());
}

#[test]
fn refusal_for_a_lease_that_lives_is_an_obstacle() {
    let mut claim = proposer(3);
    claim.prepare();
    let theirs = Ballot::new(7, OTHER);
    let refused = vote(Operation::Prepare, Vote::Refused, theirs, 1_500);
    let lease = Some(Obstacle::Lease {
        owner: OTHER,
        remaining: Duration::from_micros(1_500),
    });
    assert_eq!(claim.count(AcceptorIndex(1), &refused, NOW), lease);
    assert!(claim.is_contested() && !claim.is_hopeless());
    assert_eq!(claim.count(AcceptorIndex(2), &refused, NOW), lease);
    assert!(claim.is_hopeless());
}

#[test]
fn refusal_for_a_lease_known_to_be_released_is_as_good_as_no_answer() {
    let theirs = Ballot::new(7, OTHER);
    let lower = Ballot::new(6, OTHER);
    let newer = Ballot::new(8, OTHER);
    let third = Ballot::new(7, NodeId(3));
    for (ballot, unheard) in [
        (theirs, true),
        (lower, true),
        (newer, false),
        (third, false),
    ] {
        let mut claim = proposer(3);
        claim.prepare();
        claim.heard_release(theirs);
        for acceptor in [1, 2] {
            let refused = vote(Operation::Prepare, Vote::Refused, ballot, 1_500);
            let obstacle = claim.count(AcceptorIndex(acceptor), &refused, NOW);
            assert_eq!(obstacle == Some(Obstacle::Unheard), unheard, "{obstacle:?}");
        }
        assert_eq!(claim.is_hopeless(), !unheard, "{ballot:?}");
        assert_eq!(claim.is_contested(), !unheard, "{ballot:?}");
        assert!(claim.is_preparing(), "and no promise");
        assert_eq!(claim.lease_end(), Boottime::default());
    }
}

/// An acceptor's refusals before it received the release do not count against the claim.
#[test]
fn refusal_before_the_release_was_heard_of_is_forgotten_with_it() {
    let theirs = Ballot::new(7, OTHER);
    let mut claim = proposer(3);
    claim.prepare();
    let refused = vote(Operation::Prepare, Vote::Refused, theirs, 1_500);
    claim.count(AcceptorIndex(1), &refused, NOW);
    assert!(claim.is_contested());
    claim.heard_release(theirs);
    assert!(!claim.is_contested());
    claim.count(AcceptorIndex(1), &refused, NOW);
    claim.count(AcceptorIndex(2), &refused, NOW);
    assert!(!claim.is_contested() && !claim.is_hopeless());
}

/// A vote counts from the departure of its probe, and an older vote does not shorten a newer one.
// docs/design/leases.md#rule-1
#[test]
fn vote_counts_from_when_its_probe_left() {
    let mut claim = owner(3, [0, 1]);
    let later = NOW.after(Duration::from_millis(10));
    for left in [later, NOW] {
        grant(&mut claim, 0, left);
        grant(&mut claim, 1, left);
        assert_eq!(claim.lease_end(), later.after(TERM.counted));
    }
}

#[test]
fn promise_to_another_request_does_not_count() {
    let mut claim = proposer(3);
    let earlier = claim.prepare().expect("a ballot");
    claim.abandon();
    let present = claim.prepare().expect("a ballot");
    let others = [
        (Operation::Prepare, earlier),
        (Operation::Accept, present),
        (Operation::Renew, present),
        (Operation::Release, present),
    ];
    for (operation, ballot) in others {
        for acceptor in 0..3 {
            let granted = vote(operation, Vote::Granted, ballot, 0);
            claim.count(AcceptorIndex(acceptor), &granted, NOW);
        }
        assert!(claim.is_preparing(), "{operation:?} {ballot:?}");
    }
}

#[test]
fn obstacles_of_one_kind_about_one_node_are_alike() {
    let lease = |owner, millis| Obstacle::Lease {
        owner,
        remaining: Duration::from_millis(millis),
    };
    let promise = |to, round| Obstacle::Promise {
        to,
        ballot: Ballot::new(round, to),
    };
    assert!(lease(OTHER, 10).is_like(lease(OTHER, 20)));
    assert!(promise(OTHER, 7).is_like(promise(OTHER, 8)));
    assert!(Obstacle::Unheard.is_like(Obstacle::Unheard));
    assert!(Obstacle::<NodeId>::Silence.is_like(Obstacle::Silence));
    let kinds = [
        lease(OTHER, 10),
        lease(LOCAL, 10),
        promise(OTHER, 7),
        promise(LOCAL, 7),
        Obstacle::Unheard,
        Obstacle::Silence,
    ];
    for (at, one) in kinds.into_iter().enumerate() {
        for other in kinds.into_iter().skip(at + 1) {
            assert!(!one.is_like(other), "{one:?}, {other:?}");
            assert!(!other.is_like(one), "{other:?}, {one:?}");
        }
    }
}

/// An owner that renewed before it owns the lease would raise its ballot at a mere promise.
#[test]
fn claim_asks_to_accept_until_a_majority_has_granted_it() {
    let mut claim = proposer(5);
    claim.prepare();
    for acceptor in 0..3 {
        grant(&mut claim, acceptor, NOW);
    }
    for acceptor in 0..3 {
        let asked = claim.ask().map(|ask| ask.operation);
        assert_eq!(asked, Some(Operation::Accept), "{acceptor} votes");
        grant(&mut claim, acceptor, NOW);
    }
    let asked = claim.ask().map(|ask| ask.operation);
    assert_eq!(asked, Some(Operation::Renew));
}

#[test]
fn promise_to_a_ballot_whose_lease_was_released_is_an_obstacle() {
    let theirs = Ballot::new(99, OTHER);
    let mut claim = proposer(3);
    claim.prepare();
    claim.heard_release(theirs);
    let refused = vote(Operation::Prepare, Vote::Refused, theirs, 0);
    let promise = Obstacle::Promise {
        to: OTHER,
        ballot: theirs,
    };
    assert_eq!(claim.count(AcceptorIndex(1), &refused, NOW), Some(promise));
    assert!(claim.is_contested());
}

#[test]
fn vote_ends_at_its_end() {
    let claim = owner(3, [0, 1]);
    let end = NOW.after(TERM.counted);
    let before = Boottime::from_nanos(end.as_nanos() - 1);
    assert_eq!((claim.votes(before), claim.votes(end)), (2, 0));
    assert!(claim.has_vote_of(AcceptorIndex(1), before));
    assert!(!claim.has_vote_of(AcceptorIndex(1), end));
}
