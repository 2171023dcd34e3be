//! A group that an operator stops, and starts again before its lease would have ended: interval 10
//! ms, lease 60 ms. Node 1 serves best.

use heartbeat_core::{group::Note, index::GroupIndex};

use crate::support::{MS, story::settled, world::World};

/// Brings the operator's decision to one node.
fn disable(world: &mut World, machine: usize, on: bool) {
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.note(GroupIndex(0), Note::Disabled(on));
    }
    world.wake(machine);
}

#[test]
fn stopped_group_returns_to_its_best_node_in_any_order_of_the_news() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        for pause in [1, 20, 40, 200] {
            let mut world = settled(1);
            assert_eq!(world.servers(0), [0]);
            for machine in 0..3 {
                disable(&mut world, machine, true);
                world.run_for(MS);
            }
            world.run_for(pause * MS);
            assert!(world.servers(0).is_empty());
            for machine in order {
                disable(&mut world, machine, false);
                world.run_for(MS);
            }
            world.run_for(50 * MS);
            assert_eq!(world.servers(0), [0], "{order:?} after {pause} ms");
        }
    }
}
