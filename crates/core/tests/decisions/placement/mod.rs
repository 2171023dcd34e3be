//! The placement of groups by the state of the nodes, as stories of three nodes or more: interval
//! 10 ms, lease 60 ms.

mod draining;
mod rebalance;
mod room;

use heartbeat_common::wire::{Health, NodeId, NodeState};
use heartbeat_core::{
    Command,
    cluster::Intent,
    group::{GroupEvent, Note, Reason},
    index::GroupIndex,
    peer::PeerState,
    placement::{Policy, Score, Strategy},
};

use crate::support::{MS, invariants::one_owner, timing, world::World};

const WELL: Health = Health(0);

/// `nodes` machines, all of which may serve each of `groups` groups: the one with the lower number
/// first.
fn world(nodes: u16, groups: usize, arrange: impl FnOnce(&mut World)) -> World {
    let ranked: Vec<u16> = (1..=nodes).collect();
    let ranked: Vec<&[u16]> = vec![&ranked; groups];
    let mut world = World::new(nodes, 1, timing(10, 30), &ranked, 1);
    world.net.latency = 50_000;
    world.max_lease = 60 * MS;
    arrange(&mut world);
    (0..usize::from(nodes)).for_each(|node| world.boot(node));
    run(&mut world, 400);
    world.take_log();
    world
}

/// Runs, and checks that no two nodes ever serve the same group.
fn run(world: &mut World, milliseconds: u64) {
    world
        .run_watched(milliseconds * MS, &mut one_owner::check)
        .expect("at most one serves");
}

fn by(strategy: Strategy) -> Policy {
    Policy {
        strategy,
        ..Policy::default()
    }
}

/// The machines of each group, by index.
fn places(world: &World) -> Vec<Vec<usize>> {
    let groups = 0..world.groups.len();
    groups.map(|group| world.servers(group)).collect()
}

/// The stops since the last read of the log: machine, group, reason.
fn stops(world: &World) -> Vec<(usize, usize, Reason)> {
    let stops = world.log.iter().filter_map(|entry| match entry.command {
        Command::Group {
            group,
            event: GroupEvent::LeaseGivenUp(reason),
        } => Some((entry.machine, group.0, reason)),
        _ => None,
    });
    stops.collect()
}

fn peer_state(world: &World, at: usize, node: u16) -> Option<PeerState> {
    let peers = world.cluster(at)?.peers();
    let peer = peers.iter().find(|peer| peer.node == NodeId(node))?;
    Some(peer.state)
}

#[test]
fn node_that_is_too_ill_gives_its_groups_up_and_comes_back() {
    let mut world = world(3, 2, |_| {});
    assert_eq!(places(&world), [[0], [0]]);
    world.vitals(0, Health::of(2, true), 0);
    run(&mut world, 200);
    assert_eq!(places(&world), [[1], [1]]);
    assert_eq!(
        stops(&world),
        [(0, 0, Reason::Unhealthy), (0, 1, Reason::Unhealthy)]
    );
    // The node answers and votes: no node lost a majority.
    assert_eq!(peer_state(&world, 1, 1), Some(PeerState::Unhealthy));
    let cluster = world.cluster(0).expect("it lives");
    assert!(cluster.quorate());
    assert_eq!(cluster.state(), NodeState::Active);
    // The only remaining node is unhealthy.
    world.crash(1);
    run(&mut world, 300);
    assert_eq!(places(&world), [[2], [2]]);
    world.vitals(0, WELL, 0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[0], [0]]);
}

#[test]
fn where_all_are_too_ill_nothing_is_served() {
    let mut world = world(3, 1, |_| {});
    (0..3).for_each(|machine| world.vitals(machine, Health::of(0, true), 0));
    run(&mut world, 300);
    assert_eq!(places(&world), [[0; 0]]);
    world.vitals(2, WELL, 0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[2]]);
}

#[test]
fn in_maintenance_even_an_ill_node_keeps_what_it_has() {
    let mut world = world(3, 1, |_| {});
    for machine in 0..3 {
        note(&mut world, machine, 0, Note::Maintained(true));
    }
    world.vitals(0, Health::of(0, true), 0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[0]]);
}

#[test]
fn node_with_failing_checks_is_a_worse_place_by_points() {
    let mut world = world(3, 2, |world| {
        world.groups[1].stickiness = Score::new(150);
    });
    world.vitals(0, Health::of(1, false), 0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[1], [0]]);
    world.vitals(0, Health::of(1, false).and(Health::of(2, false)), 0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[1], [1]]);
    world.vitals(0, WELL, 0);
    run(&mut world, 300);
    // Both nodes have the same points now, and stickiness keeps the second group.
    assert_eq!(places(&world), [[0], [1]]);
    let ranking = world.cluster(0).expect("it lives").ranking(GroupIndex(1));
    assert_eq!(ranking[0].node, NodeId(2));
    assert_eq!(ranking[0].why[0].to_string(), "+150 stickiness");
}

#[test]
fn groups_of_a_dead_node_go_to_those_with_the_least_load() {
    let mut world = world(5, 3, |world| {
        world.policy = by(Strategy::LeastLoaded);
        for group in 0..3 {
            world.groups[group].locations = vec![(NodeId(1), Score::new(1))];
        }
        for (machine, load) in [900, 640, 110, 650, 230].into_iter().enumerate() {
            world.machines[machine].vitals.1 = load;
        }
    });
    assert_eq!(places(&world), [[0], [0], [0]]);
    world.crash(0);
    run(&mut world, 300);
    // Each group on its way counts as a step of load.
    assert_eq!(places(&world), [[2], [4], [2]]);
    // The load of other nodes is no reason to go back or to go on.
    world.take_log();
    world.vitals(2, WELL, 1_000);
    run(&mut world, 500);
    assert_eq!(stops(&world), []);
}

#[test]
fn groups_of_a_dead_node_are_spread() {
    let mut world = world(4, 6, |world| {
        world.policy = by(Strategy::Spread);
    });
    let mut counts = [0; 4];
    for servers in places(&world) {
        counts[servers[0]] += 1;
    }
    assert_eq!(counts.iter().sum::<i32>(), 6);
    assert!(
        counts.iter().all(|count| (1..=2).contains(count)),
        "{counts:?}"
    );
    world.crash(0);
    run(&mut world, 400);
    let mut counts = [0; 4];
    for servers in places(&world) {
        counts[servers[0]] += 1;
    }
    assert_eq!(counts, [0, 2, 2, 2]);
}

#[test]
fn node_that_stops_serving_hands_its_groups_to_different_nodes() {
    type Trouble = fn(&mut World);
    let troubles: [(&str, Trouble); 3] = [
        ("standby", |world| world.intend(0, Intent::Standby)),
        ("shutdown", |world| world.intend(0, Intent::Drain)),
        ("too ill", |world| world.vitals(0, Health::of(1, true), 0)),
    ];
    for (name, trouble) in troubles {
        let mut world = world(4, 6, |world| {
            world.policy = by(Strategy::Spread);
            for group in &mut world.groups {
                group.locations = vec![(NodeId(1), Score::new(1))];
            }
        });
        assert_eq!(places(&world), [[0]; 6]);
        world.errand_takes = 20 * MS;
        trouble(&mut world);
        run(&mut world, 400);
        let mut placed = places(&world);
        placed.sort();
        assert_eq!(placed, [[1], [1], [2], [2], [3], [3]], "{name}");
    }
}

fn note(world: &mut World, machine: usize, group: usize, note: Note) {
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.note(GroupIndex(group), note);
    }
    world.wake(machine);
}
