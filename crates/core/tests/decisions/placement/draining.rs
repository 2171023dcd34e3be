//! Nodes that an operator empties.

use heartbeat_common::wire::{NodeId, NodeState};
use heartbeat_core::{
    cluster::Intent,
    group::{Note, Reason, Serving},
    index::{GroupIndex, ResourceIndex},
    peer::PeerState,
    placement::{Colocation, Order, Score},
    resource::GroupState,
};

use super::{note, peer_state, places, run, stops, world};
use crate::support::{MS, world::World};

#[test]
fn node_is_emptied_one_group_at_a_time() {
    let mut world = world(3, 5, |world| {
        world.errand_takes = 20 * MS;
        world.groups[3].locations = vec![(NodeId(2), Score::NEVER), (NodeId(3), Score::NEVER)];
        world.constraints.colocations = vec![Colocation {
            group: GroupIndex(0),
            with: GroupIndex(2),
            score: Score::MUST,
        }];
        world.constraints.orders = vec![Order {
            first: GroupIndex(2),
            then: GroupIndex(1),
            mandatory: true,
        }];
    });
    assert_eq!(places(&world), [[0]; 5]);
    world.intend(0, Intent::Empty);
    let mut away = 0;
    for _ in 0..2_000 {
        run(&mut world, 1);
        let agent = world.cluster(0).expect("it lives");
        let left = agent
            .groups()
            .iter()
            .filter(|group| group.serving() == Serving::Stopping);
        away = away.max(left.count());
    }
    assert_eq!(
        away, 2,
        "both that hang on the third, and nothing else at a time"
    );
    // One group has no other node.
    assert_eq!(places(&world), [[1], [1], [1], [0], [1]]);
    let to = NodeId(2);
    assert_eq!(
        stops(&world),
        [
            (0, 0, Reason::Constrained),
            (0, 1, Reason::Constrained),
            (0, 2, Reason::Drained { to }),
            (0, 4, Reason::Drained { to }),
        ]
    );
    assert_eq!(
        world.cluster(0).map(heartbeat_core::Cluster::state),
        Some(NodeState::Draining)
    );
    assert_eq!(peer_state(&world, 1, 1), Some(PeerState::Draining));
    // The node takes no group, even if no other node is left for it.
    world.crash(1);
    run(&mut world, 500);
    assert_eq!(places(&world), [[2], [2], [2], [0], [2]]);
    world.take_log();
    world.intend(0, Intent::Standby);
    run(&mut world, 300);
    assert_eq!(stops(&world), [(0, 3, Reason::NodeUnfit)]);
    world.intend(0, Intent::Serve);
    run(&mut world, 500);
    assert_eq!(places(&world), [[0]; 5]);
}

#[test]
fn group_comes_back_to_an_emptied_node_if_its_target_cannot_take_it() {
    for released in [false, true] {
        let mut world = world(3, 2, |world| {
            world.constraints.colocations = vec![Colocation {
                group: GroupIndex(1),
                with: GroupIndex(0),
                score: Score::MUST,
            }];
        });
        world.intend(2, Intent::Standby);
        world.errand_takes = 100 * MS;
        world.intend(0, Intent::Empty);
        let serving = |world: &World| {
            world
                .cluster(0)
                .map(|agent| agent.groups()[GroupIndex(0)].serving())
        };
        let until = match released {
            true => Serving::Stopped,
            false => Serving::Stopping,
        };
        while serving(&world) != Some(until) {
            world.run_for(MS / 20);
        }
        world.crash(1);
        run(&mut world, 1_000);
        assert_eq!(places(&world), [[0], [0]], "released: {released}");
        world.boot(1);
        run(&mut world, 1_000);
        assert_eq!(places(&world), [[1], [1]], "released: {released}");
    }
}

#[test]
fn next_leaves_once_the_one_before_runs_or_takes_too_long() {
    let mut world = world(3, 2, |world| {
        world
            .groups
            .iter_mut()
            .for_each(|group| group.supervised = true);
    });
    for (machine, group) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        note(&mut world, machine, group, Note::State(GroupState::Ready));
    }
    run(&mut world, 300);
    assert_eq!(places(&world), [[0], [0]]);
    // The other nodes never report that it runs there.
    world.intend(0, Intent::Empty);
    run(&mut world, 9_000);
    assert_eq!(places(&world), [[1], [0]]);
    run(&mut world, 2_000);
    assert_eq!(places(&world), [[1], [1]]);
}

/// The second group follows the first, the third comes after it, and the fourth has no constraint.
fn entangled() -> World {
    world(3, 4, |world| {
        world.constraints.colocations = vec![Colocation {
            group: GroupIndex(1),
            with: GroupIndex(0),
            score: Score::MUST,
        }];
        world.constraints.orders = vec![Order {
            first: GroupIndex(0),
            then: GroupIndex(2),
            mandatory: true,
        }];
    })
}

#[test]
fn group_that_can_never_leave_does_not_begin_to() {
    let mut world = entangled();
    note(&mut world, 0, 2, Note::Maintained(true));
    world.intend(0, Intent::Empty);
    run(&mut world, 1_000);
    assert_eq!(places(&world), [[0], [0], [0], [1]]);
    note(&mut world, 0, 2, Note::Maintained(false));
    run(&mut world, 1_000);
    assert_eq!(places(&world), [[1]; 4]);
}

#[test]
fn leaving_group_stays_once_a_group_before_it_cannot_stop() {
    let mut world = entangled();
    (0..3).for_each(|machine| note(&mut world, machine, 2, Note::Disabled(true)));
    run(&mut world, 200);
    world.take_log();
    world.errand_takes = 1_000_000 * MS;
    world.intend(0, Intent::Empty);
    run(&mut world, 200);
    assert_eq!(stops(&world), [(0, 1, Reason::Constrained)]);
    note(
        &mut world,
        0,
        1,
        Note::State(GroupState::Blocked {
            resource: ResourceIndex(0),
        }),
    );
    run(&mut world, 300);
    let to = NodeId(2);
    assert_eq!(
        stops(&world),
        [(0, 1, Reason::Constrained), (0, 3, Reason::Drained { to })]
    );
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn nobody_leaves_an_emptied_node_before_another_can_take_it() {
    let mut world = world(3, 2, |_| {});
    world.intend(1, Intent::Standby);
    world.intend(2, Intent::Standby);
    run(&mut world, 100);
    world.intend(0, Intent::Empty);
    run(&mut world, 1_000);
    assert_eq!(places(&world), [[0], [0]]);
    world.intend(2, Intent::Serve);
    run(&mut world, 1_000);
    assert_eq!(places(&world), [[2], [2]]);
}
