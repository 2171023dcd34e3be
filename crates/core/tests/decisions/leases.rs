//! The moves of a group, as stories of three nodes: interval 10 ms, timeout 30 ms, lease 60 ms.
//! Node 1 serves best, then node 2, then node 3. A frame takes 50 us.

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_core::{
    Cluster,
    Command::{self, Announce, QuorumChanged},
    cluster::Intent,
    group::{GroupEvent, Note, Reason},
    index::GroupIndex,
};

use crate::support::{
    MS, START, US,
    invariants::{guard_closes_first, no_renewal_storm::NoRenewalStorm, one_owner},
    story::{LATENCY, groups_since, said_since, settled, start, stop, told, up},
    timing,
    world::World,
};

const SINCE: u64 = START + 200 * MS;

fn agent(world: &mut World, machine: usize) -> &mut Cluster {
    let agent = world.machines[machine].agent.as_mut();
    &mut agent.expect("its agent lives").cluster
}

/// Node 2 serves, because node 1 was dead. The last probes left 5 ms ago.
fn taken_over() -> World {
    let mut world = settled(1);
    world.crash(0);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [1]);
    world.take_log();
    world
}

#[test]
fn first_node_returns_and_is_handed_the_group() {
    let mut world = taken_over();
    let since = world.now;
    world.boot(0);
    world.run_for(300 * MS);
    let quorate = QuorumChanged {
        quorate: true,
        alive: 3,
    };
    assert_eq!(
        said_since(&world, 1, since),
        told([
            (10_000, [&up(2)[..], &up(3), &[quorate]].concat()),
            (40_000, vec![Announce(NodeState::Active)]),
            (115_250, vec![start(since, 115_050, 115_250)]),
        ])
    );
    // Node 2 has seen node 1 active at 55 ms, and waits for a lease.
    assert_eq!(
        groups_since(&world, 2, since),
        [(115_000, stop(Reason::FailBack { to: NodeId(1) }))]
    );
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn returning_node_is_handed_nothing_before_its_acceptor_votes() {
    let mut world = taken_over();
    world.max_lease = 500 * MS;
    let since = world.now;
    world.boot(0);
    world.run_for(600 * MS);
    // Earlier, node 1 would not receive the release, and no node would serve until the original end
    // of the lease.
    assert_eq!(
        groups_since(&world, 2, since),
        [(515_000, stop(Reason::FailBack { to: NodeId(1) }))]
    );
    assert_eq!(
        groups_since(&world, 1, since),
        [(515_250, start(since, 515_050, 515_250))]
    );
}

#[test]
fn without_failing_back_the_group_stays_where_it_is() {
    let mut world = settled(1);
    world.auto_failback = false;
    (1..3).for_each(|node| world.restart_agent(node));
    world.crash(0);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [1]);
    world.boot(0);
    world.run_for(500 * MS);
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn minority_that_comes_back_is_handed_the_group() {
    let mut world = settled(1);
    world.cut(&[0], &[1, 2]);
    world.run_for(200 * MS);
    world.take_log();
    let since = world.now - 5 * MS;
    world.net.heal();
    world.run_for(300 * MS);
    assert_eq!(
        groups_since(&world, 1, since),
        [(120_250, start(since, 120_050, 120_250))]
    );
    assert_eq!(
        groups_since(&world, 2, since),
        [(120_000, stop(Reason::FailBack { to: NodeId(1) }))]
    );
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn hand_over_that_nobody_takes_up_is_tried_again_ever_later() {
    let mut world = taken_over();
    world.boot(0);
    world.run_for(110 * MS);
    for hold in [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] {
        world.take_log();
        let since = world.now;
        world.starve(0, 90 * MS);
        world.run_for(100 * MS);
        let said = groups_since(&world, 2, since);
        let [(_, stopped), (at, _started)] = said[..] else {
            panic!("{said:?}");
        };
        assert_eq!(stopped, stop(Reason::FailBack { to: NodeId(1) }));
        assert_eq!(world.servers(0), [1]);
        world.take_log();
        let until = since + at * US + hold * MS - 10 * MS;
        world.run_for(until - world.now);
        assert_eq!(groups_since(&world, 2, since), []);
    }
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn agent_restarted_in_place_goes_on_serving() {
    let mut world = settled(1);
    world.restart_agent(0);
    for _ in 0..200 {
        assert_eq!(world.servers(0), [0]);
        world.run_for(MS);
    }
    for node in 1..=3 {
        assert_eq!(groups_since(&world, node, SINCE), []);
    }
}

/// Three nodes whose acceptors grant leases of up to half a second.
fn settled_with_long_leases() -> World {
    let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3]], 1);
    world.net.latency = 50 * US;
    world.max_lease = 500 * MS;
    (0..3).for_each(|node| world.boot(node));
    world.run_for(705 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    world
}

#[test]
fn agent_that_gets_a_long_lease_before_it_ends_is_followed_by_one_that_goes_on() {
    let mut world = settled_with_long_leases();
    world.graceful_restart(0, 20 * MS);
    world.run_for(10 * MS);
    world.kill_agent(0);
    for _ in 0..40 {
        assert_eq!(world.servers(0), [0]);
        world.run_for(10 * MS);
    }
    world.restart_agent(0);
    world.run_for(500 * MS);
    assert_eq!(world.servers(0), [0]);
    assert_eq!(groups_since(&world, 1, SINCE), []);
}

/// Without the wait, another node could start the group while it still runs here.
#[test]
fn agent_ending_for_a_restart_renews_a_stopping_group_until_it_has_stopped() {
    let mut world = settled_with_long_leases();
    world.graceful_restart(0, 1_000 * MS);
    world.hang(0, 25 * MS);
    world.move_to(0, 0, NodeId(2));
    world.run_for(20 * MS);
    let now = Boottime::from_nanos(world.now);
    let restarting = agent(&mut world, 0);
    assert!(restarting.is_stopping());
    assert!(!restarting.is_ready_for_restart(now));
    assert!(restarting.groups()[GroupIndex(0)].proposer().lease_end() > now);
    world.run_for(30 * MS);
    let now = Boottime::from_nanos(world.now);
    assert_eq!(world.servers(0), [1]);
    let restarting = agent(&mut world, 0);
    assert!(!restarting.is_stopping());
    assert!(restarting.is_ready_for_restart(now));
}

#[test]
fn agent_ending_for_a_restart_takes_nothing() {
    let mut world = settled_with_long_leases();
    world.graceful_restart(1, 1_000 * MS);
    world.crash(0);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [2]);
}

