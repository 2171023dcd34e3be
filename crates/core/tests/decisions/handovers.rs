//! Planned hand-overs on links that delay and reorder frames: each is much shorter than a lease,
//! whichever acceptor is the last to receive the release.

use heartbeat_common::wire::{LinkId, NodeId};
use heartbeat_core::{Command, cluster::Intent, group::GroupEvent, proposer::Obstacle};

use crate::support::{
    MS, US,
    invariants::{guard_closes_first, one_owner},
    net::{Path, Rng},
    ns,
    story::{groups_since, settled},
    timing,
    world::World,
};

const NODES: usize = 3;
/// The number of hand-overs of each kind and timing.
const HAND_OVERS: usize = 100;
/// Interval and timeout in milliseconds: a lease lasts for six intervals.
const TIMINGS: [(u64, u64); 2] = [(10, 30), (100, 200)];

/// Three settled nodes with these times, node 1 serving.
fn cluster(interval_ms: u64, timeout_ms: u64) -> World {
    let mut world = World::new(3, 1, timing(interval_ms, timeout_ms), &[&[1, 2, 3]], 7);
    world.net.latency = 50 * US;
    world.max_lease = ns(world.timing.lease);
    (0..NODES).for_each(|node| world.boot(node));
    world.run_for(20 * interval_ms * MS);
    assert_eq!(world.servers(0), [0]);
    world
}

/// Adds up to a twentieth of a lease to the latency of each path, at random each time, and delays
/// the owner's request to its own acceptor by as much.
fn delay(world: &mut World, rng: &mut Rng) {
    let most = ns(world.timing.lease) / 20;
    let all: Vec<usize> = (0..NODES).collect();
    for path in world.paths(&all, &all) {
        let more = rng.below(most);
        world.net.delay(path, more);
    }
    world.net.jitter = rng.below(most / 4);
    for machine in &mut world.machines {
        machine.own_vote_takes = rng.below(2) * rng.below(most);
    }
}

/// Runs until another node than `from` serves the group. Returns the time without a server.
fn gap(world: &mut World, from: usize) -> u64 {
    let mut closed = None;
    for _ in 0..100_000 {
        let watch = |world: &World| {
            one_owner::check(world)?;
            guard_closes_first::check(world)
        };
        world
            .run_watched(100 * US, &mut |world| watch(world))
            .expect("one owner");
        match world.servers(0)[..] {
            [server] if server != from => return world.now - closed.unwrap_or(world.now),
            [] => drop(closed.get_or_insert(world.now)),
            _ => {}
        }
    }
    panic!("nobody took the group from machine {from}");
}

/// Hands the group over a hundred times, with other latencies each time.
fn hand_over(interval_ms: u64, timeout_ms: u64, leave: fn(&mut World, usize, &mut Rng)) {
    let mut world = cluster(interval_ms, timeout_ms);
    let mut rng = Rng(interval_ms);
    let mut longest = 0;
    for _ in 0..HAND_OVERS {
        delay(&mut world, &mut rng);
        let [from] = world.servers(0)[..] else {
            panic!("{:?}", world.servers(0));
        };
        leave(&mut world, from, &mut rng);
        let gap = gap(&mut world, from);
        longest = longest.max(gap);
        assert!(
            gap <= ns(world.timing.lease) / 2,
            "nobody served for {gap} ns, a lease is {:?}",
            world.timing.lease
        );
        world.run_for(5 * ns(world.timing.lease) + rng.below(interval_ms * MS));
    }
    println!(
        "{HAND_OVERS} hand-overs, a lease of {:?}: nobody served for {} us at most",
        world.timing.lease,
        longest / US
    );
}

/// Delays the release of `from` by a twentieth of a lease for all acceptors but that of `to`.
fn hears_first(world: &mut World, from: usize, to: usize) {
    let late = ns(world.timing.lease) / 20;
    for path in world.paths(&[from], &[0, 1, 2]) {
        let delay = if path.to == to { 0 } else { late };
        world.net.delay(path, delay);
    }
    world.machines[from].own_vote_takes = late;
}

