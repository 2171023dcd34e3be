//! A vote counts for the length that the acceptor granted, and no longer. A vote for a shorter
//! lease than is counted on does not count.

use std::time::Duration;

use heartbeat_common::{
    lease::{Ballot, Operation, Request, Slot, Vote, decide},
    time::Boottime,
    wire::{GroupId, LeaseEntry, NodeId},
};
use heartbeat_core::{
    index::AcceptorIndex,
    proposer::{MajorityConfig, Proposer, Term},
};

const A: NodeId = NodeId(1);
const ASKED: Duration = Duration::from_millis(60);
const TERM: Term = Term {
    asked: ASKED,
    counted: Duration::from_millis(59),
};
const MICROS: u32 = 60_000;
/// The departure of all probes.
const NOW: Boottime = Boottime::from_nanos(1_000_000);

/// A claim with the promises of three acceptors, and before their grants.
fn promised() -> (Proposer, Ballot) {
    let mut claim = Proposer::new(A, MajorityConfig::of_all(3), 7, TERM);
    let ballot = claim.prepare().expect("a higher ballot");
    for acceptor in 0..3 {
        claim.count(
            AcceptorIndex(acceptor),
            &granted(Operation::Prepare, ballot, 0),
            NOW,
        );
    }
    assert_eq!(
        claim.ask().map(|ask| ask.operation),
        Some(Operation::Accept)
    );
    (claim, ballot)
}

fn granted(operation: Operation, ballot: Ballot, micros: u32) -> LeaseEntry {
    LeaseEntry {
        group: 9,
        operation: operation as u8,
        vote: Vote::Granted as u8,
        micros,
        ballot: ballot.0,
    }
}

#[test]
fn vote_for_a_shorter_lease_counts_for_nothing() {
    for micros in [1, 1_000, MICROS - 1] {
        let (mut claim, ballot) = promised();
        for acceptor in 0..3 {
            claim.count(
                AcceptorIndex(acceptor),
                &granted(Operation::Accept, ballot, micros),
                NOW,
            );
        }
        assert_eq!(claim.lease_end(), Boottime::default(), "{micros} us");
        // Among good votes, the short one is missing.
        claim.count(
            AcceptorIndex(0),
            &granted(Operation::Accept, ballot, MICROS),
            NOW,
        );
        assert_eq!(claim.lease_end(), Boottime::default(), "{micros} us");
        claim.count(
            AcceptorIndex(1),
            &granted(Operation::Accept, ballot, MICROS),
            NOW,
        );
        assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
        // A short vote neither removes nor prolongs another vote.
        let later = NOW.after(TERM.counted / 2);
        for acceptor in 0..3 {
            claim.count(
                AcceptorIndex(acceptor),
                &granted(Operation::Renew, ballot, micros),
                later,
            );
        }
        assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
    }
}

#[test]
fn vote_for_as_long_a_lease_as_was_asked_for_counts() {
    // An acceptor of an earlier release sends no length.
    for micros in [0, MICROS, MICROS + 1, u32::MAX] {
        let (mut claim, ballot) = promised();
        for acceptor in 0..2 {
            claim.count(
                AcceptorIndex(acceptor),
                &granted(Operation::Accept, ballot, micros),
                NOW,
            );
        }
        assert_eq!(claim.lease_end(), NOW.after(TERM.counted), "{micros} us");
    }
}

#[test]
fn vote_for_the_usual_lease_counts_for_nothing_in_a_longer_one() {
    const LONG: Term = Term {
        asked: Duration::from_millis(600),
        counted: Duration::from_millis(590),
    };
    let (mut claim, ballot) = promised();
    for acceptor in 0..3 {
        claim.count(
            AcceptorIndex(acceptor),
            &granted(Operation::Accept, ballot, MICROS),
            NOW,
        );
    }
    claim.prepare_restart(LONG);
    let higher = claim.ask().expect("a renewal").ballot;
    assert!(higher > ballot);
    for acceptor in 0..3 {
        claim.count(
            AcceptorIndex(acceptor),
            &granted(Operation::Renew, higher, MICROS),
            NOW,
        );
    }
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
    for acceptor in 0..3 {
        let vote = granted(Operation::Renew, higher, 10 * MICROS);
        claim.count(AcceptorIndex(acceptor), &vote, NOW);
    }
    assert_eq!(claim.lease_end(), NOW.after(LONG.counted));
}

#[test]
fn acceptor_s_answer_to_what_is_asked_counts() {
    let (mut claim, _) = promised();
    for acceptor in 0..2 {
        let ask = claim.ask().expect("there is a claim");
        let entry = ask.entry(GroupId(9));
        let request = Request {
            operation: ask.operation,
            ballot: ask.ballot,
            lease_ns: u64::from(entry.micros) * 1_000,
            successor: ask.successor,
        };
        let answer = decide(&mut Slot::default(), &request, NOW);
        let vote = LeaseEntry {
            vote: answer.vote as u8,
            micros: answer.micros,
            ballot: answer.ballot,
            ..entry
        };
        assert_eq!(vote.micros, MICROS);
        claim.count(AcceptorIndex(acceptor), &vote, NOW);
    }
    assert_eq!(claim.lease_end(), NOW.after(TERM.counted));
}
