//! The answers of an acceptor, with one named case for each rule. `lease_histories` tests all rules
//! together.

use heartbeat_common::{
    lease::{Answer, Ballot, Limits, Operation, Request, Slot, Successor, Vote, decide},
    time::Boottime,
    wire::{LeaseEntry, NodeId},
};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(65_535);
/// The length of every lease in the stories, in nanoseconds.
const LEASE: u64 = 60_000_000;
const LIMITS: Limits = Limits {
    votes_from: 1_000,
    max_lease_ns: LEASE,
};
/// The start of voting of the acceptor of [`LIMITS`].
const NOW: Boottime = Boottime::from_nanos(5_000);

/// The slot and the clock of one acceptor.
#[derive(Default)]
struct Acceptor {
    slot: Slot,
    now: u64,
}

impl Acceptor {
    fn ask(&mut self, operation: Operation, ballot: Ballot) -> Answer {
        self.ask_for(Successor::default(), operation, ballot)
    }

    fn ask_for(&mut self, successor: Successor, operation: Operation, ballot: Ballot) -> Answer {
        let request = Request {
            operation,
            ballot,
            lease_ns: LEASE,
            successor,
        };
        let now = self.now();
        decide(&mut self.slot, &request, now)
    }

    fn now(&self) -> Boottime {
        Boottime::from_nanos(self.now)
    }

    fn owner(&self) -> Option<NodeId> {
        self.slot.live_owner(self.now())
    }

    /// An acceptor that granted `ballot` at 0.
    fn held_by(ballot: Ballot) -> Self {
        let mut acceptor = Self::default();
        assert_eq!(acceptor.ask(Operation::Prepare, ballot), agreed(ballot));
        assert_eq!(acceptor.ask(Operation::Accept, ballot), granted(ballot));
        acceptor
    }
}

/// The answer that grants a lease, with its length.
fn granted(ballot: Ballot) -> Answer {
    Answer {
        micros: (LEASE / 1_000) as u32,
        ..agreed(ballot)
    }
}

/// The answer that grants no lease: a promise, or a release.
fn agreed(ballot: Ballot) -> Answer {
    Answer {
        vote: Vote::Granted,
        micros: 0,
        ballot: ballot.0,
    }
}

fn refused(ballot: u64, micros: u32) -> Answer {
    Answer {
        vote: Vote::Refused,
        micros,
        ballot,
    }
}

#[test]
fn promise_gives_nobody_the_lease_and_an_accept_does() {
    let first = Ballot::new(1, A);
    let mut acceptor = Acceptor::default();
    assert_eq!(acceptor.ask(Operation::Prepare, first), agreed(first));
    assert_eq!(acceptor.owner(), None);
    assert_eq!(acceptor.ask(Operation::Accept, first), granted(first));
    assert_eq!(acceptor.owner(), Some(A));
    acceptor.now = LEASE - 1;
    assert_eq!(acceptor.owner(), Some(A));
    acceptor.now = LEASE;
    assert_eq!(acceptor.owner(), None, "a lease of T ends after T");
}

#[test]
fn candidate_learns_the_remaining_time_and_gets_the_lease_then() {
    let (old, new) = (Ballot::new(7, A), Ballot::new(8, B));
    let mut acceptor = Acceptor::held_by(old);
    acceptor.now = LEASE - 2_500;
    let held = acceptor.slot;
    for operation in [Operation::Prepare, Operation::Accept, Operation::Renew] {
        assert_eq!(acceptor.ask(operation, new), refused(old.0, 3));
    }
    assert_eq!(acceptor.slot, held, "a refusal leaves no trace");
    acceptor.now = LEASE;
    assert_eq!(acceptor.ask(Operation::Prepare, new), agreed(new));
    assert_eq!(acceptor.ask(Operation::Accept, new), granted(new));
    assert_eq!(acceptor.owner(), Some(B));
    assert_eq!(
        acceptor.ask(Operation::Renew, old),
        refused(new.0, (LEASE / 1_000) as u32),
        "the old owner woke up too late"
    );
}

#[test]
fn renewals_keep_the_lease_and_those_that_come_late_do_not_shorten_it() {
    let ballot = Ballot::new(1, A);
    let mut acceptor = Acceptor::held_by(ballot);
    acceptor.now = LEASE - 1;
    assert_eq!(acceptor.ask(Operation::Renew, ballot), granted(ballot));
    assert_eq!(acceptor.slot.expires, LEASE - 1 + LEASE);
    // Another processor read the clock earlier and got the lock later.
    acceptor.now = LEASE / 2;
    assert_eq!(acceptor.ask(Operation::Renew, ballot), granted(ballot));
    assert_eq!(acceptor.slot.expires, LEASE - 1 + LEASE);
}

