//! Placement on nodes with limited room.

use heartbeat_common::wire::NodeId;
use heartbeat_core::{
    cluster::Intent,
    group::Note,
    index::{GroupIndex, KindIndex, ResourceIndex},
    placement::{Colocation, Ineligibility, Score, Strategy},
    resource::GroupState,
};

use super::{by, note, places, run, world};

#[test]
fn group_without_room_waits() {
    let mut world = world(3, 3, |world| {
        world.policy = by(Strategy::Utilization);
        for group in 0..3 {
            world.groups[group].demand = vec![2];
        }
        world.capacities = vec![
            (NodeId(1), vec![Some(6)]),
            (NodeId(2), vec![Some(3)]),
            (NodeId(3), vec![Some(1)]),
        ];
    });
    let cluster = world.cluster(2).expect("it lives");
    let ranking = cluster.ranking(GroupIndex(0));
    assert_eq!(
        ranking[2].ineligibility,
        Some(Ineligibility::NoRoom(KindIndex(0)))
    );
    let mut placed = places(&world);
    placed.sort();
    assert_eq!(placed, [[0], [0], [1]]);
    world.crash(0);
    run(&mut world, 500);
    let mut placed = places(&world);
    placed.sort();
    assert_eq!(placed, [vec![], vec![], vec![1]]);
    world.boot(0);
    run(&mut world, 500);
    let mut placed = places(&world);
    placed.sort();
    assert_eq!(placed, [[0], [0], [1]]);
}

#[test]
fn group_that_waited_for_long_finds_only_the_room_there_is() {
    let mut world = world(3, 2, |world| {
        world.policy = by(Strategy::Utilization);
        for group in &mut world.groups {
            group.demand = vec![3];
        }
        world.capacities = vec![
            (NodeId(1), vec![Some(3)]),
            (NodeId(2), vec![Some(2)]),
            (NodeId(3), vec![Some(2)]),
        ];
    });
    world.intend(0, Intent::Standby);
    run(&mut world, 12_000);
    assert_eq!(places(&world), [[0; 0]; 2]);
    world.intend(0, Intent::Serve);
    run(&mut world, 1_000);
    assert_eq!(places(&world), [vec![0], vec![]]);
}

#[test]
fn room_is_kept_for_who_must_follow() {
    let mut world = world(3, 3, |world| {
        world.policy = by(Strategy::Utilization);
        for group in &mut world.groups {
            group.demand = vec![2];
        }
        world.capacities = vec![
            (NodeId(1), vec![Some(4)]),
            (NodeId(2), vec![Some(1)]),
            (NodeId(3), vec![Some(1)]),
        ];
        world.constraints.colocations = vec![Colocation {
            group: GroupIndex(2),
            with: GroupIndex(0),
            score: Score::MUST,
        }];
    });
    assert_eq!(places(&world), [vec![0], vec![], vec![0]]);
    // The follower waits for another condition too.
    (0..3).for_each(|machine| {
        note(
            &mut world,
            machine,
            2,
            Note::State(GroupState::Barred {
                resource: ResourceIndex(0),
            }),
        );
    });
    run(&mut world, 1_000);
    assert_eq!(places(&world), [vec![0], vec![], vec![]]);
    (0..3).for_each(|machine| note(&mut world, machine, 2, Note::Disabled(true)));
    run(&mut world, 1_000);
    assert_eq!(places(&world), [vec![0], vec![0], vec![]]);
}

#[test]
fn group_that_displaces_another_needs_no_room_beside_it() {
    let mut world = world(3, 2, |world| {
        world.policy = by(Strategy::Utilization);
        world.groups[0].demand = vec![2];
        world.groups[1].demand = vec![3];
        world.capacities = vec![
            (NodeId(1), vec![Some(3)]),
            (NodeId(2), vec![Some(1)]),
            (NodeId(3), vec![Some(1)]),
        ];
        world.constraints.colocations = vec![Colocation {
            group: GroupIndex(0),
            with: GroupIndex(1),
            score: Score::NEVER,
        }];
    });
    (0..3).for_each(|machine| note(&mut world, machine, 1, Note::Disabled(true)));
    run(&mut world, 500);
    assert_eq!(places(&world), [vec![0], vec![]]);
    (0..3).for_each(|machine| note(&mut world, machine, 1, Note::Disabled(false)));
    run(&mut world, 500);
    assert_eq!(places(&world), [vec![], vec![0]]);
}

#[test]
fn group_served_elsewhere_does_not_count_as_moving() {
    let mut world = world(3, 2, |world| {
        world.policy = by(Strategy::Utilization);
        world.groups[0].demand = vec![2];
        world.groups[1].demand = vec![4];
        world.capacities = vec![(NodeId(2), vec![Some(4)]), (NodeId(3), vec![Some(5)])];
    });
    assert_eq!(places(&world), [[0], [0]]);
    world.move_to(0, 0, NodeId(2));
    run(&mut world, 12_000);
    assert_eq!(places(&world), [[1], [0]]);
    // The third node would be the better one for the first group too, but that group keeps its
    // node.
    world.crash(0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[1], [2]]);
}
