//! Where groups go by how nodes are, as stories of three nodes or more: interval 10 ms, lease 60 ms.

mod support;

use std::time::Duration;

use heartbeat_common::wire::{Health, NodeId, NodeState};
use heartbeat_core::{
    Command,
    cluster::Intent,
    group::{GroupCommand, Note, Reason, Serving},
    peer::PeerState,
    placement::{Bar, Colocation, Order, Policy, Rebalance, Score, Strategy},
};
use support::{MS, invariants::one_owner, timing, world::World};

const WELL: Health = Health(0);

/// `nodes` machines, all of which may serve each of `groups` groups: the one with the lower number first.
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

/// Runs, and sees that no two ever serve the same.
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

/// Where each group is: machines by index.
fn places(world: &World) -> Vec<Vec<usize>> {
    let groups = 0..world.groups.len();
    groups.map(|group| world.servers(group)).collect()
}

/// What was stopped since the log was taken last: machine, group, why.
fn stops(world: &World) -> Vec<(usize, usize, Reason)> {
    let stops = world.log.iter().filter_map(|entry| match entry.command {
        Command::Group {
            group,
            command: GroupCommand::Stop(reason),
        } => Some((entry.machine, group, reason)),
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
fn a_node_that_is_too_ill_gives_its_groups_up_and_comes_back() {
    let mut world = world(3, 2, |_| {});
    assert_eq!(places(&world), [[0], [0]]);
    world.vitals(0, Health::of(2, true), 0);
    run(&mut world, 200);
    assert_eq!(places(&world), [[1], [1]]);
    assert_eq!(
        stops(&world),
        [(0, 0, Reason::Unhealthy), (0, 1, Reason::Unhealthy)]
    );
    // It answers and votes: nobody lost a majority.
    assert_eq!(peer_state(&world, 1, 1), Some(PeerState::Unhealthy));
    let cluster = world.cluster(0).expect("it lives");
    assert!(cluster.quorate());
    assert_eq!(cluster.state(), NodeState::Active);
    // Ill, and the only one that is left with another.
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
fn a_node_with_failing_checks_is_a_worse_place_by_points() {
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
    // Both nodes have the same points now, and the second group would rather stay.
    assert_eq!(places(&world), [[0], [1]]);
    let ranking = world.cluster(0).expect("it lives").ranking(1);
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
    // Each that is on its way weighs as much as a step of load.
    assert_eq!(places(&world), [[2], [4], [2]]);
    // The load of others is no reason to go back or to go on.
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
fn who_stops_serving_hands_its_groups_to_different_nodes() {
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

#[test]
fn what_there_is_no_room_for_waits() {
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
    let ranking = cluster.ranking(0);
    assert_eq!(ranking[2].bar, Some(Bar::NoRoom(0)));
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
fn what_has_waited_for_long_still_finds_only_the_room_there_is() {
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
            group: 2,
            with: 0,
            score: Score::MUST,
        }];
    });
    assert_eq!(places(&world), [vec![0], vec![], vec![0]]);
    // While the follower waits for something else too.
    (0..3).for_each(|machine| note(&mut world, machine, 2, Note::Barred(true)));
    run(&mut world, 1_000);
    assert_eq!(places(&world), [vec![0], vec![], vec![]]);
    (0..3).for_each(|machine| note(&mut world, machine, 2, Note::Disabled(true)));
    run(&mut world, 1_000);
    assert_eq!(places(&world), [vec![0], vec![0], vec![]]);
}

#[test]
fn who_is_given_way_to_needs_no_room_beside_the_other() {
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
            group: 0,
            with: 1,
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
fn what_another_serves_is_not_taken_to_be_on_its_way() {
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
    // The third node would be the better one for the first group too, but that has a place.
    world.crash(0);
    run(&mut world, 300);
    assert_eq!(places(&world), [[1], [2]]);
}

#[test]
fn a_node_is_emptied_one_group_at_a_time() {
    let mut world = world(3, 5, |world| {
        world.errand_takes = 20 * MS;
        world.groups[3].locations = vec![(NodeId(2), Score::NEVER), (NodeId(3), Score::NEVER)];
        world.constraints.colocations = vec![Colocation {
            group: 0,
            with: 2,
            score: Score::MUST,
        }];
        world.constraints.orders = vec![Order {
            first: 2,
            then: 1,
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
    // One has nowhere else to be.
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
    // It takes nothing, also where nobody else is left to.
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
fn what_its_target_cannot_take_any_more_comes_back_to_an_emptied_node() {
    for released in [false, true] {
        let mut world = world(3, 2, |world| {
            world.constraints.colocations = vec![Colocation {
                group: 1,
                with: 0,
                score: Score::MUST,
            }];
        });
        world.intend(2, Intent::Standby);
        world.errand_takes = 100 * MS;
        world.intend(0, Intent::Empty);
        let serving = |world: &World| world.cluster(0).map(|agent| agent.groups()[0].serving());
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
fn the_next_leaves_once_the_one_before_runs_or_takes_too_long() {
    let mut world = world(3, 2, |world| {
        world
            .groups
            .iter_mut()
            .for_each(|group| group.supervised = true);
    });
    for (machine, group) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        note(&mut world, machine, group, Note::Ready);
    }
    run(&mut world, 300);
    assert_eq!(places(&world), [[0], [0]]);
    // The other nodes never say that it runs there.
    world.intend(0, Intent::Empty);
    run(&mut world, 9_000);
    assert_eq!(places(&world), [[1], [0]]);
    run(&mut world, 2_000);
    assert_eq!(places(&world), [[1], [1]]);
}

/// The second group follows the first, the third comes after it; the fourth has to do with nobody.
fn entangled() -> World {
    world(3, 4, |world| {
        world.constraints.colocations = vec![Colocation {
            group: 1,
            with: 0,
            score: Score::MUST,
        }];
        world.constraints.orders = vec![Order {
            first: 0,
            then: 2,
            mandatory: true,
        }];
    })
}

#[test]
fn what_could_never_leave_does_not_begin_to() {
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
fn what_was_to_leave_stays_once_another_before_it_cannot_stop() {
    let mut world = entangled();
    (0..3).for_each(|machine| note(&mut world, machine, 2, Note::Disabled(true)));
    run(&mut world, 200);
    world.take_log();
    world.errand_takes = 1_000_000 * MS;
    world.intend(0, Intent::Empty);
    run(&mut world, 200);
    assert_eq!(stops(&world), [(0, 1, Reason::Constrained)]);
    note(&mut world, 0, 1, Note::Blocked(true));
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

/// Five nodes: the first has six groups and much to do, the last has room.
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
    // As it was meant to be: 750 and 250.
    world.vitals(0, WELL, 750);
    world.vitals(4, WELL, 250);
    run(&mut world, 20_000);
    assert_eq!(stops(&world).len(), 1);
    // And the other way about: what was moved stays until it fails there.
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
        // The fourth follows the fifth, which may not be where the sixth is.
        world.constraints.colocations = vec![
            Colocation {
                group: 3,
                with: 4,
                score: Score::MUST,
            },
            Colocation {
                group: 4,
                with: 5,
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
fn who_must_follow_comes_along() {
    let mut world = uneven(|world| {
        world.constraints.colocations = vec![Colocation {
            group: 3,
            with: 4,
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

fn note(world: &mut World, machine: usize, group: usize, note: Note) {
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.note(group, note);
    }
    world.wake(machine);
}
