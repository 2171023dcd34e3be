//! The count of repeated votes, the row that a guard reads, and the list that both go by. The model
//! in `crates/core/tests/renewal.rs` has the interleavings of whole clusters.

use std::collections::BTreeSet;

use heartbeat_common::{
    lease::Ballot,
    renewal::{
        ClaimTag, Counting, Counts, GroupRow, MAX_VOTERS, Outcome, RepeatedVote, TaggedEnd,
        VoterList,
    },
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use proptest::prelude::*;

const OWNER: NodeId = NodeId(1);
const FIRST: Ballot = Ballot::new(7, OWNER);
const LEASE_MICROS: u32 = 1_000;
const NOW: Boottime = at(10_000);

const fn at(micros: u64) -> Boottime {
    Boottime::from_nanos(micros * 1_000)
}

fn tag(ballot: Ballot) -> ClaimTag {
    ClaimTag::of(ballot).expect("a round with a tag")
}

/// The row of a claim that began with `first` and lasts until `end` by the pulse's count.
fn row(first: Ballot, end: Boottime) -> GroupRow {
    GroupRow {
        permit: tag(first).to_word(),
        until: TaggedEnd::new(tag(first), end),
        first: first.0,
        asking: first.0,
        ..GroupRow::default()
    }
}

fn counting(voters: u8, mask: u8) -> Counting {
    Counting {
        life: 1,
        list: VoterList::new(1, voters, mask),
        counted_ppm: 800_000,
    }
}

fn granted(asked_at: Boottime) -> RepeatedVote {
    RepeatedVote {
        life: 1,
        ballot: FIRST,
        asked_at,
        lease_micros: LEASE_MICROS,
        granted: true,
    }
}

proptest! {
    /// Grants of up to eight voters, asked for at any times.
    #[test]
    fn lease_ends_at_the_majority_th_latest_vote(
        times in prop::collection::vec(prop::option::of(9_500_u64..10_000), 1..=MAX_VOTERS),
        mask: u8,
    ) {
        let voters = times.len() as u8;
        let mask = mask & u8::MAX >> (8 - voters);
        let by = counting(voters, mask);
        let mut counts = Counts::default();
        let row = row(FIRST, at(20_000));
        let mut last = None;
        for (index, time) in times.iter().enumerate() {
            if let Some(time) = *time {
                let voter = (index, NodeId(index as u16 + 1));
                let outcome = counts.count(&row, &by, voter, &granted(at(time)), NOW);
                prop_assert_ne!(outcome, Outcome::Ignored);
                last = Some(outcome);
            }
        }
        let counted = times.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
        let mut ends: Vec<_> = counted.map(|(_, time)| time.map_or(0, |time| time + 800)).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let end = ends.get(usize::from(voters) / 2).copied().unwrap_or(0);
        if let Some(outcome) = last {
            prop_assert_eq!(outcome, Outcome::Renewed(TaggedEnd::new(tag(FIRST), at(end))));
        }
    }
}

#[test]
fn vote_counts_in_time_and_once() {
    let (by, row) = (counting(1, 1), row(FIRST, at(10_500)));
    let mut counts = Counts::default();
    let mut count = |vote: RepeatedVote| counts.count(&row, &by, (0, OWNER), &vote, NOW);
    let renewed = |end| Outcome::Renewed(TaggedEnd::new(tag(FIRST), at(end)));
    assert_eq!(count(granted(at(9_900))), renewed(10_700));
    for (ignored, why) in [
        (granted(at(9_900)), "the same again"),
        (granted(at(9_800)), "an older one"),
        (granted(at(10_001)), "one that was asked for in the future"),
        (
            RepeatedVote {
                life: 2,
                ..granted(at(9_950))
            },
            "one of another life",
        ),
        (
            RepeatedVote {
                ballot: Ballot::new(6, OWNER),
                ..granted(at(9_950))
            },
            "one for an earlier claim",
        ),
        (
            RepeatedVote {
                ballot: Ballot::new(8, OWNER),
                ..granted(at(9_950))
            },
            "one for a ballot that was not asked for",
        ),
    ] {
        assert_eq!(count(ignored), Outcome::Ignored, "{why}");
    }
    assert_eq!(count(granted(NOW)), renewed(10_800));
}

#[test]
fn index_that_goes_to_another_node_begins_anew() {
    let (by, row) = (counting(3, 0b111), row(FIRST, at(10_500)));
    let mut counts = Counts::default();
    counts.count(&row, &by, (0, OWNER), &granted(NOW), NOW);
    counts.count(&row, &by, (1, NodeId(2)), &granted(NOW), NOW);
    let older = granted(at(9_000));
    let outcome = counts.count(&row, &by, (1, NodeId(9)), &older, NOW);
    let end = TaggedEnd::new(tag(FIRST), at(9_800));
    assert_eq!(outcome, Outcome::Renewed(end));
}

#[test]
fn claim_whose_ends_have_passed_is_withdrawn() {
    let (by, row) = (counting(1, 1), row(FIRST, NOW));
    let outcome = Counts::default().count(&row, &by, (0, OWNER), &granted(at(9_999)), NOW);
    assert_eq!(outcome, Outcome::Withdrawn(tag(FIRST)));
    assert_eq!(row.asking_at(NOW), Err(tag(FIRST)));
}

#[test]
fn end_of_another_claim_opens_nothing() {
    let other = Ballot::new(8, OWNER);
    let mut row = row(FIRST, at(20_000));
    assert_eq!(row.open_until(), at(20_000));
    row.permit = tag(other).to_word();
    assert_eq!(row.open_until(), at(0));
    row.renewed = TaggedEnd::new(tag(other), at(15_000));
    assert_eq!(row.open_until(), at(15_000));
    row.withdrawn = tag(other).to_word();
    assert_eq!(row.open_until(), at(0));
}

/// A writer's next store into the row.
type Store = fn(&mut GroupRow);

/// Tries every order of the stores of `pulse` and `kernel`, and of a guard's four loads, on a
/// machine that keeps the order of each. Returns whether a guard is ever open though the row is
/// closed at each moment of its reading.
fn opens_wrongly(start: GroupRow, pulse: &[Store], kernel: &[Store]) -> bool {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct State {
        row: [u64; 6],
        done: (usize, usize),
        /// The words that the guard has read.
        read: [u64; 6],
        loads: usize,
        was_open: bool,
    }
    const PERMIT: usize = 0;
    const UNTIL: usize = 1;
    const RENEWED: usize = 4;
    const WITHDRAWN: usize = 5;
    const LOADS: [usize; 4] = [PERMIT, WITHDRAWN, UNTIL, RENEWED];
    let words = |row: GroupRow| -> [u64; 6] { bytemuck::cast(row) };
    let row = |words: [u64; 6]| -> GroupRow { bytemuck::cast(words) };
    let is_open = |words: [u64; 6]| row(words).open_until() > NOW;
    let mut seen = BTreeSet::new();
    let mut open = vec![State {
        row: words(start),
        done: (0, 0),
        read: [0; 6],
        loads: 0,
        was_open: false,
    }];
    while let Some(state) = open.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        if state.loads == LOADS.len() {
            if is_open(state.read) && !state.was_open {
                return true;
            }
            continue;
        }
        let store = |store: Option<&Store>, done: (usize, usize)| {
            let mut next = row(state.row);
            store?(&mut next);
            let reading = state.loads > 0;
            Some(State {
                row: words(next),
                done,
                was_open: state.was_open || reading && is_open(words(next)),
                ..state.clone()
            })
        };
        let (by_pulse, by_kernel) = state.done;
        open.extend(store(pulse.get(by_pulse), (by_pulse + 1, by_kernel)));
        open.extend(store(kernel.get(by_kernel), (by_pulse, by_kernel + 1)));
        let mut read = state.read;
        read[LOADS[state.loads]] = state.row[LOADS[state.loads]];
        open.push(State {
            read,
            loads: state.loads + 1,
            was_open: state.was_open || is_open(state.row),
            ..state
        });
    }
    false
}

