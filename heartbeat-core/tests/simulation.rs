//! Whole clusters under faults, in simulated time: every run follows from its seed.
//!
//! `HEARTBEAT_SIM_SEEDS=N` runs N seeds of each story instead of the few that always run. A seed that
//! fails prints the command that runs it alone.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use support::{
    run::{Fault, Run},
    truth::Violation,
    world::Bugs,
};

/// Seeds that always run, of each story.
const SEEDS: u64 = 40;

use Fault::*;

#[test]
fn machines_crash_and_come_back() {
    story(
        "machines_crash_and_come_back",
        &[Crash, Boot, Boot, KillAgent, RestartAgent],
    );
}

#[test]
fn the_network_falls_apart_and_heals() {
    story(
        "the_network_falls_apart_and_heals",
        &[Partition, OneWay, CutLink, Heal],
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
fn the_operator_moves_groups_about() {
    story(
        "the_operator_moves_groups_about",
        &[Move, Move, Move, Standby, Online, RestartAgent, Boot],
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
    let seeds = match number("HEARTBEAT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEARTBEAT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let verbose = number("HEARTBEAT_SIM_SEED").is_some();
        if let Err(violation) = attempt(seed, faults, Bugs::default(), verbose) {
            panic!(
                "seed {seed}: {violation}\nto see it alone: \
                 HEARTBEAT_SIM_SEED={seed} cargo test -p heartbeat-core --test simulation {name} -- --nocapture"
            );
        }
    }
}

fn attempt(seed: u64, faults: &[Fault], bugs: Bugs, verbose: bool) -> Result<(), Violation> {
    let run = || Run::new(seed, faults, bugs, verbose).go();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("panicked, see above".to_owned()))
}

