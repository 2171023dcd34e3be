//! Agents that get the CPU too late at each wake-up: they still take over, and stop the groups that
//! they lost. Three nodes: interval 10 ms, timeout 30 ms, lease 60 ms.

use crate::support::{
    MS,
    invariants::{guard_closes_first, one_owner},
    story::settled,
    world::World,
};

/// The lateness of each wake-up, and its greatest random addition, in milliseconds.
const LATENESS: [(u64, u64); 6] = [(6, 0), (8, 0), (15, 0), (40, 0), (0, 50), (0, 100)];
/// The number of clusters for each.
const SEEDS: u64 = 20;
/// The longest takeover, in milliseconds: a few wake-ups beside the lease.
const TAKEOVER: u64 = 1_000;

/// Three nodes that have settled, and are late from now on.
fn late(lateness: u64, by_chance: u64, seed: u64) -> World {
    let mut world = settled(1);
    world.rng.0 = seed;
    (world.lateness, world.wake_latency) = (lateness * MS, by_chance * MS);
    world
}

/// Runs until `done`. Returns the milliseconds.
fn until(world: &mut World, most: u64, done: fn(&World) -> bool) -> u64 {
    let watch = |world: &World| {
        one_owner::check(world)?;
        guard_closes_first::check(world)
    };
    for passed in 0..=most {
        if done(world) {
            return passed;
        }
        world
            .run_watched(MS, &mut |world| watch(world))
            .expect("one owner");
    }
    panic!("not within {most} ms");
}

#[test]
fn agents_that_are_always_late_take_over_from_an_owner_that_died() {
    for (lateness, by_chance) in LATENESS {
        let mut longest = 0;
        for seed in 0..SEEDS {
            let mut world = late(lateness, by_chance, seed);
            world.crash(0);
            let gone = until(&mut world, TAKEOVER, |world| !world.servers(0).is_empty());
            longest = longest.max(gone);
        }
        println!("late by {lateness} ms and up to {by_chance} more: {longest} ms at most");
    }
}

#[test]
fn owner_that_is_always_late_stops_what_it_has_lost() {
    for (lateness, by_chance) in LATENESS {
        for seed in 0..SEEDS {
            let mut world = late(lateness, by_chance, seed);
            world.cut(&[0], &[1, 2]);
            until(&mut world, TAKEOVER, |world| {
                let kernel = world.machines[0].kernel.as_ref();
                kernel.is_some_and(|kernel| kernel.addresses.is_empty())
            });
        }
    }
}

#[test]
fn agents_that_are_always_late_hand_over_and_take_up_what_was_handed_over() {
    for (lateness, by_chance) in LATENESS {
        for seed in 0..SEEDS {
            let mut world = settled(1);
            world.auto_failback = false;
            world.restart_agent(0);
            world.run_for(100 * MS);
            world.rng.0 = seed;
            (world.lateness, world.wake_latency) = (lateness * MS, by_chance * MS);
            world.move_to(0, 0, heartbeat_common::wire::NodeId(3));
            until(
                &mut world,
                TAKEOVER,
                |world| matches!(world.servers(0)[..], [server] if server != 0),
            );
        }
    }
}
