//! Groups in maintenance on nodes whose control task hangs, which are cut off, or which die. At no
//! moment do two nodes serve one, whichever nodes have received the decision.

use heartbeat_core::{group::Note, index::GroupIndex};

use crate::support::{MS, net::Rng, story::settled, world::World};

/// The number of random histories.
const SEEDS: u64 = 300;
/// The number of events in each.
const TURNS: usize = 12;

/// Switches maintenance of the group on one node, as a decision reaches one after the other.
fn maintain(world: &mut World, machine: usize, on: bool) {
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.note(GroupIndex(0), Note::Maintained(on));
    }
    world.wake(machine);
}

fn happen(world: &mut World, rng: &mut Rng) {
    let machine = rng.below(3) as usize;
    let others: Vec<usize> = (0..3).filter(|other| *other != machine).collect();
    match rng.below(8) {
        0..=1 => maintain(world, machine, true),
        2 => maintain(world, machine, false),
        3..=4 => world.hang(machine, 20 * MS + rng.below(400) * MS),
        5 => world.cut(&[machine], &others),
        6 => world.net.heal(),
        _ => world.starve(machine, rng.below(200) * MS),
    }
}

#[test]
fn maintained_group_never_has_two_servers_whatever_hangs() {
    let mut served = 0;
    for seed in 1..=SEEDS {
        let mut rng = Rng(seed);
        let mut world = settled(1);
        for _ in 0..TURNS {
            happen(&mut world, &mut rng);
            for _ in 0..20 + rng.below(100) {
                world.run_for(MS);
                let servers = world.servers(0);
                assert!(servers.len() <= 1, "seed {seed}: {servers:?} serve");
                served += servers.len();
            }
        }
    }
    assert!(served > 0);
}

#[test]
fn group_is_served_again_once_the_maintenance_and_the_faults_are_over() {
    for seed in 1..=SEEDS / 6 {
        let mut rng = Rng(seed);
        let mut world = settled(1);
        for _ in 0..TURNS {
            happen(&mut world, &mut rng);
            world.run_for((20 + rng.below(100)) * MS);
        }
        world.net.heal();
        (0..3).for_each(|machine| maintain(&mut world, machine, false));
        world.run_for(2_000 * MS);
        assert_eq!(world.servers(0).len(), 1, "seed {seed}");
    }
}
