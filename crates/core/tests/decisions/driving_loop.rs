//! The loop in the first comment of the crate compiles, and is the same as here.

use heartbeat_common::wire::{GroupId, LeaseEntry};
use heartbeat_common::{
    lease::Slot,
    maps::{PeerRow, VoteEvent},
    time::Boottime,
};
use heartbeat_core::{
    Cluster, Command, ReadSlot, StepInput,
    cluster::Plan,
    index::{GroupIndex, PeerIndex},
    record::Input,
};

/// The surroundings of the core: the kernel, the network and the rest of the agent.
trait Kernel {
    fn now(&self) -> Boottime;
    fn wait_until(&mut self, at: Boottime) -> bool;
    fn next_tick(&self) -> Boottime;
    fn input(&mut self) -> Option<Input>;
    fn vote(&mut self) -> Option<(Option<PeerIndex>, VoteEvent)>;
    fn send(&mut self, asks: Vec<LeaseEntry>);
    fn rows(&self) -> Vec<PeerRow>;
    fn slot(&self, lease: GroupId) -> Slot;
    fn votes_from(&self) -> Boottime;
    fn control_tick_at(&self) -> Boottime;
    fn guard(&mut self, group: GroupIndex, until: Boottime);
    fn execute(&mut self, command: Command);
}

#[expect(dead_code, reason = "shown, not run: the simulation drives the core")]
fn drive(kernel: &mut impl Kernel, plan: Plan) {
    let mut cluster = Cluster::new(plan);
    loop {
        let deadline = cluster.next_deadline().unwrap_or(kernel.next_tick());
        let wake_at = deadline.min(kernel.next_tick());
        let is_tick = kernel.wait_until(wake_at); // also woken by an overdue reply and by votes
        while let Some(input) = kernel.input() {
            cluster.apply(input); // requests and facts from the agent
        }
        while let Some((acceptor, votes)) = kernel.vote() {
            cluster.count(acceptor, &votes, kernel.now());
        }
        if is_tick || cluster.take_urgency() {
            kernel.send(cluster.requests().collect()); // to all acceptors
        }
        let (now, votes_from) = (kernel.now(), kernel.votes_from());
        let leases = cluster.slots_to_read(now, votes_from);
        let read = |lease| ReadSlot {
            lease,
            slot: kernel.slot(lease),
        };
        let slots: Vec<_> = leases.map(read).collect();
        let (late, control_tick_at) = (now.since(wake_at), kernel.control_tick_at());
        let (rows, slots, mut commands) = (&kernel.rows(), &slots, Vec::new());
        let input = StepInput {
            now,
            late,
            control_tick_at,
            rows,
            slots,
            votes_from,
        };
        cluster.step(&input, &mut commands); // once more where `cluster.lacks_slots()`
        for (index, group) in cluster.groups().iter_enumerated() {
            kernel.guard(index, group.open_until()); // before the event leaves this thread
        }
        for command in commands.drain(..) {
            kernel.execute(command);
        }
    }
}

/// The lines between two others, without the indentation of the first.
fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != begin).skip(1);
    let lines: Vec<&str> = lines.take_while(|line| *line != end).collect();
    let indent = lines
        .first()
        .map_or(0, |line| line.len() - line.trim_start().len());
    let strip = |line: &&str| line.get(indent..).unwrap_or_default().to_owned();
    lines.iter().map(strip).collect()
}

#[test]
fn loop_in_the_comment_is_the_one_that_compiles() {
    let source = include_str!("driving_loop.rs");
    let compiled = between(
        source,
        "fn drive(kernel: &mut impl Kernel, plan: Plan) {",
        "}",
    );
    let comment = include_str!("../../src/lib.rs")
        .replace("//! ", "")
        .replace("//!", "");
    let shown = between(&comment, "```text", "```");
    assert!(!compiled.is_empty());
    assert_eq!(shown, compiled);
}
