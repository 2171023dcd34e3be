//! Soak: a cluster under random faults for any length of time. Invariants are checked all the time,
//! and growth at the end.
//!
//! The faults follow from the seed alone. So one seed gives the same run, as far as the machine
//! does.

mod growth;
mod invariants;
mod report;
mod schedule;
mod trouble;

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub use report::SoakReport;

use crate::{
    Cluster, Options,
    e2e::{Trial, leftovers},
    wait::observe,
};
use growth::Growth;
use invariants::Watch;
use schedule::{Schedule, Step};

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub length: Duration,
    pub seed: u64,
    /// Leave configuration files and agents' logs behind.
    pub keep_logs: bool,
}

/// A cluster with default timing.
fn options(keep: bool) -> Options {
    Options {
        interval: Duration::from_millis(10),
        timeout: Duration::from_millis(30),
        agent_stall: Duration::from_millis(500),
        lease: Duration::from_millis(60),
        max_lease: Duration::from_secs(1),
        keep,
        ..Options::default()
    }
}

/// Runs a soak. Fails only after an interrupt of the user, or if no cluster could be built. The
/// report has the violated invariants.
pub fn run(plan: &Plan) -> Result<SoakReport> {
    let namespaces = leftovers::open_namespaces()?;
    let mut report = SoakReport::new(plan);
    {
        let mut cluster = Cluster::new(options(plan.keep_logs))?;
        if plan.keep_logs {
            let _ = writeln!(stderr(), "logs stay in {}", cluster.dir().display());
        }
        let played = run_steps(plan, &mut cluster, &mut report);
        if let Err(error) = played {
            if error.is::<crate::interrupt::Interrupted>() {
                return Err(error);
            }
            report.fail(format!("{error:#}"));
        }
        if !report.is_good() {
            let _ = writeln!(stderr(), "{}", cluster.logs(40));
        }
    }
    let pins = leftovers::pins()?;
    if !pins.is_empty() {
        report.fail(format!("pins are left: {pins:?}"));
    }
    let left = leftovers::open_namespaces()?;
    if left != namespaces {
        report.fail(format!(
            "there were {namespaces} network namespaces, and are {left}"
        ));
    }
    Ok(report)
}

fn run_steps(plan: &Plan, cluster: &mut Cluster, report: &mut SoakReport) -> Result<()> {
    let mut progress = Progress::new(plan);
    progress.say(0, "the cluster starts");
    cluster.start_agents()?;
    let trial = Trial::begin("soak", cluster)?;
    let mut watch = Watch::begin(trial, cluster)?;
    let mut schedule = Schedule::new(plan.seed);
    let mut growth: Option<Growth> = None;
    let end = Instant::now() + plan.length;
    while Instant::now() < end {
        // After the first faults all code that is loaded at first use is loaded.
        if growth.is_none() && report.steps() >= growth::WARM_UP {
            growth = Some(Growth::begin(cluster)?);
        }
        let step = schedule.next_step();
        progress.say(report.steps() + 1, &step.trouble.to_string());
        play_step(&step, cluster, &mut watch, report)
            .with_context(|| format!("step {}, {}", report.steps() + 1, step.trouble))?;
        if !report.is_good() {
            break;
        }
    }
    progress.done();
    if let Some(growth) = growth {
        report.growth(growth.end(cluster)?);
    }
    report.answers(watch.answers());
    Ok(())
}

/// Injects a fault, heals it, and waits until all is well.
fn play_step(
    step: &Step,
    cluster: &mut Cluster,
    watch: &mut Watch,
    report: &mut SoakReport,
) -> Result<()> {
    observe(step.quiet, || watch.check(cluster))?;
    report.quiet(watch.quiet_gap());
    let began = watch.strike(cluster)?;
    let trouble = step.trouble.begin(cluster)?;
    observe(step.lasts, || watch.check(cluster))?;
    step.trouble.end(cluster, trouble)?;
    watch.settle(cluster, step)?;
    report.step(step.trouble.kind(), watch.gap_since(began));
    for failure in watch.judge(cluster, step, began)? {
        report.fail(format!(
            "step {}, {}: {failure}",
            report.steps(),
            step.trouble
        ));
    }
    Ok(())
}

/// A progress line on a terminal; nothing in a pipe.
struct Progress {
    watched: bool,
    began: Instant,
    length: Duration,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        Self {
            watched: stderr().is_terminal(),
            began: Instant::now(),
            length: plan.length,
        }
    }

    fn say(&mut self, step: usize, what: &str) {
        if self.watched {
            let (now, all) = (self.began.elapsed().as_secs(), self.length.as_secs());
            // A terminal that went away is no reason to stop.
            let _ = write!(
                stderr(),
                "\r\x1b[K{now} of {all} s, fault {step}: {what} ..."
            );
        }
    }

    fn done(&self) {
        if self.watched {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}