const SECOND: Ballot = Ballot::new(9, OWNER);

/// The stores of a stop, and of the next claim, which has no lease any more when it is written.
const STOP_AND_CLAIM: [Store; 6] = [
    |row| row.permit = 0,
    |row| row.asking = 0,
    |row| row.until = TaggedEnd::new(tag(SECOND), at(9_000)),
    |row| row.first = SECOND.0,
    |row| row.permit = tag(SECOND).to_word(),
    |row| row.asking = SECOND.0,
];

#[test]
fn guard_that_reads_beside_writers_opens_for_no_claim_that_has_ended() {
    let begins = row(FIRST, at(20_000));
    let kernel: [Store; 2] = [
        |row| row.renewed = TaggedEnd::new(tag(FIRST), at(30_000)),
        |row| row.withdrawn = tag(FIRST).to_word(),
    ];
    assert!(!opens_wrongly(begins, &STOP_AND_CLAIM, &kernel));
    // The row is closed all the time: neither an old end nor a late store opens it.
    let closed = GroupRow {
        permit: 0,
        ..begins
    };
    assert!(!opens_wrongly(closed, &STOP_AND_CLAIM[1..], &kernel));
}

#[test]
fn late_end_under_the_tag_of_the_next_claim_would_open_the_guard() {
    let closed = GroupRow {
        permit: 0,
        ..row(FIRST, at(20_000))
    };
    let late = |tagged: Ballot| {
        let mut row = closed;
        STOP_AND_CLAIM.iter().for_each(|store| store(&mut row));
        row.renewed = TaggedEnd::new(tag(tagged), at(30_000));
        row.open_until()
    };
    assert!(late(FIRST) < NOW);
    assert!(late(SECOND) > NOW);
}

