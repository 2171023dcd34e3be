//! Lease entries on a packet's way: requested by A, voted on by B, passed to A's agent; and a node
//! that probes itself.

mod support;

use heartbeat_common::{
    lease::{Ballot, Operation, Successor, Vote},
    maps::{MAX_GROUPS, VoteEvent},
    receive::LOOPBACK,
    verdict::Verdict,
    wire::{GroupId, Header, Kind, LeaseEntry, MAX_LEASES, NodeId, Sequence},
};
use support::{Endpoint, Family, KEY, Node, TIMEOUT_NS, frames::Seen, pair};

const NOW: u64 = 7_000_000_000;
/// The length of every lease, in microseconds.
const LEASE: u32 = 60_000;
/// The latency of a probe, and the lead of the receiver's clock, in nanoseconds.
const TRAVEL: u64 = 1_000;
const OFFSET: u64 = 3_000_000_000;
const WEB: u16 = 40_001;
const MAIL: u16 = 7;

fn ask(group: u16, operation: Operation, ballot: Ballot) -> LeaseEntry {
    LeaseEntry {
        group,
        operation: operation as u8,
        vote: 0,
        micros: if operation == Operation::Release {
            0
        } else {
            LEASE
        },
        ballot: ballot.0,
    }
}

fn of_a(round: u64) -> Ballot {
    Ballot::new(round, NodeId(1))
}

fn of_b(round: u64) -> Ballot {
    Ballot::new(round, NodeId(2))
}

/// A probe with `entries` as it arrives from `from`.
fn probe(from: &mut Node, to: &Node, now: u64, entries: &[LeaseEntry]) -> Vec<u8> {
    let header = from.next_probe(&to.at);
    let mut frame = from.frame(&to.at, &header, entries, None).build();
    assert_eq!(from.stamp_at(now, &mut frame), Some(Verdict::Stamped));
    frame
}

/// The reply to a probe that leaves at `now`. `to` sends it after the arrival of the probe, and on
/// a clock of its own.
fn reply(from: &mut Node, to: &mut Node, now: u64, entries: &[LeaseEntry]) -> Vec<u8> {
    let mut frame = probe(from, to, now, entries);
    let received = to.receive_at(now + OFFSET + TRAVEL, &mut frame);
    assert_eq!(received.verdict, Verdict::Answered);
    frame
}

/// The vote for it, with the length of the granted lease.
fn granted(entry: LeaseEntry) -> LeaseEntry {
    let grants = matches!(
        Operation::from_wire(entry.operation),
        Some(Operation::Accept | Operation::Renew)
    );
    LeaseEntry {
        vote: Vote::Granted as u8,
        micros: if grants { entry.micros } else { 0 },
        ..entry
    }
}

#[test]
fn votes_reach_the_agent_that_asked() {
    let (mut a, mut b) = pair(Family::V4);
    let owned = [
        ask(WEB, Operation::Prepare, of_b(9)),
        ask(WEB, Operation::Accept, of_b(9)),
    ];
    reply(&mut b, &mut a, NOW, &owned);
    // B's acceptor does not know the grants of A's, and grants: therefore the protocol needs
    // majorities.
    let asked = [
        ask(WEB, Operation::Prepare, of_a(3)),
        ask(MAIL, Operation::Renew, of_a(4)),
        ask(MAIL, Operation::Renew, of_b(5)),
    ];
    let mut frame = reply(&mut a, &mut b, NOW + 10, &asked);
    assert_eq!(
        a.receive_at(NOW + 1_010, &mut frame).verdict,
        Verdict::Recorded
    );
    let [(event, _)] = a.tables.votes[..] else {
        panic!("not one event: {:?}", a.tables.votes);
    };
    let told = [granted(asked[0]), granted(asked[1]), asked[2]];
    assert_eq!((event.row, event.count, event.sequence), (0, 3, 1));
    assert_eq!(
        event.t1,
        NOW + 10,
        "the lease is counted from when the probe left"
    );
    assert_eq!(event.entries[..3], told);
    assert_eq!(event.entries[3..], [LeaseEntry::default(); 5]);
    assert!(b.tables.votes.is_empty(), "B's agent asked nothing");
}

#[test]
fn refusal_says_whose_lease_it_is_and_for_how_long() {
    let (mut a, mut b) = pair(Family::V6);
    let own = Endpoint {
        ifindex: LOOPBACK,
        ..b.at
    };
    b.know(&own);
    let mut frame = from_itself(&b, 1, &[ask(WEB, Operation::Accept, of_b(2))]);
    b.tables.ifindex = LOOPBACK;
    let received = b.receive_at(NOW + OFFSET, &mut frame);
    assert_eq!(received.verdict, Verdict::Answered);
    b.tables.ifindex = b.at.ifindex;
    let asked = ask(WEB, Operation::Prepare, of_a(3));
    let frame = reply(&mut a, &mut b, NOW + 1_000_000, &[asked]);
    let refused = LeaseEntry {
        vote: Vote::Refused as u8,
        micros: LEASE - 1_000 - (TRAVEL / 1_000) as u32,
        ballot: of_b(2).0,
        ..asked
    };
    assert_eq!(Seen::of(&frame).leases(), [refused]);
}