/// The open guard of an earlier agent belongs to a lease that this agent has handed over.
#[test]
fn inherited_guard_ends_with_the_lease_that_is_handed_over() {
    let mut world = settled_with_long_leases();
    world.graceful_restart(0, 15 * MS);
    world.run_for(50 * MS);
    let guard = world.machines[0].guard_closes(0);
    assert!(guard > world.now + 400 * MS, "it goes on with a long lease");
    world.move_to(0, 0, NodeId(2));
    world.run_for(50 * MS);
    assert_eq!(world.servers(0), [1]);
    world.move_to(1, 0, NodeId(1));
    world.run_for(50 * MS);
    assert_eq!(world.servers(0), [0]);
    world.cut(&[0], &[1, 2]);
    let watched = world.run_watched(200 * MS, &mut |world| {
        one_owner::check(world)?;
        guard_closes_first::check(world)
    });
    assert_eq!(watched, Ok(()));
    assert_eq!(world.servers(0), [1]);
}

/// Whatever the control task reports, only a group that was told to stop has stopped.
// docs/design/leases.md#rule-4
#[test]
fn group_that_is_served_is_not_released_when_it_is_said_to_have_stopped() {
    let mut world = settled(1);
    let now = Boottime::from_nanos(world.now);
    agent(&mut world, 0).stopped(GroupIndex(0), now);
    for _ in 0..20 {
        world.run_for(10 * MS);
        assert_eq!(world.servers(0), [0]);
    }
    // Two confirmations of one stop: the second while another node has the group, and when it is
    // back.
    world.move_to(0, 0, NodeId(2));
    world.run_for(100 * MS);
    let now = Boottime::from_nanos(world.now);
    agent(&mut world, 0).stopped(GroupIndex(0), now);
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [1]);
    world.move_to(1, 0, NodeId(1));
    world.run_for(100 * MS);
    let now = Boottime::from_nanos(world.now);
    agent(&mut world, 0).stopped(GroupIndex(0), now);
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [0]);
    assert!(
        agent(&mut world, 0).groups()[GroupIndex(0)]
            .proposer()
            .is_holding()
    );
}

