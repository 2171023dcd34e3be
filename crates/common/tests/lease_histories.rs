//! The properties of an acceptor under any requests in any order.

use heartbeat_common::{
    lease::{Ballot, Limits, Operation, Request, Slot, Successor, Vote, decide},
    time::Boottime,
    wire::{LeaseEntry, NodeId},
};
use proptest::prelude::*;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(65_535)];

/// A step of a random history: time passes, then a node sends a request.
#[derive(Clone, Copy, Debug)]
struct Step {
    passes: u64,
    request: Request,
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => Just(Operation::Prepare),
        3 => Just(Operation::Accept),
        2 => Just(Operation::Renew),
        1 => Just(Operation::Release),
    ]
}

fn any_ballot() -> impl Strategy<Value = Ballot> {
    // The rounds are few, so that they collide, and now and then one leaves no room above it.
    let round = prop_oneof![
        20 => 0..6u64,
        1 => Just(Ballot::MAX_ROUND),
    ];
    (round, 0..NODES.len()).prop_map(|(round, node)| Ballot::new(round, NODES[node]))
}

fn any_step() -> impl Strategy<Value = Step> {
    let lease = prop_oneof![20 => 1..60u64, 1 => Just(u64::MAX)];
    (
        0..30u64,
        any_operation(),
        any_ballot(),
        lease,
        0..NODES.len(),
    )
        .prop_map(|(passes, operation, ballot, lease_ns, next)| Step {
            passes,
            request: Request {
                operation,
                ballot,
                lease_ns,
                successor: Successor::fit(NODES[next]),
            },
        })
}

fn any_history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any_step(), 1..80)
}

/// The grants that still bind: each lease, and its end. The list is separate from the slot, as the
/// answered nodes would keep it.
#[derive(Default)]
struct Ledger(Vec<(NodeId, u64)>);

impl Ledger {
    fn note(&mut self, request: &Request, now: u64) {
        let node = request.ballot.node();
        match request.operation {
            Operation::Prepare => {}
            Operation::Release => self.0.retain(|(owner, _)| *owner != node),
            Operation::Accept | Operation::Renew => {
                self.0.push((node, now.saturating_add(request.lease_ns)));
            }
        }
    }