#[test]
fn agent_is_woken_for_all_but_renewals() {
    let renewal = ask(WEB, Operation::Renew, of_a(1));
    let of = |operation| ask(MAIL, operation, of_a(1));
    let cases = [
        (vec![renewal], false),
        (vec![renewal; MAX_LEASES], false),
        (vec![renewal, of(Operation::Prepare)], true),
        (vec![of(Operation::Accept), renewal], true),
        (vec![of(Operation::Release)], true),
        (
            [vec![renewal; 7], vec![of(Operation::Prepare)]].concat(),
            true,
        ),
    ];
    for (entries, wakes) in cases {
        let (mut a, mut b) = pair(Family::V4);
        let mut frame = reply(&mut a, &mut b, NOW, &entries);
        a.receive_at(NOW, &mut frame);
        let told: Vec<_> = a
            .tables
            .votes
            .iter()
            .map(|(event, w)| (event.count, *w))
            .collect();
        assert_eq!(told, [(entries.len() as u32, wakes)], "{entries:?}");
    }
}

#[test]
fn only_a_fresh_reply_tells_of_votes() {
    let entries = [ask(WEB, Operation::Accept, of_a(1))];
    let (mut a, mut b) = pair(Family::V4);
    let frame = reply(&mut a, &mut b, NOW, &entries);
    let mut tells = |now, mut frame: Vec<u8>, verdict| {
        a.tables.votes.clear();
        assert_eq!(a.receive_at(now, &mut frame).verdict, verdict);
        a.tables.votes.len()
    };
    let mut forged = frame.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(tells(NOW, forged, Verdict::BadTag), 0);
    assert_eq!(tells(NOW, frame.clone(), Verdict::Recorded), 1);
    assert_eq!(tells(NOW, frame, Verdict::ReplayedReply), 0);

    let (mut a, mut b) = pair(Family::V4);
    let mut late = reply(&mut a, &mut b, NOW, &entries);
    let received = a.receive_at(NOW + TIMEOUT_NS + 1, &mut late);
    assert_eq!(received.verdict, Verdict::LateReply);
    let mut bare = reply(&mut a, &mut b, NOW, &[]);
    assert_eq!(a.receive_at(NOW, &mut bare).verdict, Verdict::Recorded);
    assert!(a.tables.votes.is_empty(), "{:?}", a.tables.votes);
}

#[test]
fn granted_release_wakes_the_agents_that_might_want_the_group() {
    let (mut a, mut b) = pair(Family::V4);
    reply(&mut a, &mut b, NOW, &[ask(WEB, Operation::Accept, of_a(1))]);
    let release = LeaseEntry {
        micros: Successor::chosen(NodeId(2)).0,
        ..ask(WEB, Operation::Release, of_a(1))
    };
    let refused = ask(MAIL, Operation::Release, of_a(1));
    let frame = reply(&mut a, &mut b, NOW + 1, &[refused, release]);
    let votes: Vec<_> = Seen::of(&frame).leases().iter().map(|e| e.vote).collect();
    assert_eq!(votes, [Vote::Refused as u8, Vote::Granted as u8]);
    let [(event, wakes)] = b.tables.votes[..] else {
        panic!("not one event: {:?}", b.tables.votes);
    };
    assert_eq!((event.row, event.count), (VoteEvent::FREED, 1));
    assert_eq!(event.entries[0], release, "it says whom for");
    assert!(wakes);
}

#[test]
fn replayed_or_forged_probe_moves_no_slot() {
    let (mut a, mut b) = pair(Family::V4);
    let accept = [ask(WEB, Operation::Accept, of_a(1))];
    let original = probe(&mut a, &b, NOW, &accept);
    assert_eq!(
        b.receive_at(NOW, &mut original.clone()).verdict,
        Verdict::Answered
    );
    let slots = b.tables.slots.clone();
    // Just before the lease's end, when a renewal would matter.
    let later = NOW + u64::from(LEASE) * 1_000 - 1;
    let mut forged = probe(&mut a, &b, NOW, &accept);
    *forged.last_mut().unwrap() ^= 1;
    for (mut frame, verdict) in [
        (original, Verdict::ReplayedProbe),
        (forged, Verdict::BadTag),
    ] {
        assert_eq!(b.receive_at(later, &mut frame).verdict, verdict);
        assert_eq!(b.tables.slots, slots);
    }
}

