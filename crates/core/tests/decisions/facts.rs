//! Clusters in which resource managers, operators and peers report anything at any time, in
//! simulated time: no two nodes serve, and every change of phase keeps the rules that the core
//! asserts.
//!
//! Nothing else is checked: if facts change at random, no node has to serve.

use std::time::Duration;

use heartbeat_common::wire::{Health, LinkSet, NodeId};
use heartbeat_core::{
    cluster::Intent,
    group::Note,
    index::{GroupIndex, ResourceIndex},
    placement::{Colocation, Layout, Order, Rebalance, Score, Strategy},
    report::{GroupReport, GroupReports},
    resource::GroupState,
};

use crate::support::{MS, TIMINGS, US, invariants::one_owner, net::Rng, ns, timing, world::World};

const SEEDS: u64 = 60;
/// The number of facts and faults in one run.
const CHANGES: usize = 60;

// docs/design/leases.md#rule-4
#[test]
fn phases_keep_their_rules_whatever_is_said_of_groups() {
    for seed in 0..SEEDS {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut world = cluster(&mut rng);
        if let Err(violation) = happen(&mut rng, &mut world) {
            panic!("seed {seed}: {violation}");
        }
    }
}

fn happen(rng: &mut Rng, world: &mut World) -> Result<(), String> {
    let scale = scale(world);
    (0..world.machines.len()).for_each(|machine| world.boot(machine));
    for _ in 0..CHANGES {
        say_that_all_are_ready(rng, world);
        world.run_watched(rng.below(3 * scale), &mut |world| one_owner::check(world))?;
        match rng.below(3) {
            0 => fault(rng, world),
            1 => operate(rng, world),
            _ => say(rng, world),
        }
    }
    world.run_watched(10 * scale, &mut |world| one_owner::check(world))
}

fn scale(world: &World) -> u64 {
    ns(world.timing.timeout.max(world.timing.lease))
}

/// A cluster of any shape, switched off.
fn cluster(rng: &mut Rng) -> World {
    let (interval, timeout) = rng.pick(&TIMINGS[..3]);
    let count = 3 + rng.below(3) as u16;
    let groups = 1 + rng.below(4) as usize;
    let nodes: Vec<u16> = (1..=count).collect();
    let ranked: Vec<Vec<u16>> = (0..groups).map(|_| turned(rng, &nodes)).collect();
    let ranked: Vec<&[u16]> = ranked.iter().map(Vec::as_slice).collect();
    let mut timing = timing(interval, timeout);
    timing.lease = timing.interval * rng.pick(&[3, 4, 6, 12]);
    let mut world = World::new(count, 1, timing, &ranked, rng.next());
    world.max_lease = ns(timing.lease) * rng.pick(&[1, 2, 5]);
    world.auto_failback = rng.per_mille(700);
    world.errand_takes = rng.below(3 * interval * MS);
    world.slow_stops = Some((3, 20 * interval * MS)).filter(|_| rng.per_mille(400));
    world.net.latency = US + rng.below(interval * MS / 10);
    world.net.jitter = rng.below(interval * MS / 4);
    world.net.loss_per_mille = rng.pick(&[0, 10, 100]);
    world.net.losses_in_a_row = timing.probes_needed() - 1;
    if rng.per_mille(400) {
        world.give_addresses();
    }
    place(rng, &mut world);
    constrain(rng, &mut world);
    world
}

/// The same nodes, beginning with any of them.
fn turned(rng: &mut Rng, nodes: &[u16]) -> Vec<u16> {
    let mut nodes = nodes.to_vec();
    let by = rng.below(nodes.len() as u64) as usize;
    nodes.rotate_left(by);
    nodes
}

/// Sets the locations and the demand of the groups.
fn place(rng: &mut Rng, world: &mut World) {
    world.policy.strategy = rng.pick(&Strategy::ALL);
    let nodes = 1..=world.machines.len() as u16;
    let capacity = |node| (NodeId(node), vec![Some(4)]);
    world.capacities = nodes.map(capacity).collect();
    world.policy.rebalance = rng.per_mille(500).then_some(Rebalance {
        high: 700,
        low: 500,
        hold: Duration::from_millis(200),
        cooldown: Duration::from_millis(500),
    });
    for (index, group) in world.groups.iter_mut().enumerate() {
        group.supervised = rng.per_mille(400);
        group.demand = vec![1 + index as u32 % 2];
        group.rebalance = rng.per_mille(500);
        group.links = LinkSet(rng.below(2) as u8);
    }
}

/// Makes some groups depend on others.
fn constrain(rng: &mut Rng, world: &mut World) {
    let groups = world.groups.len();
    if groups < 2 || rng.per_mille(500) {
        return;
    }
    let group = rng.below(groups as u64) as usize;
    let with = (group + 1) % groups;
    if rng.per_mille(500) {
        let score = rng.pick(&[Score::MUST, Score::NEVER, Score::new(20)]);
        let colocation = Colocation {
            group: GroupIndex(group),
            with: GroupIndex(with),
            score,
        };
        world.constraints.colocations.push(colocation);
    } else {
        world.constraints.orders.push(Order {
            first: GroupIndex(group),
            then: GroupIndex(with),
            mandatory: rng.per_mille(700),
        });
    }
}

