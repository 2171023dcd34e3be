//! Lists of nodes on one node: the time at which claims use the next list, the votes that count,
//! and the effects that a change must not have. `membership.rs` shows that a change never makes two
//! owners.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use heartbeat_core::{
    Cluster, Command,
    index::GroupIndex,
    membership::{Membership, Voters},
};

use crate::support::{MS, US, timing, world::World};

const MAX_LEASE: u64 = 60 * MS;

fn list(version: u16, nodes: &[u16]) -> Voters {
    Voters {
        version,
        nodes: nodes.iter().copied().map(NodeId).collect(),
    }
}

/// `count` machines with these lists. The nodes of the first list claim by it already.
fn cluster(count: u16, lists: &[&[u16]]) -> World {
    let mut world = World::new(count, 1, timing(10, 30), &[&[1, 2, 3]], 1);
    world.net.latency = 50 * US;
    world.max_lease = MAX_LEASE;
    world.lists = (1..)
        .zip(lists)
        .map(|(version, nodes)| list(version, nodes))
        .collect();
    for machine in &mut world.machines {
        let has = |list: &Voters| list.has(NodeId(machine.id));
        machine.list = world.lists.iter().position(has).unwrap_or_default();
        machine.claiming = (machine.list == 0).then_some(0);
    }
    world
}

fn agent(world: &World, machine: usize) -> &Cluster {
    world.cluster(machine).expect("its agent lives")
}

/// The versions of the list by which each machine's claims were made since the last read of the
/// log.
fn settled(world: &World, machine: usize) -> Vec<u16> {
    let of_machine = world.log.iter().filter(|entry| entry.machine == machine);
    let version = |command| match command {
        Command::Settled { version } => Some(version),
        _ => None,
    };
    of_machine
        .filter_map(|entry| version(entry.command))
        .collect()
}

#[test]
fn claims_go_by_the_new_list_when_clocks_that_drift_apart_have_seen_the_longest_lease_end() {
    const MAX: Duration = Duration::from_secs(3);
    // 1,000 parts per million, three times: the acceptor's clock, this node's, and the rounding of
    // their product.
    const SETTLE: Duration = Duration::from_millis(3_009);
    const SINCE: Boottime = Boottime::from_nanos(1_000_000_000);
    let (old, new) = (list(1, &[1, 2, 3]), list(2, &[1, 2, 3, 4]));
    let seen = VoterSet {
        version: 2,
        claiming: 1,
        voters: new.digest(),
    };
    let settles = |observed: &[u16], after: Duration| {
        let mut membership = Membership::new(NodeId(1), new.clone(), Some(old.clone()), MAX, 1_000);
        assert!(!membership.may_settle(SINCE));
        for node in observed {
            membership.observe(NodeId(*node), seen, SINCE);
        }
        membership.may_settle(SINCE.after(after))
    };
    assert!(!settles(&[2], SETTLE - Duration::from_nanos(1)));
    assert!(settles(&[2], SETTLE));
    assert!(!settles(&[4], SETTLE), "it is not on the old list");
    assert!(!settles(&[], SETTLE * 2));
}

/// Nodes 4 and 5 are peers, and on no list.
#[test]
fn nodes_without_a_vote_make_no_quorum() {
    let mut world = cluster(5, &[&[1, 2, 3]]);
    (0..5).for_each(|machine| world.boot(machine));
    world.run_for(300 * MS);
    assert_eq!(world.servers(0), [0]);
    assert!(agent(&world, 0).quorate());
    assert_eq!(agent(&world, 0).alive(Boottime::from_nanos(world.now)), 3);
    world.cut(&[0], &[1, 2]);
    world.run_for(300 * MS);
    assert!(!agent(&world, 0).quorate());
    assert_eq!(agent(&world, 0).alive(Boottime::from_nanos(world.now)), 1);
    assert!(agent(&world, 1).quorate());
    assert_eq!(world.servers(0), [1]);
}

/// After the switch the majority of the new list decides on each group, not that of the old one.
#[test]
fn settled_list_decides_on_every_group() {
    let mut world = cluster(4, &[&[1, 2, 3], &[1, 2, 3, 4]]);
    (0..4).for_each(|machine| world.boot(machine));
    world.run_for(300 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    (0..3).for_each(|machine| assert!(world.reload(machine)));
    for _ in 0..40 {
        world.run_for(10 * MS);
        assert_eq!(world.servers(0), [0], "nobody loses a lease by it");
    }
    let now = Boottime::from_nanos(world.now);
    for machine in 0..3 {
        assert_eq!(settled(&world, machine), [2]);
        let proposer = agent(&world, machine).groups()[GroupIndex(0)].proposer();
        assert_eq!(proposer.majority(), 3);
    }
    let proposer = agent(&world, 0).groups()[GroupIndex(0)].proposer();
    assert_eq!(proposer.votes(now), 4, "node 4 has a vote");
    // Two of four are no majority.
    world.cut(&[0, 1], &[2, 3]);
    world.run_for(300 * MS);
    assert_eq!(world.servers(0), Vec::<usize>::new());
}

/// Node 1 has two votes, enough by the old list and too few by the new one.
#[test]
fn list_by_which_a_served_lease_would_be_lost_waits_for_one_more_vote() {
    let mut world = cluster(4, &[&[1, 2, 3], &[1, 2, 3, 4]]);
    (0..3).for_each(|machine| world.boot(machine));
    world.run_for(300 * MS);
    world.crash(2);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    (0..2).for_each(|machine| assert!(world.reload(machine)));
    for _ in 0..50 {
        world.run_for(10 * MS);
        assert_eq!(world.servers(0), [0]);
    }
    assert_eq!(settled(&world, 0), Vec::<u16>::new());
    world.boot(3);
    for _ in 0..50 {
        world.run_for(10 * MS);
        assert_eq!(world.servers(0), [0]);
    }
    assert_eq!(settled(&world, 0), [2]);
    assert_eq!(
        agent(&world, 0).groups()[GroupIndex(0)]
            .proposer()
            .majority(),
        3
    );
}
