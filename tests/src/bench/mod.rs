//! `cargo xtask bench`: what heartbeats, leases and the guard cost the kernel, how long a heartbeat
//! takes to come back, how long a free lease to be granted, and how long the end of a process to be
//! heard of.
//!
//! Two nodes in namespaces of their own, joined by one cable, run the real programs; every figure
//! is of live frames. Nothing here judges: a missed budget is reported, and only what could not be
//! measured is an error.

pub mod children;
pub mod ladder;
pub mod report;

mod acquire;
mod cost;
mod cpu;
mod echo;
mod exits;
mod figure;
mod guarded;
mod local;
mod ordinary;
mod pair;
mod probes;
mod progress;
mod quantiles;
mod rtt;
mod stamps;
mod table;
mod throughput;
mod traffic;
mod votes;

use std::{fs, num::NonZero, thread, time::Duration};

use anyhow::{Context as _, Result};

pub use report::BenchReport;

use crate::{interrupt, wait::observe};
use acquire::Acquisitions;
use children::Spinners;
use pair::Pair;
use progress::Progress;
use report::Acquire;
use rtt::RoundTrips;

/// The number of processes that must compete for each core in the loaded phase.
const OVERSUBSCRIPTION: usize = 2;
/// Until the scheduler has spread the spinning processes over the cores.
const SPREAD: Duration = Duration::from_millis(200);

/// The parts of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The duration of each of the eight phases.
    pub phase: Duration,
}

/// Measures everything, one phase after the other.
pub fn run(options: Options) -> Result<BenchReport> {
    interrupt::install();
    let progress = Progress::new();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let spinners = cores * OVERSUBSCRIPTION;
    let Options { phase } = options;

    progress.say("building two nodes in namespaces");
    let mut pair = Pair::new()?;
    progress.phase("cost per packet", phase);
    let cost = cost::measure(&mut pair, phase).context("could not measure the cost per packet")?;

    progress.phase("ordinary traffic with and without the guard", phase);
    let throughput = throughput::measure(&mut pair, phase)
        .context("could not measure ordinary traffic with and without the guard")?;

    progress.phase("local traffic with and without the guard", phase);
    let local = local::measure(&mut pair, phase)
        .context("could not measure local traffic with and without the guard")?;

    progress.phase("hearing of the end of processes", phase);
    let exits = exits::measure(&mut pair, phase)
        .context("could not measure how long it takes to hear of the end of a process")?;

    let timed = |pair: &Pair, what: &str| -> Result<(RoundTrips, Acquisitions)> {
        progress.phase(&format!("round trips, {what}"), phase);
        let trips = rtt::measure(pair, phase)
            .with_context(|| format!("could not measure round trips, {what}"))?;
        progress.phase(&format!("acquiring leases, {what}"), phase);
        let acquired = acquire::measure(pair, phase)
            .with_context(|| format!("could not measure acquiring leases, {what}"))?;
        Ok((trips, acquired))
    };
    let (idle, acquired_idle) = timed(&pair, "idle")?;
    let (loaded, acquired_loaded) = {
        // Should we be killed, they end by themselves soon after the phases.
        let mut load = Spinners::start(spinners, phase * 2 + Duration::from_secs(60))?;
        observe(SPREAD, || load.check())?;
        let timed = timed(&pair, "loaded")?;
        load.check()?;
        timed
    };
    progress.done();
    Ok(BenchReport::new(
        (kernel()?, cores),
        phase,
        cost,
        (throughput, local),
        report::Rtt::new(spinners, idle, loaded),
        Acquire::new(acquired_idle, acquired_loaded),
        exits,
    ))
}

fn kernel() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(release.trim().to_owned())
}