#[test]
fn promise_to_one_candidate_shuts_out_the_lower_ballots_of_the_others() {
    let (low, high) = (Ballot::new(4, B), Ballot::new(5, A));
    let mut acceptor = Acceptor::default();
    assert_eq!(acceptor.ask(Operation::Prepare, low), agreed(low));
    assert_eq!(acceptor.ask(Operation::Prepare, high), agreed(high));
    let late = acceptor.ask(Operation::Accept, low);
    assert_eq!(late, refused(high.0, 0), "it was overtaken");
    assert_eq!(acceptor.ask(Operation::Accept, high), granted(high));
}

#[test]
fn node_that_restarts_takes_its_own_lease_over() {
    let (before, after) = (Ballot::new(4, A), Ballot::new(9, A));
    let mut acceptor = Acceptor::held_by(before);
    assert_eq!(acceptor.ask(Operation::Prepare, after), agreed(after));
    assert_eq!(acceptor.ask(Operation::Accept, after), granted(after));
    assert_eq!(acceptor.owner(), Some(A));
    // No request of its earlier incarnation affects the lease any more.
    for operation in [Operation::Prepare, Operation::Accept, Operation::Release] {
        assert_eq!(acceptor.ask(operation, before), refused(after.0, 0));
    }
    assert_eq!(acceptor.owner(), Some(A));
}

#[test]
fn release_frees_the_group_at_once_for_the_node_that_it_names() {
    let (old, new) = (Ballot::new(1, A), Ballot::new(2, B));
    let mut acceptor = Acceptor::held_by(old);
    let release =
        |acceptor: &mut Acceptor| acceptor.ask_for(Successor::chosen(B), Operation::Release, old);
    assert_eq!(release(&mut acceptor), agreed(old));
    assert_eq!(acceptor.owner(), None);
    assert_eq!(acceptor.slot.successor, Successor::chosen(B).0);
    let free = acceptor.slot;
    assert_eq!(release(&mut acceptor), agreed(old), "asked again");
    assert_eq!(acceptor.slot, free);

    let late = acceptor.ask(Operation::Renew, old);
    assert_eq!(late, refused(old.0 + 1, 0), "overtaken by the release");
    assert_eq!(acceptor.ask(Operation::Accept, new), granted(new));
    assert_eq!(acceptor.owner(), Some(B));
    assert_eq!(acceptor.slot.successor, 0, "the hand-over is done");
    assert_eq!(release(&mut acceptor), refused(new.0, 0));
    assert_eq!(acceptor.owner(), Some(B), "a late release takes nothing");
}

#[test]
fn nobody_releases_another_s_lease() {
    let ballot = Ballot::new(3, A);
    let mut acceptor = Acceptor::held_by(ballot);
    let held = acceptor.slot;
    for other in [Ballot::new(3, B), Ballot::new(2, A), Ballot::new(4, A)] {
        let answer = acceptor.ask(Operation::Release, other);
        assert_eq!(answer, refused(ballot.0, 0));
        assert_eq!(acceptor.slot, held);
    }
}

#[test]
fn time_left_is_rounded_up_and_stops_at_what_an_entry_can_say() {
    let owner = Ballot::new(1, A);
    for (left, micros) in [
        (1, 1),
        (999, 1),
        (1_000, 1),
        (1_001, 2),
        (u64::from(u32::MAX) * 1_000, u32::MAX),
        (u64::from(u32::MAX) * 1_000 + 1, u32::MAX),
        (u64::MAX, u32::MAX),
    ] {
        let mut acceptor = Acceptor::held_by(owner);
        acceptor.slot.expires = left;
        let answer = acceptor.ask(Operation::Prepare, Ballot::new(2, B));
        assert_eq!(answer, refused(owner.0, micros), "{left} ns left");
    }
}

#[test]
fn nothing_overflows_at_the_ends_of_the_clock_and_of_the_ballots() {
    let last = Ballot(u64::MAX);
    assert_eq!(last, Ballot::new(Ballot::MAX_ROUND, C));
    let mut acceptor = Acceptor {
        now: u64::MAX - 1,
        ..Acceptor::default()
    };
    assert_eq!(acceptor.ask(Operation::Accept, last), granted(last));
    assert_eq!(acceptor.slot.expires, u64::MAX);
    let below = Ballot(u64::MAX - 1);
    assert_eq!(acceptor.ask(Operation::Accept, below), refused(last.0, 1));
    assert_eq!(acceptor.ask(Operation::Release, last), agreed(last));
    assert_eq!(acceptor.owner(), None);
    assert_eq!(acceptor.slot.promised, u64::MAX);
    // There is no higher ballot to promise. Only the same node may have the lease again.
    assert_eq!(acceptor.ask(Operation::Accept, below), refused(last.0, 0));
    assert_eq!(acceptor.ask(Operation::Accept, last), granted(last));
}

