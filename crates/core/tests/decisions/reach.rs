//! A node that is cut off from the network of a group's addresses releases the group for a node
//! that is not.

use std::time::Duration;

use heartbeat_common::wire::{GroupId, LinkId, LinkSet, NodeId};
use heartbeat_core::{
    Command,
    group::{GroupEvent, GroupPlan, Note, Reason},
    index::GroupIndex,
    placement::{Colocation, Ineligibility, Score},
    reach::RECOVERY,
    report::{GroupReport, GroupReports},
    resource::GroupState,
};

use crate::support::{
    MS, ns,
    story::{groups_since, three_nodes},
    world::World,
};

/// The link of heartbeats alone, and the link with the addresses.
const OTHER: LinkId = LinkId(0);
const FRONT: LinkId = LinkId(1);
const TIMEOUT: u64 = 30 * MS;
const INTERVAL: u64 = 10 * MS;
const LEASE: u64 = 60 * MS;

/// Two links, with the group's address on the second; node 1 serves it.
fn served_on_the_front() -> World {
    served(|world| world.groups[0].links = LinkSet::of(FRONT))
}

fn served(change: impl FnOnce(&mut World)) -> World {
    let mut world = three_nodes(2);
    change(&mut world);
    (0..3).for_each(|machine| world.boot(machine));
    world.run_for(600 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    world
}

fn stops(world: &World, node: u16, since: u64) -> Vec<Reason> {
    let said = groups_since(world, node, since);
    let reason = |(_, command)| match command {
        Command::Group {
            event: GroupEvent::LeaseGivenUp(reason),
            ..
        } => Some(reason),
        _ => None,
    };
    said.into_iter().filter_map(reason).collect()
}

/// Gives the other machines' agents the report of this one that an interface of the first group is
/// broken.
fn report_broken(world: &mut World, machine: usize) {
    let node = NodeId(world.machines[machine].id);
    let report = GroupReports {
        groups: [GroupReport {
            broken: true,
            ..GroupReport::default()
        }]
        .into(),
        ..GroupReports::default()
    };
    for other in world.machines.iter_mut().filter(|other| other.id != node.0) {
        let agent = other.agent.as_mut().expect("it runs");
        agent.cluster.reported(node, report.clone());
    }
}

/// Runs until a machine serves the first group, for no longer than `patience`. Returns the time
/// without a server.
fn gap_until(world: &mut World, server: usize, patience: u64) -> u64 {
    let (began, mut gap) = (world.now, 0);
    while world.servers(0) != [server] {
        assert!(world.now < began + patience, "{:?}", world.servers(0));
        world.run_for(MS / 10);
        gap += if world.servers(0).is_empty() {
            MS / 10
        } else {
            0
        };
    }
    gap
}

#[test]
fn owner_without_carrier_hands_over_in_order() {
    let mut world = served_on_the_front();
    let since = world.now;
    world.unplug(0, FRONT, true);
    let gap = gap_until(&mut world, 1, LEASE + 2 * INTERVAL);
    assert!(gap <= INTERVAL, "it waited for the lease: {gap} ns");
    assert_eq!(stops(&world, 1, since), [Reason::CutOff]);
    world.run_for(2 * ns(RECOVERY));
    assert_eq!(world.servers(0), [1]);
    assert_eq!(stops(&world, 2, since), []);
}

#[test]
fn owner_that_hears_nobody_where_others_hear_each_other_hands_over_in_order() {
    let mut world = served_on_the_front();
    let since = world.now;
    world.unplug(0, FRONT, false);
    let gap = gap_until(&mut world, 1, TIMEOUT + LEASE);
    assert!(gap <= INTERVAL, "it waited for the lease: {gap} ns");
    assert_eq!(stops(&world, 1, since), [Reason::CutOff]);
}

#[test]
fn group_stays_where_all_have_lost_the_network() {
    for carrier_goes in [false, true] {
        let mut world = served_on_the_front();
        let since = world.now;
        // The times differ, as those of cards do.
        for machine in [0, 2, 1] {
            world.unplug(machine, FRONT, carrier_goes);
            if carrier_goes {
                report_broken(&mut world, machine);
            }
            world.run_for(2 * MS);
        }
        world.run_for(2_000 * MS);
        assert_eq!(world.servers(0), [0], "carriers go: {carrier_goes}");
        assert_eq!(stops(&world, 1, since), []);
    }
}

#[test]
fn group_comes_to_rest_where_nodes_wrongly_believe_each_other_well() {
    let mut world = served_on_the_front();
    let since = world.now;
    // No report says that the others have no carrier either.
    (0..3).for_each(|machine| world.unplug(machine, FRONT, true));
    world.run_for(10_000 * MS);
    assert_eq!(world.servers(0).len(), 1);
    let moves: usize = (1..=3).map(|node| stops(&world, node, since).len()).sum();
    assert!(moves <= 12, "{moves}");
}

#[test]
fn group_stays_where_its_addresses_are_not_on_the_link_that_failed() {
    for (links, failed) in [
        (LinkSet::default(), FRONT),
        (LinkSet::of(FRONT), OTHER),
        (LinkSet::of(OTHER), FRONT),
    ] {
        let mut world = served(|world| world.groups[0].links = links);
        let since = world.now;
        world.unplug(0, failed, true);
        world.run_for(2_000 * MS);
        assert_eq!(world.servers(0), [0], "{links:?}, {failed:?}");
        assert_eq!(stops(&world, 1, since), []);
    }
}

#[test]
fn owner_without_any_reply_keeps_its_lease_to_the_end() {
    let mut world = served_on_the_front();
    let since = world.now;
    for link in [OTHER, FRONT] {
        world.unplug(0, link, true);
    }
    world.run_for(4 * LEASE);
    assert_eq!(world.servers(0), [1]);
    assert_eq!(stops(&world, 1, since), [Reason::LeaseLost]);
}

#[test]
fn group_leaves_where_any_of_its_interfaces_fails() {
    for failed in [OTHER, FRONT] {
        let both = LinkSet::of(OTHER).and(LinkSet::of(FRONT));
        let mut world = served(|world| world.groups[0].links = both);
        world.unplug(0, failed, true);
        gap_until(&mut world, 1, LEASE + 2 * INTERVAL);
    }
}

#[test]
fn port_that_flaps_moves_the_group_once() {
    let mut world = served_on_the_front();
    world.auto_failback = true;
    let since = world.now;
    for _ in 0..20 {
        world.unplug(0, FRONT, true);
        world.run_for(300 * MS);
        world.plug(0, FRONT);
        world.run_for(300 * MS);
    }
    assert_eq!(world.servers(0), [1]);
    assert_eq!(stops(&world, 1, since), [Reason::CutOff]);
    assert_eq!(stops(&world, 2, since), []);
    // The group goes back after the port has been well for long enough.
    world.run_for(ns(RECOVERY) - 400 * MS);
    assert_eq!(world.servers(0), [1]);
    world.run_for(1_000 * MS);
    assert_eq!(world.servers(0), [0]);
    assert_eq!(
        stops(&world, 2, since),
        [Reason::FailBack { to: NodeId(1) }]
    );
}

#[test]
fn fault_that_is_shorter_than_a_lease_moves_nothing() {
    for lease in [LEASE, 200 * MS] {
        for carrier_goes in [true, false] {
            let mut world = served(|world| {
                world.groups[0].links = LinkSet::of(FRONT);
                world.timing.lease = Duration::from_nanos(lease);
                world.max_lease = lease.max(2 * LEASE);
            });
            let since = world.now;
            world.unplug(0, FRONT, carrier_goes);
            // The next heartbeat carries the fault.
            world.run_for(lease - 2 * INTERVAL);
            world.plug(0, FRONT);
            world.run_for(2 * ns(RECOVERY));
            assert_eq!(world.servers(0), [0], "a lease of {lease} ns");
            assert_eq!(stops(&world, 1, since), []);
        }
    }
}

#[test]
fn node_that_is_cut_off_takes_nothing_that_another_can_take() {
    let mut world = served_on_the_front();
    world.unplug(1, FRONT, true);
    world.run_for(300 * MS);
    for machine in 0..3 {
        let ranking = world
            .cluster(machine)
            .expect("it lives")
            .ranking(GroupIndex(0));
        let cut_off = ranking.iter().find(|ranked| ranked.node == NodeId(2));
        assert_eq!(
            cut_off.and_then(|ranked| ranked.ineligibility),
            Some(Ineligibility::CutOff)
        );
    }
    world.crash(0);
    world.run_for(2 * LEASE);
    assert_eq!(world.servers(0), [2]);
}

#[test]
fn node_that_is_cut_off_takes_what_nobody_else_can_take() {
    let mut world = served(|world| {
        world.groups[0].links = LinkSet::of(FRONT);
        world.groups[0].ranked = vec![NodeId(1), NodeId(2)];
    });
    world.unplug(1, FRONT, true);
    world.run_for(300 * MS);
    world.crash(0);
    world.run_for(4 * LEASE);
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn of_two_nodes_the_one_with_a_carrier_is_chosen() {
    for (carrier_goes, server) in [(true, 1), (false, 0)] {
        let mut world = served_on_the_front();
        world.crash(2);
        world.run_for(300 * MS);
        // Neither node receives replies there. Only the carrier shows whose fault it is.
        world.unplug(0, FRONT, carrier_goes);
        world.run_for(1_000 * MS);
        assert_eq!(
            world.servers(0),
            [server],
            "the carrier goes: {carrier_goes}"
        );
    }
}

#[test]
fn group_whose_interface_carries_no_heartbeats_leaves_where_that_is_broken() {
    let mut world = served(|world| world.groups[0].beside_links = true);
    let since = world.now;
    let note = |world: &mut World, broken| {
        let agent = world.machines[0].agent.as_mut().expect("it runs");
        agent.cluster.note(
            GroupIndex(0),
            Note::State(GroupState::of_interfaces(broken)),
        );
    };
    note(&mut world, true);
    world.run_for(50 * MS);
    note(&mut world, false);
    world.run_for(2 * ns(RECOVERY));
    assert_eq!(world.servers(0), [0], "it was too short");
    note(&mut world, true);
    gap_until(&mut world, 1, 350 * MS);
    assert_eq!(stops(&world, 1, since), [Reason::CutOff]);
}

#[test]
fn group_without_addresses_comes_along_with_the_one_that_it_must_follow() {
    let mut world = served(|world| {
        // The follower has the address.
        world.groups.push(GroupPlan {
            id: GroupId(7),
            links: LinkSet::of(FRONT),
            ..world.groups[0].clone()
        });
        world.groups[0].links = LinkSet::default();
        world.constraints.colocations.push(Colocation {
            group: GroupIndex(1),
            with: GroupIndex(0),
            score: Score::MUST,
        });
    });
    world.run_for(300 * MS);
    assert_eq!(world.servers(1), [0]);
    world.unplug(0, FRONT, true);
    world.run_for(500 * MS);
    assert_eq!((world.servers(0), world.servers(1)), (vec![1], vec![1]));
}

#[test]
fn links_that_come_up_one_after_the_other_are_no_fault() {
    let mut world = served_on_the_front();
    // All others die, and are back on one link before the other.
    for machine in [1, 2] {
        world.crash(machine);
    }
    world.run_for(1_000 * MS);
    world.take_log();
    for machine in 0..3 {
        world.unplug(machine, FRONT, false);
    }
    for machine in [1, 2] {
        world.boot(machine);
    }
    world.run_for(TIMEOUT);
    for machine in 0..3 {
        world.plug(machine, FRONT);
    }
    world.run_for(1_000 * MS);
    let cut_off =
        |entry: &&crate::support::world::Entry| matches!(entry.command, Command::Reach { .. });
    assert_eq!(world.log.iter().find(cut_off), None);
}