#[test]
fn acceptor_votes_on_claims_by_its_own_list_of_nodes_and_by_the_one_before() {
    for (version, claiming, votes) in [
        (1, 1, true),
        (5, 5, true),
        (5, 4, true),
        (5, 3, false),
        (5, 6, false),
        (5, 0, false),
        // No node claims by no list.
        (1, 0, false),
        (u16::MAX, u16::MAX - 1, true),
        (u16::MAX, u16::MAX, true),
        (0, u16::MAX, false),
    ] {
        let (mut a, mut b) = pair(Family::V4);
        b.tables.local.config_version = version;
        a.tables.local.claiming_version = claiming;
        let accept = ask(WEB, Operation::Accept, of_a(1));
        let seen = Seen::of(&reply(&mut a, &mut b, NOW, &[accept]));
        if votes {
            assert_eq!(seen.leases(), [granted(accept)], "{version} {claiming}");
        } else {
            // The entry as requested, and without a vote.
            assert_eq!(seen.leases(), [accept], "{version} {claiming}");
            assert!(b.tables.slots.is_empty(), "{version} {claiming}");
        }
        // The reply still proves that the node is alive, and has the reason.
        assert_eq!(seen.header().liveness.voter_set.version, version);
    }
}

#[test]
fn acceptor_without_room_for_another_group_abstains() {
    let (mut a, mut b) = pair(Family::V4);
    let full = (0..MAX_GROUPS as u16).map(|group| (GroupId(group), Default::default()));
    b.tables.slots = full.collect();
    let known = ask(3, Operation::Accept, of_a(1));
    let unknown = ask(MAX_GROUPS as u16, Operation::Accept, of_a(1));
    let frame = reply(&mut a, &mut b, NOW, &[unknown, known]);
    assert_eq!(Seen::of(&frame).leases(), [unknown, granted(known)]);
    assert_eq!(b.tables.slots.len(), MAX_GROUPS);
}

#[test]
fn unsaid_vote_is_not_taken_from_the_asker() {
    let (mut a, mut b) = pair(Family::V4);
    let claimed = LeaseEntry {
        vote: Vote::Granted as u8,
        ..ask(WEB, Operation::Accept, of_b(1))
    };
    let frame = reply(&mut a, &mut b, NOW, &[claimed]);
    let abstained = LeaseEntry {
        vote: Vote::Abstains as u8,
        ..claimed
    };
    assert_eq!(Seen::of(&frame).leases(), [abstained]);
}

/// A node that has an entry for itself on its allow-list, as the loader makes it. Its own row is
/// the last.
fn alone() -> Node {
    let at = Endpoint::of(1, Family::V4);
    let mut node = Node::new(at, &[Endpoint::of(2, Family::V4)]);
    node.know(&at);
    node.tables.ifindex = LOOPBACK;
    node
}

/// The frame by which its agent gets its own vote from the program.
fn from_itself(node: &Node, sequence: u64, entries: &[LeaseEntry]) -> Vec<u8> {
    let header = Header {
        sequence: Sequence(sequence),
        ..node.clone().next_probe(&node.at)
    };
    node.frame(&node.at, &header, entries, Some(KEY)).build()
}

// docs/design/leases.md#rule-3
#[test]
fn node_asks_its_own_acceptor_by_the_loopback_interface() {
    let mut node = alone();
    let entry = ask(WEB, Operation::Accept, of_a(1));
    let mut frame = from_itself(&node, 1, &[entry]);
    let received = node.receive_at(NOW, &mut frame);
    assert_eq!(
        (received.verdict, received.row),
        (Verdict::Answered, Some(1))
    );
    let reply = Seen::of(&frame);
    assert_eq!(reply.header().kind, Kind::Reply);
    assert_eq!(reply.leases(), [granted(entry)]);
    let slot = node.tables.slots[&GroupId(WEB)];
    assert_eq!((slot.owner, slot.ballot), (1, of_a(1).0));
    assert_eq!(slot.expires, NOW + u64::from(LEASE) * 1_000);
}

#[test]
fn frame_from_itself_is_a_forgery_on_a_link() {
    let mut node = alone();
    node.tables.ifindex = node.at.ifindex;
    let mut frame = from_itself(&node, 1, &[ask(WEB, Operation::Accept, of_a(1))]);
    let received = node.receive_at(NOW, &mut frame);
    assert_eq!(
        (received.verdict, received.row),
        (Verdict::UnknownPeer, None)
    );
    assert!(node.tables.slots.is_empty());
}

#[test]
fn peer_does_not_come_by_the_loopback_interface() {
    let mut node = alone();
    let mut peer = Node::new(Endpoint::of(2, Family::V4), &[node.at]);
    let mut frame = probe(
        &mut peer,
        &node,
        NOW,
        &[ask(WEB, Operation::Accept, of_b(1))],
    );
    assert_eq!(
        node.receive_at(NOW, &mut frame.clone()).verdict,
        Verdict::UnknownPeer
    );
    assert!(node.tables.slots.is_empty());
    node.tables.ifindex = node.at.ifindex;
    assert_eq!(node.receive_at(NOW, &mut frame).verdict, Verdict::Answered);
}

#[test]
fn node_without_an_entry_for_itself_takes_nothing_from_itself() {
    let at = Endpoint::of(1, Family::V4);
    let mut node = Node::new(at, &[]);
    node.tables.ifindex = LOOPBACK;
    let mut frame = from_itself(&node, 1, &[]);
    assert_eq!(
        node.receive_at(NOW, &mut frame).verdict,
        Verdict::UnknownPeer
    );
}
