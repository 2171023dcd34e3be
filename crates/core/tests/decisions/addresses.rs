//! The leases of addresses: no two nodes serve one, whatever group name their configurations give
//! it. Three nodes, interval 10 ms, timeout 30 ms, lease 60 ms; a frame takes 50 us.

use heartbeat_common::{
    time::Boottime,
    wire::{GroupId, NodeId},
};
use heartbeat_core::{
    cluster::Command,
    group::GroupEvent,
    index::{AddressIndex, GroupIndex},
    placement::Layout,
};

use crate::support::{
    MS,
    invariants::{guard_closes_first, no_renewal_storm::NoRenewalStorm, one_owner},
    story::LATENCY,
    timing,
    truth::Violation,
    world::{Bugs, Round, World},
};

const SHARED: GroupId = GroupId(0x2000);
/// The address of the first of the two groups alone.
const OWN: GroupId = GroupId(0x2001);

/// Nodes 1 and 3 have the shared address in group 0, node 2 in group 1: a changed configuration is
/// on its way.
fn two_names(bugs: Bugs) -> World {
    let mut world = World::new(3, 1, timing(10, 30), &[&[1, 3], &[2]], 1);
    world.net.latency = LATENCY;
    world.max_lease = 60 * MS;
    world.groups[0].addresses = vec![OWN, SHARED];
    world.groups[1].addresses = vec![SHARED];
    world.bugs = bugs;
    (0..3).for_each(|node| world.boot(node));
    world
}

fn run(world: &mut World, length: u64) -> Result<(), Violation> {
    world.run_watched(length, &mut |world| {
        one_owner::check(world)?;
        guard_closes_first::check(world)
    })
}

fn no_storm(world: &World) {
    NoRenewalStorm::default().check(world).expect("no storm");
}

fn served(world: &World) -> [Vec<usize>; 2] {
    [world.servers(0), world.servers(1)]
}

#[test]
fn address_under_two_names_is_served_by_one_node() {
    let mut world = two_names(Bugs::default());
    run(&mut world, 1_000 * MS).expect("one server");
    let [one, other] = served(&world);
    assert_eq!(one.len() + other.len(), 1, "{one:?} {other:?}");
    no_storm(&world);
}

#[test]
fn address_without_a_lease_is_served_by_two_nodes() {
    let bugs = Bugs {
        addresses_without_leases: true,
        ..Bugs::default()
    };
    let mut world = two_names(bugs);
    let seen = world.run_watched(1_000 * MS, &mut |world| one_owner::check(world));
    let harm = seen.expect_err("the rule that was left out is missed");
    assert!(harm.starts_with("two owners: address"), "{harm}");
}

#[test]
fn address_goes_to_the_other_name_once_its_owner_is_gone() {
    let mut world = two_names(Bugs::default());
    run(&mut world, 500 * MS).expect("one server");
    for _ in 0..4 {
        let [one, other] = served(&world);
        let owner = one.into_iter().chain(other).next().expect("a server");
        world.crash(owner);
        run(&mut world, 400 * MS).expect("one server");
        let [one, other] = served(&world);
        let heir = one.into_iter().chain(other).next().expect("an heir");
        assert_ne!(heir, owner);
        world.boot(owner);
        run(&mut world, 400 * MS).expect("one server");
    }
    no_storm(&world);
}

/// Node 2 learns of the owner of the address only from the refusals of node 3.
#[test]
fn address_is_not_taken_by_a_node_without_frames_of_its_owner() {
    let mut world = two_names(Bugs::default());
    world.crash(1);
    run(&mut world, 500 * MS).expect("one server");
    assert_eq!(served(&world), [vec![0], vec![]]);
    world.cut(&[0], &[1]);
    world.boot(1);
    run(&mut world, 2_000 * MS).expect("one server");
    assert_eq!(served(&world), [vec![0], vec![]]);
    no_storm(&world);
}

#[test]
fn group_waits_for_each_of_its_addresses() {
    let mut world = two_names(Bugs::default());
    world.crash(0);
    world.crash(2);
    run(&mut world, 200 * MS).expect("one server");
    world.crash(1);
    world.boot(1);
    world.boot(2);
    run(&mut world, 500 * MS).expect("one server");
    let [_, other] = served(&world);
    if other == [1] {
        // Node 3 could have group 0 and its unshared address, and has neither.
        assert!(world.servers(0).is_empty());
        let group = &world.cluster(2).expect("an agent").groups()[GroupIndex(0)];
        assert_eq!(group.address_open_until(AddressIndex(0)).as_nanos(), 0);
    }
}