/// Reports to most of the agents that no resource runs there that should not.
fn say_that_all_are_ready(rng: &mut Rng, world: &mut World) {
    let groups = world.groups.len();
    for machine in &mut world.machines {
        for group in 0..groups {
            if let Some(agent) = machine.agent.as_mut().filter(|_| rng.per_mille(300)) {
                let ready = Note::State(GroupState::Ready);
                agent.cluster.note(GroupIndex(group), ready);
            }
        }
    }
}

/// Reports a fact about a group to some of the agents.
fn say(rng: &mut Rng, world: &mut World) {
    let group = rng.below(world.groups.len() as u64) as usize;
    let note = note(rng);
    for machine in &mut world.machines {
        if let Some(agent) = machine.agent.as_mut().filter(|_| rng.per_mille(600)) {
            agent.cluster.note(GroupIndex(group), note);
        }
    }
}

fn note(rng: &mut Rng) -> Note {
    let on = rng.per_mille(300);
    let resource = 0;
    match rng.below(9) {
        0 => Note::State(rng.pick(&[GroupState::Started, GroupState::Incomplete])),
        1 => Note::State(rng.pick(&[
            GroupState::Barred {
                resource: ResourceIndex(resource),
            },
            GroupState::Fit,
        ])),
        2 => Note::State(rng.pick(&[
            GroupState::Blocked {
                resource: ResourceIndex(resource),
            },
            GroupState::Unblocked,
        ])),
        3 => Note::State(GroupState::of_interfaces(on)),
        4 => Note::Maintained(on),
        5 => Note::Disabled(on),
        6 => Note::Unpinned,
        7 => Note::StopTimeout(Duration::from_millis(rng.below(100))),
        _ => Note::State(GroupState::Ready),
    }
}

/// Sends one agent a command of an operator, or a message of a peer.
fn operate(rng: &mut Rng, world: &mut World) {
    let machine = rng.below(world.machines.len() as u64) as usize;
    let group = rng.below(world.groups.len() as u64) as usize;
    match rng.below(6) {
        0..2 => {
            let to = rng.pick(&world.groups[group].ranked);
            world.move_to(machine, group, to);
        }
        2 => {
            let intent = rng.pick(&[Intent::Serve, Intent::Standby, Intent::Empty]);
            world.intend(machine, intent);
        }
        3 => (0..world.machines.len()).for_each(|one| world.intend(one, Intent::Serve)),
        4 => replan(rng, world, machine),
        _ => report(rng, world, machine),
    }
}

/// Gives an agent another configuration of the same groups.
fn replan(rng: &mut Rng, world: &mut World, machine: usize) {
    for group in &mut world.groups {
        let by = rng.below(group.ranked.len() as u64) as usize;
        group.ranked.rotate_left(by);
    }
    let layout = Layout {
        groups: world.groups.clone().into(),
        constraints: world.constraints.clone(),
        policy: world.policy.clone(),
        capacities: world.capacities.clone(),
    };
    if let Some(agent) = &mut world.machines[machine].agent {
        agent.cluster.replan(layout);
    }
}

/// Gives an agent the report of another node.
fn report(rng: &mut Rng, world: &mut World, machine: usize) {
    let other = rng.below(world.machines.len() as u64) as usize;
    let node = NodeId(world.machines[other].id);
    let said = |rng: &mut Rng| GroupReport {
        settling: rng.per_mille(200),
        barred: rng.per_mille(100),
        running: rng.per_mille(700),
        broken: rng.per_mille(100),
        unknown: rng.per_mille(100),
    };
    let groups = world.groups.iter().map(|_| said(rng)).collect();
    if let Some(agent) = &mut world.machines[machine].agent {
        let report = GroupReports {
            groups,
            ..GroupReports::default()
        };
        agent.cluster.reported(node, report);
    }
}

/// Injects a fault into a machine.
fn fault(rng: &mut Rng, world: &mut World) {
    let victim = rng.below(world.machines.len() as u64) as usize;
    let length = rng.below(2 * scale(world));
    match rng.below(10) {
        0 => world.crash(victim),
        1..3 => world.boot(victim),
        3 => world.restart_agent(victim),
        4 => world.pause(victim, length),
        5 => world.hang(victim, length),
        6 => {
            let others = (0..world.machines.len()).filter(|other| *other != victim);
            let others: Vec<usize> = others.collect();
            world.cut(&[victim], &others);
        }
        7 => world.graceful_restart(victim, rng.below(3 * ns(world.timing.interval))),
        8 => world.vitals(victim, Health::of(1, rng.per_mille(400)), 300),
        _ => {
            world.net.heal();
            world.vitals(victim, Health::default(), 900);
        }
    }
}
