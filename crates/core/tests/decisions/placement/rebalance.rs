//! Groups that move to nodes with room.

use std::time::Duration;

use heartbeat_common::wire::{Health, NodeId};
use heartbeat_core::{
    cluster::Intent,
    group::Reason,
    index::GroupIndex,
    placement::{Colocation, Rebalance, Score},
};

use super::{WELL, places, run, stops, world};
use crate::support::world::World;

/// Five nodes: the first has six groups and a high load, the last has room.
fn uneven(arrange: impl FnOnce(&mut World)) -> World {
    world(5, 6, |world| {
        world.policy.rebalance = Some(Rebalance {
            high: 800,
            low: 400,
            hold: Duration::from_secs(2),
            cooldown: Duration::from_secs(5),
        });
        for group in &mut world.groups {
            group.rebalance = true;
            group.ranked = vec![NodeId(1), NodeId(5), NodeId(2)];
        }
        for (machine, load) in [900, 500, 500, 500, 100].into_iter().enumerate() {
            world.machines[machine].vitals.1 = load;
        }
        arrange(world);
    })
}

#[test]
fn one_group_goes_where_there_is_room_and_stays_there() {
    let mut world = uneven(|_| {});
    run(&mut world, 4_500);
    assert_eq!(stops(&world), [], "nothing moves soon after a start");
    run(&mut world, 1_500);
    let to = NodeId(5);
    assert_eq!(stops(&world), [(0, 0, Reason::Rebalanced { to })]);
    assert_eq!(world.servers(0), [4]);
    // The expected result: 750 and 250.
    world.vitals(0, WELL, 750);
    world.vitals(4, WELL, 250);
    run(&mut world, 20_000);
    assert_eq!(stops(&world).len(), 1);
    // The reverse case: a moved group stays until it fails there.
    world.vitals(0, WELL, 100);
    world.vitals(4, WELL, 900);
    run(&mut world, 20_000);
    assert_eq!(stops(&world).len(), 1);
    assert_eq!(world.servers(0), [4]);
    world.crash(4);
    run(&mut world, 300);
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn nothing_moves_while_anything_is_unsure() {
    type Trouble = fn(&mut World);
    let troubles: [(&str, Trouble); 8] = [
        ("a member is down", |world| world.crash(3)),
        ("a member is emptied", |world| {
            world.intend(3, Intent::Empty);
        }),
        ("a member stalls", |world| world.kill_agent(3)),
        ("a check of a member fails", |world| {
            world.vitals(3, Health::of(1, false), 500);
        }),
        ("a member is too ill", |world| {
            world.vitals(3, Health::of(1, true), 500);
        }),
        ("the load is not held", |world| world.vitals(0, WELL, 790)),
        ("nobody has room", |world| world.vitals(4, WELL, 410)),
        ("another has as much", |world| world.vitals(1, WELL, 1_000)),
    ];
    for (name, trouble) in troubles {
        let mut world = uneven(|_| {});
        trouble(&mut world);
        run(&mut world, 12_000);
        let moved = stops(&world)
            .into_iter()
            .filter(|(.., reason)| matches!(reason, Reason::Rebalanced { .. }));
        assert_eq!(moved.count(), 0, "{name}");
    }
}

#[test]
fn some_groups_are_never_moved_for_load() {
    let mut world = uneven(|world| {
        world.groups[0].rebalance = false;
        world.groups[1].stickiness = Score::MUST;
        world.groups[2].locations = vec![(NodeId(1), Score::new(1))];
        // The fourth follows the fifth, which must not be where the sixth is.
        world.constraints.colocations = vec![
            Colocation {
                group: GroupIndex(3),
                with: GroupIndex(4),
                score: Score::MUST,
            },
            Colocation {
                group: GroupIndex(4),
                with: GroupIndex(5),
                score: Score::NEVER,
            },
        ];
        world.groups[5].ranked = vec![NodeId(5)];
    });
    run(&mut world, 15_000);
    let moved = stops(&world);
    assert_eq!(moved, []);
    assert_eq!(places(&world), [[0], [0], [0], [0], [0], [4]]);
}

#[test]
fn group_that_must_follow_comes_along() {
    let mut world = uneven(|world| {
        world.constraints.colocations = vec![Colocation {
            group: GroupIndex(3),
            with: GroupIndex(4),
            score: Score::MUST,
        }];
        for group in [0, 1, 2, 5] {
            world.groups[group].rebalance = false;
        }
    });
    run(&mut world, 8_000);
    let to = NodeId(5);
    assert_eq!(
        stops(&world),
        [
            (0, 3, Reason::Constrained),
            (0, 4, Reason::Rebalanced { to })
        ]
    );
    assert_eq!(places(&world)[3..5], [[4], [4]]);
}