/// Starts a new agent of the owner: the old one would wait before it hands the group to a node that
/// did not keep it.
fn forget_the_last_one(world: &mut World, owner: usize) {
    world.restart_agent(owner);
    world.run_for(3 * ns(world.timing.lease));
}

#[test]
fn hundred_moves_on_slow_links_take_less_than_half_a_lease_each() {
    for (interval, timeout) in TIMINGS {
        hand_over(interval, timeout, |world, from, rng| {
            let to = (from + 1 + rng.below(2) as usize) % NODES;
            if rng.per_mille(500) {
                hears_first(world, from, to);
            }
            world.move_to(from, 0, NodeId(to as u16 + 1));
        });
    }
}

/// Standby, and the fail-back when the best node is online again, in turns.
#[test]
fn hundred_standbys_and_failbacks_on_slow_links_take_less_than_half_a_lease_each() {
    for (interval, timeout) in TIMINGS {
        hand_over(interval, timeout, |world, from, _| match from {
            0 => world.intend(0, Intent::Standby),
            _ => {
                forget_the_last_one(world, from);
                world.intend(0, Intent::Serve);
            }
        });
    }
}

#[test]
fn hundred_drains_and_failbacks_on_slow_links_take_less_than_half_a_lease_each() {
    for (interval, timeout) in TIMINGS {
        hand_over(interval, timeout, |world, from, _| match from {
            0 => world.intend(0, Intent::Empty),
            _ => {
                forget_the_last_one(world, from);
                world.intend(0, Intent::Serve);
            }
        });
    }
}

/// A node that stops in order, and starts again.
#[test]
fn hundred_orderly_stops_on_slow_links_take_less_than_half_a_lease_each() {
    for (interval, timeout) in TIMINGS {
        hand_over(interval, timeout, |world, from, _| match from {
            0 => world.intend(0, Intent::Drain),
            _ => {
                forget_the_last_one(world, from);
                world.restart_agent(0);
            }
        });
    }
}

/// The release of node 1's lease reaches node 2 at once, all other acceptors a millisecond later.
fn heard_first_by_its_successor() -> World {
    let mut world = settled(1);
    let way = |from, to| Path {
        from,
        to,
        link: LinkId(0),
    };
    world.net.delay(way(0, 2), MS);
    world.machines[0].own_vote_takes = MS;
    world
}

#[test]
fn successor_that_hears_first_of_the_release_asks_again_before_its_next_tick() {
    let mut world = heard_first_by_its_successor();
    let since = world.now;
    world.move_to(0, 0, NodeId(2));
    world.run_for(8 * MS);
    assert_eq!(world.servers(0), [1]);
    let started = groups_since(&world, 2, since);
    assert!(
        matches!(started[..], [(at, _)] if at < 2_000),
        "{started:?}"
    );
}

/// Another node has taken the lease since, and holds it: no release is on its way.
#[test]
fn claim_refused_for_a_newer_lease_is_given_up_and_told_by_the_successor() {
    let mut world = cluster(10, 100);
    world.move_to(0, 0, NodeId(2));
    world.run_for(60 * US);
    // Node 2 has received the release, and receives nothing else. The others do not wait for it
    // longer than the original end of the lease.
    world.cut(&[1], &[0, 2]);
    world.run_for(80 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    let since = world.now;
    world.net.heal();
    world.run_for(15 * MS);
    let told = groups_since(&world, 2, since);
    let by_owner = |command: &Command| {
        matches!(
            command,
            Command::Group {
                event: GroupEvent::ClaimGivenUp(Obstacle::Lease {
                    owner: NodeId(1),
                    ..
                }),
                ..
            }
        )
    };
    assert!(
        matches!(&told[..], [(_, command)] if by_owner(command)),
        "{told:?}"
    );
    assert_eq!(world.servers(0), [0]);
}