#[test]
fn move_hands_over_the_addresses_as_fast_as_the_group() {
    let moved_within = |addresses: bool| {
        let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3]], 1);
        world.net.latency = LATENCY;
        world.max_lease = 60 * MS;
        if addresses {
            world.groups[0].addresses = vec![OWN, SHARED];
        }
        (0..3).for_each(|node| world.boot(node));
        run(&mut world, 500 * MS).expect("one server");
        assert_eq!(world.servers(0), [0]);
        world.move_to(0, 0, NodeId(2));
        let since = world.now;
        while world.servers(0) != [1] {
            assert!(world.now < since + 100 * MS, "it does not move");
            run(&mut world, MS / 10).expect("one server");
        }
        world.now - since
    };
    let (without, with) = (moved_within(false), moved_within(true));
    println!("moved within {without} ns without and {with} ns with addresses");
    // Two more round trips: the addresses are requested after the promise of the group.
    assert!(with <= without + 6 * LATENCY, "{without} {with}");
}

/// Nodes 1 and 2 serve a group with two addresses each, and each gives its own to the other at the
/// same time. Node 3 is off, so that each repeats its release for one lease.
fn swapped() -> World {
    let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2], &[2, 1]], 1);
    world.net.latency = LATENCY;
    world.max_lease = 60 * MS;
    world.give_addresses();
    (0..3).for_each(|node| world.boot(node));
    run(&mut world, 500 * MS).expect("one server");
    world.crash(2);
    run(&mut world, 200 * MS).expect("one server");
    assert_eq!(served(&world), [vec![0], vec![1]]);
    world.rounds.clear();
    world.move_to(0, 0, NodeId(2));
    world.move_to(1, 1, NodeId(1));
    world
}

#[test]
fn release_that_is_repeated_is_answered_by_one_round() {
    let mut world = swapped();
    let since = world.now;
    while served(&world) != [vec![1], vec![0]] {
        assert!(world.now < since + 10 * MS, "they do not move");
        run(&mut world, MS / 10).expect("one server");
    }
    println!("swapped within {} ns", world.now - since);
    run(&mut world, 60 * MS).expect("one server");
    let urgent = [0, 1].map(|node| {
        let of_node = |round: &&Round| round.machine == node && round.urgent;
        world.rounds.iter().filter(of_node).count()
    });
    // The release, the claim to the group, the claims to its addresses, and their accepts.
    assert!(urgent.iter().all(|rounds| *rounds <= 4), "{urgent:?}");
    no_storm(&world);
}

/// Gives node 1 a plan of group 0 with these addresses.
fn replan(world: &mut World, addresses: &[GroupId]) {
    world.groups[0].addresses = addresses.to_vec();
    let layout = Layout {
        groups: world.groups.clone().into(),
        ..Layout::default()
    };
    let agent = world.machines[0].agent.as_mut();
    agent.expect("it lives").cluster.replan(layout);
    // Until its next step the guard is that of the former addresses.
    world.run_for(20 * MS);
}

/// Node 1 serves an address of its own, and node 2 the address that node 1 is about to get in its
/// configuration as well.
fn served_apart() -> World {
    let mut world = two_names(Bugs::default());
    world.groups[0].addresses = vec![OWN];
    (0..3).for_each(|node| world.crash(node));
    (0..3).for_each(|node| world.boot(node));
    run(&mut world, 500 * MS).expect("one server");
    assert_eq!(served(&world), [vec![0], vec![1]]);
    world
}

#[test]
fn inherited_guard_opens_no_address_that_comes_later() {
    let mut world = served_apart();
    // The state after a graceful restart: the former agent left the guard of the group open for
    // long.
    let until = Boottime::from_nanos(u64::MAX / 2);
    let agent = world.machines[0].agent.as_mut();
    agent
        .expect("it lives")
        .cluster
        .inherit(GroupIndex(0), until);
    replan(&mut world, &[OWN, SHARED]);
    run(&mut world, 500 * MS).expect("node 2 alone serves the shared address");
    let group = &world.cluster(0).expect("an agent").groups()[GroupIndex(0)];
    assert_eq!(group.address_open_until(AddressIndex(0)), until);
    assert_eq!(
        group.address_open_until(AddressIndex(1)),
        Boottime::default()
    );
}

#[test]
fn address_whose_lease_comes_late_is_announced_when_it_comes() {
    let mut world = served_apart();
    replan(&mut world, &[OWN, SHARED]);
    run(&mut world, 300 * MS).expect("one server");
    let regained = |world: &World| {
        let said = world.log.iter().filter(|entry| {
            matches!(
                entry.command,
                Command::Group {
                    event: GroupEvent::LeaseAcquired { regained: true, .. },
                    ..
                }
            )
        });
        said.count()
    };
    assert_eq!(regained(&world), 0, "node 2 has it still");
    world.crash(1);
    run(&mut world, 500 * MS).expect("one server");
    assert_eq!(regained(&world), 1);
}