/// A group in maintenance is not stopped, lease or not: only the guard closes.
#[test]
fn maintained_group_is_not_stopped_when_its_lease_has_run_out() {
    let mut world = settled(1);
    (0..3).for_each(|node| agent(&mut world, node).note(GroupIndex(0), Note::Maintained(true)));
    world.cut(&[0], &[1, 2]);
    world.run_for(500 * MS);
    assert!(world.servers(0).is_empty());
    let runs = |world: &World| {
        let kernel = world.machines[0].kernel.as_ref();
        kernel.is_some_and(|kernel| kernel.addresses.contains(&0))
    };
    assert!(runs(&world), "nobody stopped it");
    assert_eq!(groups_since(&world, 1, SINCE), []);
    agent(&mut world, 0).note(GroupIndex(0), Note::Maintained(false));
    world.run_for(50 * MS);
    assert!(!runs(&world));
    let stopped = groups_since(&world, 1, SINCE);
    assert!(
        matches!(stopped[..], [(_, command)] if command == stop(Reason::LeaseLost)),
        "{stopped:?}"
    );
}

#[test]
fn agent_restarted_too_late_finds_its_address_taken_away() {
    let mut world = settled(1);
    world.kill_agent(0);
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [1]);
    world.restart_agent(0);
    let kernel = world.machines[0].kernel.as_ref();
    assert!(kernel.is_some_and(|kernel| kernel.addresses.is_empty()));
    world.run_for(50 * MS);
    assert_eq!(world.servers(0), [1]);
}

/// A node finds after its pause that another node had the lease and gave it back. The node reports
/// this, because its addresses must be announced anew although none of its resources stopped.
#[test]
fn lease_regained_before_the_stop_is_reported() {
    let mut world = settled(1);
    world.starve(0, 100 * MS);
    world.run_for(90 * MS);
    assert_eq!(world.servers(0), [1]);
    world.move_to(1, 0, NodeId(1));
    let since = world.now;
    world.run_for(40 * MS);
    assert_eq!(world.servers(0), [0]);
    let told = groups_since(&world, 1, since);
    assert!(
        matches!(
            told[..],
            [(
                _,
                Command::Group {
                    event: GroupEvent::LeaseAcquired { regained: true, .. },
                    ..
                }
            )]
        ),
        "{told:?}"
    );
}

#[test]
fn operator_moves_the_group_and_there_it_stays() {
    let mut world = settled(1);
    world.move_to(0, 0, NodeId(3));
    world.run_for(500 * MS);
    assert_eq!(
        groups_since(&world, 1, SINCE),
        [(5_000, stop(Reason::Moved { to: NodeId(3) }))]
    );
    assert_eq!(
        groups_since(&world, 3, SINCE),
        [(5_250, start(SINCE, 5_050, 5_250))]
    );
    assert_eq!(world.servers(0), [2]);
}

// docs/design/leases.md#rule-4
#[test]
fn stopping_takes_its_time_and_the_lease_is_kept_for_it() {
    let mut world = settled(1);
    world.errand_takes = 400 * MS;
    world.move_to(0, 0, NodeId(3));
    assert!(world.servers(0).is_empty(), "the guard closes at once");
    let stopped = |world: &World| {
        let kernel = world.machines[0].kernel.as_ref();
        kernel.is_none_or(|kernel| kernel.addresses.is_empty())
    };
    while !stopped(&world) {
        assert_eq!(groups_since(&world, 2, SINCE), []);
        assert_eq!(groups_since(&world, 3, SINCE), []);
        world.run_for(MS);
    }
    assert!(world.now > SINCE + 100 * MS, "more than a lease");
    world.run_for(MS);
    assert_eq!(groups_since(&world, 3, SINCE).len(), 1);
}

#[test]
fn group_moved_to_a_node_that_has_died_is_another_s_when_the_lease_would_have_ended() {
    let mut world = settled(1);
    world.crash(1);
    world.move_to(0, 0, NodeId(2));
    world.run_for(55 * MS);
    assert!(world.servers(0).is_empty());
    world.run_for(20 * MS);
    assert_eq!(world.servers(0).len(), 1);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [0]);
}

