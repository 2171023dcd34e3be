//! Hours of whole clusters whose load changes: the hand-over decisions of each node, with a view of
//! the others that is a little old. There are no kernels and no leases: a group that leaves arrives
//! a moment later.
//!
//! `HEARTBEAT_SIM_SEEDS=N` runs N seeds of each story instead of the few that always run. A failing
//! seed prints the command that runs it alone.

mod cluster;
mod layout;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cluster::{Run, Trace};

/// The number of seeds of each story that always run.
const SEEDS: u64 = 6;
#[test]
fn steady_load_is_evened_out() {
    story("steady_load_is_evened_out", Trace::Steady);
}

#[test]
fn bursts_move_little() {
    story("bursts_move_little", Trace::Bursty);
}

#[test]
fn load_that_swings_makes_nothing_swing() {
    story("load_that_swings_makes_nothing_swing", Trace::Swinging);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text} is no number: {error}"))
    })
}

fn story(name: &str, trace: Trace) {
    let alone = number("HEARTBEAT_SIM_SEED");
    let seeds = match alone {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEARTBEAT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut moves = 0;
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| Run::new(seed, trace).go()));
        let violation = match outcome {
            Ok(Ok(found)) => {
                moves += found;
                continue;
            }
            Ok(Err(violation)) => violation,
            Err(_) => "panicked, see above".to_owned(),
        };
        panic!(
            "seed {seed}: {violation}\nto see it alone: HEARTBEAT_SIM_SEED={seed} cargo test -p \
             heartbeat-core --test rebalancing {name} -- --nocapture"
        );
    }
    println!("{name}: {moves} moves");
    assert!(
        moves > 0 || alone.is_some() || trace == Trace::Swinging,
        "nothing ever moved"
    );
}
