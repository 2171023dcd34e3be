//! One list of nodes, and one node's progress from a list to the next.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use heartbeat_core::membership::{Membership, Voters};

const LOCAL: NodeId = NodeId(1);
const MAX_LEASE: Duration = Duration::from_secs(3);
const SINCE: Boottime = Boottime::from_nanos(1_000_000_000);

fn list(version: u16, nodes: &[u16]) -> Voters {
    Voters {
        version,
        nodes: nodes.iter().copied().map(NodeId).collect(),
    }
}

/// A node with `list`, whose claims use `claiming`. All clocks agree.
fn membership(list: &Voters, claiming: Option<&Voters>) -> Membership {
    Membership::new(LOCAL, list.clone(), claiming.cloned(), MAX_LEASE, 0)
}

/// The voter set of a node with `list`, whose claims use the list with the number `claiming`.
fn voter_set(list: &Voters, claiming: u16) -> VoterSet {
    VoterSet {
        version: list.version,
        claiming,
        voters: list.digest(),
    }
}

#[test]
fn majority_is_more_than_half() {
    for (count, majority) in (1..).zip([1, 2, 2, 3, 3, 4, 4, 5]) {
        let nodes: Vec<u16> = (1..=count).collect();
        assert_eq!(list(1, &nodes).majority(), majority, "{count} nodes");
    }
}

/// The values are those of 32-bit FNV-1a, computed apart.
#[test]
fn digest_depends_on_the_nodes_and_not_on_their_order() {
    for (nodes, digest) in [
        (&[1, 2, 3][..], 0xbe02_ddfd),
        (&[3, 1, 2], 0xbe02_ddfd),
        (&[1, 2, 3, 4], 0x92f1_9879),
        (&[258], 0xed74_208a),
    ] {
        assert_eq!(list(1, nodes).digest(), digest, "{nodes:?}");
        assert_eq!(list(7, nodes).digest(), digest, "{nodes:?}");
    }
}

#[test]
fn list_is_met_by_another_if_no_majority_of_it_is_gone() {
    let old = list(1, &[1, 2, 3]);
    for (new, met) in [
        (&[1, 2, 3][..], true),
        (&[1, 2, 9], true),
        (&[1, 8, 9], false),
        (&[7, 8, 9], false),
        (&[1, 2, 3, 4, 5], true),
    ] {
        assert_eq!(old.is_met_by(&list(2, new)), met, "{new:?}");
    }
    let even = list(1, &[1, 2, 3, 4]);
    assert!(even.is_met_by(&list(2, &[3, 4])));
    assert!(!even.is_met_by(&list(2, &[4])));
}

#[test]
fn difference_has_the_nodes_of_one_list_only() {
    let (one, other) = (list(1, &[1, 2, 3]), list(2, &[2, 3, 4, 5]));
    let difference: Vec<NodeId> = one.difference(&other).collect();
    assert_eq!(difference, [1, 4, 5].map(NodeId));
    assert_eq!(one.difference(&one).count(), 0);
    assert!(one.has(NodeId(2)) && !one.has(NodeId(4)));
}

#[test]
fn heartbeats_carry_the_list_and_the_list_of_the_claims() {
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    assert_eq!(membership(&new, Some(&old)).voter_set(), voter_set(&new, 1));
    assert_eq!(membership(&new, Some(&new)).voter_set(), voter_set(&new, 2));
    assert_eq!(membership(&new, None).voter_set(), voter_set(&new, 0));
}

#[test]
fn settled_claims_use_the_list_of_the_acceptor() {
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    let mut claims = membership(&new, Some(&old));
    assert!(!claims.is_settled());
    assert_eq!((claims.list(), claims.claiming()), (&new, Some(&old)));
    claims.settle();
    assert!(claims.is_settled());
    assert_eq!(claims.claiming(), Some(&new));
    assert!(!claims.may_settle(SINCE.after(MAX_LEASE * 2)));
    assert!(!membership(&new, None).is_settled());
    assert!(Membership::fixed(LOCAL, new.nodes.clone()).is_settled());
}

/// A node that claims by the list has waited already.
#[test]
fn list_in_use_elsewhere_is_used_at_once() {
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    let twin = list(2, &[1, 2, 3, 5]);
    for (seen, in_use) in [
        (voter_set(&new, 2), true),
        (voter_set(&new, 1), false),
        (voter_set(&twin, 2), false),
        (voter_set(&old, 1), false),
        (voter_set(&list(3, &[1, 2, 3, 4]), 3), false),
    ] {
        for claiming in [Some(&old), None] {
            let mut claims = membership(&new, claiming);
            claims.observe(NodeId(2), seen, SINCE);
            assert_eq!(claims.is_in_use(), in_use, "{seen:?}");
            assert_eq!(claims.may_settle(SINCE), in_use, "{seen:?}");
        }
    }
}

/// Two lists with one number: a majority of the old list must have one and the same.
#[test]
fn node_with_another_list_of_the_same_number_does_not_count() {
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    let twin = list(2, &[1, 2, 3, 5]);
    let mut claims = membership(&new, Some(&old));
    claims.may_settle(SINCE);
    claims.observe(NodeId(2), voter_set(&twin, 1), SINCE);
    assert!(!claims.may_settle(SINCE.after(MAX_LEASE)));
    claims.observe(NodeId(3), voter_set(&new, 1), SINCE);
    assert!(claims.may_settle(SINCE.after(MAX_LEASE)));
}

/// The time counts from the first heartbeat with the list.
#[test]
fn node_that_repeats_its_list_is_known_since_the_first_time() {
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    let mut claims = membership(&new, Some(&old));
    claims.may_settle(SINCE);
    for after in [Duration::ZERO, MAX_LEASE / 2, MAX_LEASE] {
        claims.observe(NodeId(2), voter_set(&new, 1), SINCE.after(after));
    }
    assert!(!claims.may_settle(SINCE.after(MAX_LEASE - Duration::from_nanos(1))));
    assert!(claims.may_settle(SINCE.after(MAX_LEASE)));
}

/// A node without a record of its last list waits for all nodes of its list.
#[test]
fn node_without_a_list_of_its_claims_waits_for_all_nodes() {
    let new = list(2, &[1, 2, 3]);
    let mut claims = membership(&new, None);
    claims.may_settle(SINCE);
    claims.observe(NodeId(2), voter_set(&new, 0), SINCE);
    assert!(!claims.may_settle(SINCE.after(MAX_LEASE)));
    claims.observe(NodeId(3), voter_set(&new, 0), SINCE);
    assert!(claims.may_settle(SINCE.after(MAX_LEASE)));
}
