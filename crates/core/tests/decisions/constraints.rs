//! Groups with constraints between them or with their resources, as stories of three nodes:
//! interval 10 ms, lease 60 ms.

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_core::{
    Command,
    cluster::Intent,
    group::{GroupEvent, Note, Reason, Serving},
    index::{GroupIndex, ResourceIndex},
    placement::{Colocation, Order, Score},
    resource::GroupState,
};

use crate::support::{MS, timing, world::World};

const WEB: GroupIndex = GroupIndex(0);
const DB: GroupIndex = GroupIndex(1);

/// Two groups, each at home on node 1, then 2, then 3.
fn two_groups(arrange: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3], &[1, 2, 3]], 1);
    world.net.latency = 50_000;
    world.max_lease = 60 * MS;
    arrange(&mut world);
    (0..3).for_each(|node| world.boot(node));
    world.run_for(400 * MS);
    world.take_log();
    world
}

fn tied(score: Score) -> World {
    two_groups(|world| {
        world.constraints.colocations = vec![Colocation {
            group: WEB,
            with: DB,
            score,
        }];
    })
}

/// The machines of both groups, by index.
fn places(world: &World) -> [Vec<usize>; 2] {
    [world.servers(WEB.0), world.servers(DB.0)]
}

/// The commands about groups since the last read of the log: machine, group, and the reason of a
/// stop or nothing for a start.
fn commands(world: &World) -> Vec<(usize, GroupIndex, Option<Reason>)> {
    let commands = world.log.iter().filter_map(|entry| match entry.command {
        Command::Group { group, event } => match event {
            GroupEvent::LeaseAcquired {
                regained: false, ..
            } => Some((entry.machine, group, None)),
            GroupEvent::LeaseGivenUp(reason) => Some((entry.machine, group, Some(reason))),
            GroupEvent::LeaseAcquired { regained: true, .. }
            | GroupEvent::ClaimGivenUp(_)
            | GroupEvent::BallotsExhausted
            | GroupEvent::State(_) => None,
        },
        _ => None,
    });
    commands.collect()
}

fn note(world: &mut World, machine: usize, group: GroupIndex, note: Note) {
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.note(group, note);
    }
    world.wake(machine);
}

#[test]
fn follower_goes_where_its_leader_goes_and_stops_before_it() {
    let mut world = tied(Score::MUST);
    assert_eq!(places(&world), [[0], [0]]);
    world.move_to(0, DB.0, NodeId(3));
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[2], [2]]);
    assert_eq!(
        commands(&world),
        [
            (0, WEB, Some(Reason::Constrained)),
            (0, DB, Some(Reason::Moved { to: NodeId(3) })),
            (2, DB, None),
            (2, WEB, None),
        ]
    );
    world.crash(2);
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[0], [0]]);
}

#[test]
fn follower_without_a_leader_does_not_run() {
    let mut world = tied(Score::MUST);
    (0..3).for_each(|machine| note(&mut world, machine, DB, Note::Disabled(true)));
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[], []]);
    (0..3).for_each(|machine| note(&mut world, machine, DB, Note::Disabled(false)));
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[0], [0]]);
}

#[test]
fn those_that_keep_apart_are_never_together() {
    let mut world = tied(Score::NEVER);
    let [web, db] = places(&world);
    assert_eq!((web.len(), db.len()), (1, 1));
    assert_ne!(web, db);
    // The better of the two remaining nodes has the other group.
    let (web, db) = (web[0], db[0]);
    world.crash(web);
    world.run_for(500 * MS);
    let [web, now] = places(&world);
    assert_eq!((web.len(), now), (1, vec![db]));
    assert_ne!(web, [db]);
}

/// Two nodes that may serve both groups, and three that only vote.
#[test]
fn group_that_gives_way_stops_before_the_other_starts() {
    let mut world = World::new(5, 1, timing(10, 30), &[&[1, 2], &[1, 2]], 1);
    world.net.latency = 50_000;
    world.max_lease = 60 * MS;
    world.errand_takes = 50 * MS;
    world.constraints.colocations = vec![Colocation {
        group: WEB,
        with: DB,
        score: Score::NEVER,
    }];
    (0..5).for_each(|node| world.boot(node));
    never_together(&mut world, 1_000);
    let [web, db] = places(&world);
    assert_eq!((web.len(), db.len()), (1, 1), "{web:?} {db:?}");
    let (web, db) = (web[0], db[0]);
    // The leader's node fails: the leader displaces the follower, which has no other node.
    world.crash(db);
    never_together(&mut world, 1_000);
    assert_eq!(places(&world), [vec![], vec![web]]);
    // The follower is back first, and the running leader displaces no group to be at home.
    world.take_log();
    world.boot(db);
    never_together(&mut world, 2_000);
    assert_eq!(places(&world), [[db], [web]]);
    let back: Vec<_> = commands(&world)
        .into_iter()
        .filter(|(_, _, why)| why.is_some())
        .collect();
    assert_eq!(back, [], "somebody had to give way");
}

fn never_together(world: &mut World, milliseconds: u64) {
    for _ in 0..milliseconds {
        world.run_for(MS);
        for machine in &world.machines {
            let Some(agent) = &machine.agent else {
                continue;
            };
            let groups = agent.cluster.groups();
            assert!(
                groups
                    .iter()
                    .any(|group| group.serving() == Serving::Stopped),
                "together on {}",
                machine.id
            );
        }
    }
}