#[test]
fn ballot_of_round_0_is_as_good_as_any() {
    let lowest = Ballot::new(0, A);
    assert_eq!(lowest, Ballot(1));
    let mut acceptor = Acceptor::held_by(lowest);
    assert_eq!(acceptor.ask(Operation::Release, lowest), agreed(lowest));
    assert_eq!(acceptor.ask(Operation::Accept, lowest), refused(2, 0));
}

#[test]
fn empty_slot_has_no_owner_and_refuses_any_release() {
    let mut acceptor = Acceptor::default();
    let answer = acceptor.ask(Operation::Release, Ballot::new(1, A));
    assert_eq!(answer, refused(0, 0));
    assert_eq!(acceptor.slot, Slot::default());
}

#[test]
fn every_other_byte_is_no_operation_and_an_unknown_vote_is_none() {
    use Operation::{Accept, Prepare, Release, Renew};
    let named = [Prepare, Accept, Release, Renew];
    for byte in 0..=u8::MAX {
        let meant = named.into_iter().find(|named| *named as u8 == byte);
        assert_eq!(Operation::from_wire(byte), meant);
        let vote = match byte {
            1 => Vote::Granted,
            2 => Vote::Refused,
            _ => Vote::Abstains,
        };
        assert_eq!(Vote::from_wire(byte), vote);
    }
}

fn entry(operation: u8, micros: u32, ballot: Ballot) -> LeaseEntry {
    LeaseEntry {
        group: 9,
        operation,
        vote: 0,
        micros,
        ballot: ballot.0,
    }
}

#[test]
fn fair_entry_is_read_as_it_was_meant() {
    let ballot = Ballot::new(3, A);
    let read = Request::read(&entry(2, 60_000, ballot), A, LIMITS, NOW).unwrap();
    assert_eq!(
        (read.operation, read.ballot, read.lease_ns),
        (Operation::Accept, ballot, LEASE)
    );
    // A release carries no time: its field may be larger than any lease.
    for successor in [
        Successor::default(),
        Successor::fit(C),
        Successor::chosen(B),
        Successor(u32::MAX),
    ] {
        let read = Request::read(&entry(3, successor.0, ballot), A, LIMITS, NOW).unwrap();
        assert_eq!(
            (read.operation, read.successor),
            (Operation::Release, successor)
        );
    }
}

#[test]
fn successor_says_who_it_is_and_whether_somebody_chose_it() {
    for node in [NodeId(0), A, C] {
        let (fit, chosen) = (Successor::fit(node), Successor::chosen(node));
        assert_eq!((fit.node(), chosen.node()), (node, node));
        assert_ne!(fit, chosen);
    }
    assert_eq!(Successor::default(), Successor::fit(NodeId(0)));
}

#[test]
fn acceptor_abstains_where_it_must() {
    let ballot = Ballot::new(3, A);
    let most = (LEASE / 1_000) as u32;
    let read = |entry, from| Request::read(&entry, from, LIMITS, NOW);
    for operation in [1, 2, 4] {
        assert!(read(entry(operation, 1, ballot), A).is_some());
        assert!(read(entry(operation, most, ballot), A).is_some());
        for (what, entry, from) in [
            ("no time", entry(operation, 0, ballot), A),
            ("too long", entry(operation, most + 1, ballot), A),
            ("for ever", entry(operation, u32::MAX, ballot), A),
            ("another's ballot", entry(operation, 1, ballot), B),
            ("nobody's ballot", entry(operation, 1, Ballot(3 << 16)), A),
            ("nobody", entry(operation, 1, Ballot(3 << 16)), NodeId(0)),
        ] {
            assert_eq!(read(entry, from), None, "{what}, operation {operation}");
        }
    }
    assert_eq!(read(entry(3, 0, ballot), B), None, "another's release");
    assert_eq!(read(entry(3, 0, Ballot(0)), NodeId(0)), None);
    for operation in (0..=u8::MAX).filter(|byte| !(1..=4).contains(byte)) {
        assert_eq!(read(entry(operation, 1, ballot), A), None);
    }
}

// docs/design/leases.md#rule-2
#[test]
fn acceptor_that_may_have_forgotten_abstains_until_it_could_have_forgotten_nothing() {
    let limits = Limits {
        votes_from: 1_000,
        ..LIMITS
    };
    for operation in 1..=4 {
        let entry = entry(operation, 1, Ballot::new(1, A));
        let read = |now| Request::read(&entry, A, limits, Boottime::from_nanos(now));
        assert_eq!(read(0), None);
        assert_eq!(read(999), None);
        assert!(read(1_000).is_some());
    }
}