/// The lists of a cluster that grows by one node at a time, by their versions from 1.
const LISTS: [&[u16]; 3] = [&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4, 5]];

fn mask_of(list: &[u16]) -> u8 {
    list.iter().map(|node| 1 << (node - 1)).sum()
}

/// Whether `voters` make node 1 the owner by the list `counted`, if they vote on asks by the list
/// `asked`.
fn owns(voters: &[u16], accepting: &[u16; 5], asked: u16, counted: u16) -> bool {
    let list = LISTS[usize::from(counted) - 1];
    let by = counting(list.len() as u8, mask_of(list));
    let row = row(FIRST, at(10_001));
    let mut counts = Counts::default();
    let mut owned = false;
    for &voter in voters {
        let of_voter = VoterSet {
            version: accepting[usize::from(voter) - 1],
            ..VoterSet::default()
        };
        if of_voter.votes_on(asked) {
            let index = usize::from(voter) - 1;
            let outcome = counts.count(&row, &by, (index, NodeId(voter)), &granted(NOW), NOW);
            owned |= matches!(outcome, Outcome::Renewed(end) if end.end_of(tag(FIRST)) > NOW);
        }
    }
    owned
}

/// Whether two nodes own the lease at once, one by the last list, in some distribution of lists and
/// votes. The other asks by list 2, and counts by list `counted`.
fn splits(counted: u16) -> bool {
    let accepting =
        (0..3_u16.pow(5)).map(|code| [0, 1, 2, 3, 4].map(|node| code / 3_u16.pow(node) % 3 + 1));
    // The last list is claimed by only when a majority of the list before accepts it.
    let settled =
        |accepting: &[u16; 5]| accepting[..4].iter().filter(|list| **list == 3).count() >= 3;
    accepting.filter(settled).any(|accepting| {
        (0..1_u16 << 5).any(|votes| {
            let (one, other): (Vec<u16>, Vec<u16>) =
                (1..=5).partition(|node| votes >> (node - 1) & 1 == 1);
            owns(&one, &accepting, 2, counted) && owns(&other, &accepting, 3, 3)
        })
    })
}

#[test]
fn version_and_voters_of_one_list_make_one_owner() {
    assert!(!splits(2));
}

#[test]
fn version_of_one_list_and_voters_of_another_would_make_two_owners() {
    assert!(splits(1));
}
