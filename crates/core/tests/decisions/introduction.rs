//! A new group of a reload is claimed after all running nodes have it.

use heartbeat_common::wire::NodeId;
use heartbeat_core::{
    group::INTRODUCTION,
    placement::Layout,
    record::Input,
    report::{GroupReport, GroupReports},
};

use crate::support::{MS, ns, story::LATENCY, timing, world::World};

/// A time that suffices for any claim.
const SOON: u64 = 300 * MS;
/// The index of the group that comes later.
const NEW: usize = 1;

/// Three nodes that serve a first group, and get a second one.
struct Story {
    world: World,
    layout: Layout,
}

impl Story {
    fn begin() -> Self {
        // The better node of the new group reloads last.
        let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3], &[3, 2, 1]], 1);
        world.net.latency = LATENCY;
        world.max_lease = 60 * MS;
        let layout = Layout {
            groups: world.groups.clone().into(),
            constraints: world.constraints.clone(),
            policy: world.policy.clone(),
            capacities: world.capacities.clone(),
        };
        let mut story = Self { world, layout };
        let old = Layout {
            groups: story.world.groups[..NEW].to_vec().into(),
            ..story.layout.clone()
        };
        for machine in 0..3 {
            story.world.boot(machine);
            story.apply(machine, Input::Replan(old.clone()));
        }
        story.world.run_for(SOON);
        assert_eq!(story.world.servers(0), [0]);
        assert_eq!(story.servers(), [] as [usize; 0]);
        story
    }

    /// Loads the new configuration on a node, which then receives the reports of `others` that have
    /// it.
    fn reload(&mut self, machine: usize, others: &[usize]) {
        self.apply(machine, Input::Replan(self.layout.clone()));
        for other in (0..3).filter(|other| *other != machine) {
            self.tell(machine, other, others.contains(&other));
        }
    }

    /// Gives a node the report whether another has the new group.
    fn tell(&mut self, machine: usize, other: usize, has: bool) {
        let said = GroupReport {
            unknown: !has,
            ..GroupReport::default()
        };
        self.tell_of(machine, other, said);
    }

    /// Gives a node the report of another about the new group.
    fn tell_of(&mut self, machine: usize, other: usize, said: GroupReport) {
        let mut groups = vec![GroupReport::default(); self.layout.groups.len()];
        groups[NEW] = said;
        let report = GroupReports {
            groups: groups.into(),
            ..GroupReports::default()
        };
        let node = NodeId(self.world.machines[other].id);
        self.apply(machine, Input::Reported { node, report });
    }

    fn apply(&mut self, machine: usize, input: Input) {
        let agent = self.world.machines[machine].agent.as_mut();
        agent.expect("it runs").apply(input);
    }

    fn servers(&self) -> Vec<usize> {
        self.world.servers(NEW)
    }
}

#[test]
fn new_group_is_claimed_when_the_last_node_has_it_and_by_the_best() {
    let mut story = Story::begin();
    story.reload(0, &[]);
    story.world.run_for(SOON);
    story.reload(1, &[0]);
    story.tell(0, 1, true);
    story.world.run_for(SOON);
    assert_eq!(
        story.servers(),
        [] as [usize; 0],
        "two nodes of three have it"
    );
    story.reload(2, &[0, 1]);
    story.tell(0, 2, true);
    story.tell(1, 2, true);
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [2]);
    assert_eq!(story.world.servers(0), [0], "the other group stays");
}

#[test]
fn new_group_waits_for_no_node_that_is_down() {
    let mut story = Story::begin();
    story.world.crash(2);
    story.world.run_for(SOON);
    story.reload(0, &[1]);
    story.reload(1, &[0]);
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [1]);
}

#[test]
fn new_group_is_claimed_in_the_end_although_a_node_never_has_it() {
    let mut story = Story::begin();
    story.reload(2, &[1]);
    story.reload(1, &[2]);
    story.world.run_for(ns(INTRODUCTION) - SOON);
    assert_eq!(story.servers(), [] as [usize; 0]);
    story.world.run_for(2 * SOON);
    assert_eq!(story.servers(), [2]);
}

#[test]
fn group_that_all_had_once_is_taken_over_whatever_others_have() {
    let mut story = Story::begin();
    for machine in 0..3 {
        story.reload(machine, &[0, 1, 2]);
    }
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [2]);
    // An older configuration returns to a node, which reports so.
    story.tell(1, 0, false);
    story.world.crash(2);
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [1]);
}

#[test]
fn new_group_waits_for_a_node_that_does_not_know_yet_what_runs_there() {
    let mut story = Story::begin();
    for machine in 0..3 {
        story.reload(machine, &[0, 1, 2]);
    }
    let settling = GroupReport {
        settling: true,
        ..GroupReport::default()
    };
    for machine in [1, 2] {
        story.tell_of(machine, 0, settling);
    }
    story.tell_of(0, 1, settling);
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [] as [usize; 0]);
    for (machine, other) in [(1, 0), (2, 0), (0, 1)] {
        story.tell(machine, other, true);
    }
    story.world.run_for(SOON);
    assert_eq!(story.servers(), [2]);
}
