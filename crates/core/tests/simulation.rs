//! Whole clusters under faults, in simulated time: every run follows from its seed.
//!
//! `HEARTBEAT_SIM_SEEDS=N` runs N seeds of each story instead of the few that always run. A failing
//! seed prints the command that runs it alone. `decisions/known_bugs.rs` tests the invariants
//! themselves.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use support::{
    run::{Fault, Run},
    world::Bugs,
};

/// The number of seeds of each story that always run.
const SEEDS: u64 = 100;
/// The same number for the story of changing lists, which goes on until all of them are in force.
const FEW_SEEDS: u64 = 20;
/// The same number for slow stops.
const FEWEST_SEEDS: u64 = 8;

use Fault::*;

#[test]
fn machines_crash_and_come_back() {
    story(
        "machines_crash_and_come_back",
        &[Crash, Boot, Boot, KillAgent, RestartAgent],
    );
}

/// Restarts in order: the last lease of an agent, and the guard that the next one adopts, last
/// longer than usual.
#[test]
fn agents_part_and_others_follow() {
    story(
        "agents_part_and_others_follow",
        &[
            GracefulRestart,
            GracefulRestart,
            Move,
            Move,
            Partition,
            Heal,
            KillAgent,
            Boot,
        ],
    );
}

#[test]
fn network_falls_apart_and_heals() {
    story(
        "network_falls_apart_and_heals",
        &[Partition, OneWay, CutLink, Heal],
    );
}

#[test]
fn ports_fail_and_are_mended() {
    story(
        "ports_fail_and_are_mended",
        &[
            Unplug, Unplug, Unplug, Heal, CutLink, Crash, Boot, Boot, Move,
        ],
    );
}

#[test]
fn machines_and_agents_stand_still() {
    story(
        "machines_and_agents_stand_still",
        &[Pause, Starve, Hang, Mute, Unmute],
    );
}

#[test]
fn whole_clusters_are_suspended() {
    story(
        "whole_clusters_are_suspended",
        &[Suspend, Suspend, Pause, Crash, Boot, Boot],
    );
}

#[test]
fn operator_moves_groups_about() {
    story(
        "operator_moves_groups_about",
        &[Move, Move, Move, Standby, Online, RestartAgent, Boot],
    );
}

#[test]
fn nodes_fall_ill_and_are_emptied() {
    story(
        "nodes_fall_ill_and_are_emptied",
        &[Ill, Ill, Well, Empty, Empty, Online, Crash, Boot],
    );
}

#[test]
fn nodes_come_and_go() {
    story_of(
        "nodes_come_and_go",
        &[
            Reload,
            Reload,
            Reload,
            Reload,
            Reload,
            Crash,
            Boot,
            Boot,
            KillAgent,
            RestartAgent,
            Partition,
            Heal,
            Pause,
        ],
        FEW_SEEDS,
        Run::only_for_two_owners,
    );
}

#[test]
fn agents_are_always_late() {
    story_of(
        "agents_are_always_late",
        &[
            Crash,
            Boot,
            Boot,
            KillAgent,
            RestartAgent,
            Partition,
            Heal,
            Move,
        ],
        FEW_SEEDS,
        Run::with_late_agents,
    );
}

#[test]
fn planned_moves_never_start_a_group_twice_however_long_a_stop_takes() {
    story_of(
        "planned_moves_never_start_a_group_twice_however_long_a_stop_takes",
        &[Move, Move, Move, Standby, Online, Empty, Ill, Well],
        FEWEST_SEEDS,
        Run::only_planned,
    );
}

#[test]
fn everything_happens_at_once() {
    story("everything_happens_at_once", &Fault::ALL);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text} is no number: {error}"))
    })
}

fn story(name: &str, faults: &[Fault]) {
    story_of(name, faults, SEEDS, |run| run);
}

fn story_of(name: &str, faults: &[Fault], seeds: u64, kind: fn(Run) -> Run) {
    let alone = number("HEARTBEAT_SIM_SEED");
    let seeds = match alone {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEARTBEAT_SIM_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let run = || {
            let run = kind(Run::new(seed, faults, Bugs::default()));
            if alone.is_some() { run.aloud() } else { run }.go()
        };
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let violation = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(violation)) => violation,
            Err(_) => "panicked, see above".to_owned(),
        };
        panic!(
            "seed {seed}: {violation}\nto see it alone: HEARTBEAT_SIM_SEED={seed} cargo test -p \
             heartbeat-core --test simulation {name} -- --nocapture"
        );
    }
}