#[test]
fn node_on_standby_hands_over_and_gets_the_group_back_online() {
    let mut world = settled(1);
    world.intend(0, Intent::Standby);
    world.run_for(200 * MS);
    assert_eq!(
        groups_since(&world, 1, SINCE),
        [(10_000, stop(Reason::NodeUnfit))]
    );
    assert_eq!(
        groups_since(&world, 2, SINCE),
        [(10_250, start(SINCE, 10_050, 10_250))]
    );
    world.intend(0, Intent::Serve);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [0]);
}

/// The address cannot be removed. The guard closes, and the node must not keep the lease until the
/// removal.
// docs/design/leases.md#rule-6
#[test]
fn node_whose_control_task_hangs_loses_the_group() {
    let mut world = settled(1);
    world.hang(0, 400 * MS);
    world.run_for(300 * MS);
    assert_eq!(
        groups_since(&world, 1, SINCE),
        [(40_000, stop(Reason::NodeUnfit))]
    );
    // The last renewal left at 40 ms.
    assert_eq!(
        groups_since(&world, 2, SINCE),
        [(100_250, start(SINCE, 100_050, 100_250))]
    );
    assert_eq!(world.servers(0), [1]);
}

/// Puts the group into maintenance on all machines, or ends it.
fn maintain(world: &mut World, on: bool) {
    for machine in 0..3 {
        if let Some(agent) = &mut world.machines[machine].agent {
            agent.cluster.note(GroupIndex(0), Note::Maintained(on));
        }
        world.wake(machine);
    }
}

// docs/design/leases.md#rule-6
#[test]
fn maintained_group_of_a_node_whose_slow_side_hangs_is_served_there_and_nowhere_else() {
    let mut world = settled(1);
    maintain(&mut world, true);
    world.hang(0, 2_000 * MS);
    for _ in 0..1_000 {
        world.run_for(MS);
        assert_eq!(world.servers(0), [0]);
    }
    assert_eq!(groups_since(&world, 1, SINCE), []);
    // The operator ends maintenance. A node that cannot manage the group is no owner any more.
    maintain(&mut world, false);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn maintained_group_of_a_hanging_node_that_is_cut_off_is_served_by_nobody() {
    let mut world = settled(1);
    maintain(&mut world, true);
    world.hang(0, 2_000 * MS);
    world.cut(&[0], &[1, 2]);
    world.run_for(500 * MS);
    assert_eq!(world.servers(0), [], "its lease has ended");
    maintain(&mut world, false);
    world.run_for(200 * MS);
    assert_eq!(world.servers(0), [1]);
}

// docs/design/leases.md#rule-5
#[test]
fn machine_that_stood_still_wakes_to_a_closed_guard() {
    let mut world = settled(1);
    world.pause(0, 500 * MS);
    world.run_for(100 * MS);
    assert_eq!(world.servers(0), [1]);
    world.run_for(420 * MS);
    assert_eq!(world.servers(0), [1]);
    assert_eq!(groups_since(&world, 1, SINCE), []);
    world.run_for(280 * MS);
    // The node wakes at 505 ms, and may wait for a renewal for two intervals.
    assert_eq!(
        groups_since(&world, 1, SINCE)[0],
        (530_000, stop(Reason::LeaseLost))
    );
    assert_eq!(world.servers(0), [0], "handed back");
}

/// Each of nodes 1 and 2 gives its group to the other, and the frames of neither reach one of the
/// acceptors that the other needs: node 5 is off.
#[test]
fn release_that_is_repeated_does_not_hurry_a_claim_each_time() {
    let mut world = World::new(5, 1, timing(10, 30), &[&[1, 2], &[2, 1]], 1);
    world.net.latency = LATENCY;
    world.max_lease = 60 * MS;
    (0..5).for_each(|node| world.boot(node));
    world.run_for(500 * MS);
    world.crash(4);
    world.run_for(200 * MS);
    assert_eq!([world.servers(0), world.servers(1)], [[0], [1]]);
    world.cut(&[0], &[3]);
    world.cut(&[1], &[2]);
    world.rounds.clear();
    world.move_to(0, 0, NodeId(2));
    world.run_for(LATENCY * 6);
    world.move_to(1, 1, NodeId(1));
    world.run_for(60 * MS);
    NoRenewalStorm::default().check(&world).expect("no storm");
}
