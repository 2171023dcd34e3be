//! `cargo xtask bench`: what a heartbeat costs the kernel, and how long it takes to come back.
//!
//! Two nodes in namespaces of their own, joined by one cable, run the real programs; every figure is
//! of live frames. Nothing here judges: a missed budget is reported, and only what could not be
//! measured is an error.

pub mod children;
pub mod report;

mod cost;
mod cpu;
mod echo;
mod figure;
mod pair;
mod probes;
mod progress;
mod quantiles;
mod rtt;
mod stamps;
mod table;
mod traffic;

use std::{fs, num::NonZero, thread, time::Duration};

use anyhow::{Context as _, Result};

pub use report::Report;

use crate::{interrupt, wait::observe};
use children::Spinners;
use pair::Pair;
use progress::Progress;
use rtt::RoundTrips;

/// How often the rest of the machine must compete for each core in the loaded phase.
const OVERSUBSCRIPTION: usize = 2;
/// Until the scheduler has spread the spinning processes over the cores.
const SPREAD: Duration = Duration::from_millis(200);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long each of the three phases measures.
    pub phase: Duration,
}

/// Measures everything, one phase after the other.
pub fn run(options: Options) -> Result<Report> {
    interrupt::install();
    let progress = Progress::new();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let spinners = cores * OVERSUBSCRIPTION;
    let Options { phase } = options;

    progress.say("building two nodes in namespaces");
    let mut pair = Pair::new()?;
    progress.phase("cost per packet", phase);
    let cost = cost::measure(&mut pair, phase).context("could not measure the cost per packet")?;

    let trips = |pair: &Pair, what: &str| -> Result<RoundTrips> {
        progress.phase(&format!("round trips, {what}"), phase);
        rtt::measure(pair, phase).with_context(|| format!("could not measure round trips, {what}"))
    };
    let idle = trips(&pair, "idle")?;
    let loaded = {
        // Should we be killed, they end by themselves soon after the phase.
        let mut load = Spinners::start(spinners, phase + Duration::from_secs(60))?;
        observe(SPREAD, || load.check())?;
        let loaded = trips(&pair, "loaded")?;
        load.check()?;
        loaded
    };
    progress.done();
    Ok(Report::new(
        kernel()?,
        cores,
        phase,
        cost,
        report::Rtt::new(spinners, idle, loaded),
    ))
}

fn kernel() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(release.trim().to_owned())
}