#[test]
fn second_starts_after_the_first_and_stops_before_it() {
    let mut world = two_groups(|world| {
        world.constraints.orders = vec![Order {
            first: DB,
            then: WEB,
            mandatory: true,
        }];
    });
    assert_eq!(places(&world), [[0], [0]]);
    world.intend(0, Intent::Standby);
    world.run_for(500 * MS);
    let stops: Vec<_> = commands(&world)
        .into_iter()
        .filter(|(machine, _, _)| *machine == 0)
        .collect();
    assert_eq!(
        stops,
        [
            (0, WEB, Some(Reason::NodeUnfit)),
            (0, DB, Some(Reason::NodeUnfit)),
        ]
    );
    assert_eq!(world.servers(DB.0), [1]);
}

#[test]
fn points_say_where_and_stickiness_that_it_stays() {
    let scored = |stickiness| {
        two_groups(|world| {
            world.groups[WEB.0].locations = vec![(NodeId(3), Score::new(10))];
            world.groups[WEB.0].stickiness = stickiness;
            world.groups[DB.0].locations = vec![(NodeId(1), Score::NEVER)];
        })
    };
    let mut world = scored(Score::new(9));
    assert_eq!(places(&world), [[2], [1]]);
    world.crash(2);
    world.run_for(300 * MS);
    assert_eq!(places(&world), [[0], [1]]);
    // Node 3 is better by 10, and staying is worth 9.
    world.boot(2);
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[2], [1]]);

    let mut world = scored(Score::new(10));
    world.crash(2);
    world.run_for(300 * MS);
    world.boot(2);
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[0], [1]]);
}

#[test]
fn node_where_the_resources_failed_lets_go_until_they_are_forgotten() {
    let mut world = two_groups(|_| {});
    note(
        &mut world,
        0,
        WEB,
        Note::State(GroupState::Barred {
            resource: ResourceIndex(0),
        }),
    );
    world.run_for(200 * MS);
    assert_eq!(places(&world), [[1], [0]]);
    assert_eq!(commands(&world)[0], (0, WEB, Some(Reason::Failed)));
    // The other nodes have no message about it. The node that hands the group back finds that it is
    // not taken.
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[1], [0]]);
}

#[test]
fn group_that_cannot_stop_keeps_its_lease_behind_a_closed_guard() {
    let mut world = two_groups(|_| {});
    world.errand_takes = 60_000 * MS;
    note(
        &mut world,
        0,
        WEB,
        Note::State(GroupState::Blocked {
            resource: ResourceIndex(0),
        }),
    );
    world.intend(0, Intent::Standby);
    world.run_for(5_000 * MS);
    assert_eq!(world.servers(WEB.0), [0; 0], "its guard is closed");
    let started = |group| {
        let commands = commands(&world);
        commands
            .iter()
            .any(|(machine, of, why)| (*machine, *of, why) == (1, group, &None))
    };
    assert!(!started(WEB), "nobody else may start it");
    assert!(
        !started(DB),
        "nor what takes long to stop: patience never ends in letting go"
    );
    assert_eq!(world.servers(DB.0), [0; 0], "its guard is closed, too");
}

/// A message that comes late, or twice.
#[test]
fn group_that_is_served_is_not_released_because_it_is_said_to_have_stopped() {
    let mut world = two_groups(|_| {});
    let before = places(&world);
    let now = Boottime::from_nanos(world.machines[0].clock.reads(world.now));
    if let Some(agent) = &mut world.machines[0].agent {
        agent.cluster.stopped(WEB, now);
    }
    world.run_for(300 * MS);
    assert_eq!(places(&world), before);
    assert_eq!(commands(&world), []);
}

#[test]
fn in_maintenance_a_group_is_kept_and_none_is_taken() {
    let mut world = two_groups(|_| {});
    for machine in 0..3 {
        note(&mut world, machine, WEB, Note::Maintained(true));
    }
    world.intend(0, Intent::Standby);
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[0], [1]]);
    world.crash(0);
    world.run_for(500 * MS);
    assert_eq!(places(&world), [vec![], vec![1]]);
    for machine in 1..3 {
        note(&mut world, machine, WEB, Note::Maintained(false));
    }
    world.run_for(500 * MS);
    assert_eq!(places(&world), [[1], [1]]);
}

/// A node in maintenance reports so, and is no candidate until maintenance ends.
#[test]
fn node_that_looks_after_nothing_says_so() {
    let mut world = two_groups(|_| {});
    let maintain = |world: &mut World, on| {
        for machine in 0..3 {
            for group in [WEB, DB] {
                note(world, machine, group, Note::Maintained(on));
            }
        }
        world.run_for(500 * MS);
    };
    let states = |world: &World| {
        let agents = world.machines.iter().flat_map(|machine| &machine.agent);
        let states: Vec<_> = agents
            .flat_map(|agent| {
                let said = agent
                    .cluster
                    .peers()
                    .iter()
                    .map(|peer| peer.last_reply.state);
                said.chain([agent.cluster.state()])
            })
            .collect();
        states
    };
    let before = places(&world);
    maintain(&mut world, true);
    assert_eq!(states(&world), [NodeState::Maintenance; 9]);
    maintain(&mut world, false);
    assert_eq!(states(&world), [NodeState::Active; 9]);
    assert_eq!(places(&world), before);
}