    fn owners_at(&self, now: u64) -> impl Iterator<Item = NodeId> {
        let live = self.0.iter().filter(move |(_, until)| now < *until);
        live.map(|(owner, _)| *owner)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_two_nodes_hold_the_lease_at_once(history in any_history()) {
        let (mut slot, mut ledger, mut now) = (Slot::default(), Ledger::default(), 0);
        for Step { passes, request } in history {
            now += passes;
            let answer = decide(&mut slot, &request, Boottime::from_nanos(now));
            if answer.vote == Vote::Granted {
                ledger.note(&request, now);
            }
            let owners: Vec<_> = ledger.owners_at(now).collect();
            prop_assert!(owners.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", owners);
            // The slot lasts at least as long as any node may count on it.
            if let Some(owner) = owners.first() {
                prop_assert_eq!(slot.live_owner(Boottime::from_nanos(now)), Some(*owner));
            }
        }
    }

    /// Processors read the clock before they get the lock, so instants need not come in order.
    #[test]
    fn nor_do_they_if_the_instants_come_out_of_order(
        history in any_history(), late in prop::collection::vec(0..40u64, 80),
    ) {
        let (mut slot, mut ledger, mut clock) = (Slot::default(), Ledger::default(), 100);
        for (Step { passes, request }, late) in history.into_iter().zip(late) {
            clock += passes;
            let now = clock - late;
            let answer = decide(&mut slot, &request, Boottime::from_nanos(now));
            if answer.vote == Vote::Granted {
                ledger.note(&request, now);
            }
            let owners: Vec<_> = ledger.owners_at(clock).collect();
            prop_assert!(owners.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", owners);
        }
    }

    #[test]
    fn acceptor_keeps_its_word(history in any_history()) {
        let (mut slot, mut now, mut highest) = (Slot::default(), 0, 0);
        for Step { passes, request } in history {
            now += passes;
            let (at, old) = (Boottime::from_nanos(now), slot);
            let answer = decide(&mut slot, &request, at);
            prop_assert_ne!(answer.vote, Vote::Abstains);
            prop_assert!(slot.promised >= old.promised, "a promise is for ever");
            let released = request.operation == Operation::Release;
            if answer.vote == Vote::Refused {
                prop_assert_eq!(slot, old, "a refusal leaves no trace");
                prop_assert!(answer.ballot == old.ballot || answer.ballot == old.promised);
                if answer.micros > 0 {
                    let owner = old.live_owner(at);
                    prop_assert!(owner.is_some() && owner != Some(request.ballot.node()));
                    let left = (old.expires - now).div_ceil(1_000);
                    prop_assert_eq!(u64::from(answer.micros), left.min(u32::MAX.into()));
                }
                continue;
            }
            let gives = matches!(request.operation, Operation::Accept | Operation::Renew);
            let granted = if gives { (request.lease_ns / 1_000) as u32 } else { 0 };
            prop_assert_eq!((answer.ballot, answer.micros), (request.ballot.0, granted));
            if released {
                continue;
            }
            prop_assert!(request.ballot.0 >= highest, "votes only go up");
            highest = request.ballot.0;
            prop_assert_eq!(slot.promised, highest);
            if let Some(owner) = old.live_owner(at) {
                prop_assert_eq!(slot.live_owner(at), Some(owner), "only a release ends a lease \
                    early");
                prop_assert!(slot.expires >= old.expires);
            }
            if request.operation != Operation::Prepare {
                prop_assert_eq!(slot.live_owner(at), Some(request.ballot.node()));
                prop_assert_eq!((slot.ballot, slot.successor), (request.ballot.0, 0));
                let until = now.saturating_add(request.lease_ns);
                if old.owner == slot.owner {
                    prop_assert_eq!(slot.expires, until.max(old.expires));
                } else {
                    prop_assert_eq!(slot.expires, until, "a new owner's lease is as long as it \
                        asked");
                }
            }
        }
    }

    #[test]
    fn release_is_granted_for_the_last_granted_ballot_and_bars_it(
        history in any_history(),
        again in any_step(),
    ) {
        let (mut slot, mut now, mut last) = (Slot::default(), 0, None);
        for Step { passes, request } in history {
            now += passes;
            let at = Boottime::from_nanos(now);
            let answer = decide(&mut slot, &request, at);
            let granted = answer.vote == Vote::Granted;
            match request.operation {
                Operation::Prepare => {}
                Operation::Accept | Operation::Renew => {
                    if granted {
                        last = Some(request.ballot);
                    }
                }
                Operation::Release => {
                    prop_assert_eq!(granted, last == Some(request.ballot));
                    if !granted {
                        continue;
                    }
                    prop_assert_eq!(slot.live_owner(at), None);
                    prop_assert_eq!(slot.successor, request.successor.0);
                    let free = slot;
                    prop_assert_eq!(decide(&mut slot, &request, at), answer, "idempotent");
                    prop_assert_eq!(slot, free);
                    let late = Request { operation: Operation::Accept, ..again.request };
                    let late = Request { ballot: request.ballot, ..late };
                    if request.ballot.0 < u64::MAX {
                        prop_assert_eq!(decide(&mut slot, &late, at).vote, Vote::Refused);
                        prop_assert_eq!(slot, free);
                    }
                }
            }
        }
    }

    #[test]
    fn entry_is_read_only_where_a_vote_can_be_given(
        operation in 0..6u8,
        micros in prop_oneof![0..4u32, any::<u32>()],
        round: u64,
        node in 0..4u16,
        from in 0..4u16,
        now in 0..20u64,
        votes_from in 0..20u64,
        max_lease_ns in prop_oneof![0..4_000u64, any::<u64>()],
    ) {
        let ballot = Ballot(round << 16 | u64::from(node)).0;
        let entry = LeaseEntry { operation, micros, ballot, ..LeaseEntry::default() };
        let limits = Limits { votes_from, max_lease_ns };
        let lease_ns = u64::from(micros) * 1_000;
        let votes = now >= votes_from;
        let its_own = node == from && from > 0;
        let may_last = (1..=max_lease_ns).contains(&lease_ns);
        let expected = match Operation::from_wire(operation) {
            Some(Operation::Release) => votes && its_own,
            Some(_) => votes && its_own && may_last,
            None => false,
        };
        let read = Request::read(&entry, NodeId(from), limits, Boottime::from_nanos(now));
        prop_assert_eq!(read.is_some(), expected);
        if let Some(read) = read {
            let read = (read.operation as u8, read.ballot.0, read.lease_ns);
            prop_assert_eq!(read, (operation, ballot, lease_ns));
        }
    }

    #[test]
    fn ballots_are_ordered_by_round_and_then_by_node(
        a in any::<(u64, u16)>(),
        b in any::<(u64, u16)>(),
    ) {
        let cut = |(round, node): (u64, u16)| (round.min(Ballot::MAX_ROUND), node);
        let ballot = |(round, node)| Ballot::new(round, NodeId(node));
        prop_assert_eq!((ballot(a).round(), ballot(a).node().0), cut(a));
        prop_assert_eq!(ballot(a).cmp(&ballot(b)), cut(a).cmp(&cut(b)));
    }
}
