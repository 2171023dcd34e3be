//! `cargo xtask bench --ladder`: contenders under load that grows rung by rung.
//!
//! On each rung a fresh contender serves an address while stressors load the machine. All nodes
//! live: each change of the owner, each report that a node is down and each lost lease is one too
//! many. The ladder states what it saw, and judges nothing. It must never stop the machine: each
//! stressor ends by itself, and the kernel keeps a part of each second for ordinary tasks.

mod agents;
mod observer;
mod report;
mod rung;
mod service;
mod stress;
mod table;

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use report::Ladder;
pub use rung::Rung;
pub use stress::Work;

use super::{
    cpu::{CpuTime, CpuUse},
    kernel,
    progress::Progress,
};
use crate::{
    contender::{self, Contender, Running},
    interrupt::{self, Interrupted},
    sys::{boottime, sleep_until},
    wait::observe,
};
use agents::Watch;
use observer::{Observer, Post};
use report::{Entry, Figures, Row, Step};
use service::Service;
use stress::Stress;

/// The time for which the observer asks before a rung begins: the stressors start meanwhile.
const LEAD: Duration = Duration::from_secs(1);
/// The time after the end of a rung in which agents report what began before.
const TAIL: Duration = Duration::from_millis(300);
/// The time between two looks at the stressors, which must not disturb them.
const LOOK: Duration = Duration::from_millis(100);

/// The contenders by default, and those that `--peers` adds: each at its fastest setting that finds
/// a dead node within some tens of milliseconds.
pub const OURS: [&str; 2] = ["heartbeat-default", "heartbeat-1ms"];
pub const PEERS: [&str; 2] = ["keepalived-10ms", "bfdd-10ms"];
/// The product whose agents report more than others.
const HEARTBEAT: &str = "heartbeat";

/// What to climb.
#[derive(Clone, Debug)]
pub struct Options {
    /// The length of a rung without SCHED_FIFO tasks.
    pub length: Duration,
    /// In this order.
    pub rungs: Vec<Rung>,
    /// The contenders by their keys, in this order.
    pub contenders: Vec<String>,
}

/// Measures each contender on each rung. A contender that fails on a rung has the reason in the
/// place of figures.
pub fn run(options: &Options) -> Result<Ladder> {
    interrupt::install();
    if options.rungs.iter().any(|rung| rung.is_fifo()) {
        rung::check_throttling()?;
    }
    let contenders = choose(&options.contenders)?;
    let progress = Progress::new();
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    let mut ladder = Ladder::new(kernel()?, cpus);
    for contender in &contenders {
        ladder.contenders.push(Entry::new(contender.as_ref())?);
    }
    for rung in &options.rungs {
        let mut step = Step::new(*rung, rung.length(options.length));
        for contender in &contenders {
            let key = contender.key();
            progress.phase(&format!("{}: {key}", rung.describe()), step.length());
            let climbed = climb(&step, contender.as_ref(), cpus);
            step.rows.push(match climbed {
                Ok(figures) => Row::measured(key, figures),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => Row::failed(key, &error),
            });
        }
        ladder.steps.push(step);
    }
    progress.done();
    Ok(ladder)
}

/// The contenders with these keys. Fails if there is none, or if it cannot run here.
fn choose(keys: &[String]) -> Result<Vec<Box<dyn Contender>>> {
    let choose = |key: &String| {
        let mut all = contender::all().into_iter();
        let found = all.find(|contender| contender.key() == key);
        let found = found.with_context(|| {
            let keys: Vec<_> = contender::all().iter().map(|one| one.key()).collect();
            format!("there is no contender {key}, only {}", keys.join(", "))
        })?;
        match found.missing() {
            Some(reason) => bail!("{key} cannot run here: {reason}"),
            None => Ok(found),
        }
    };
    keys.iter().map(choose).collect()
}

/// Measures one contender on one rung.
fn climb(step: &Step, contender: &dyn Contender, cpus: usize) -> Result<Figures> {
    let mut running = Running::start(contender).context("it did not start")?;
    let post = Post::new(&mut running.world.cluster)?;
    let from = boottime().after(LEAD);
    let until = from.after(step.length());
    let observer = match contender.serves() {
        true => Some(Observer::start(&post, until)?),
        false => None,
    };
    let stressors = step.rung.stressors(cpus, running.world.cluster.dir());
    let mut stress = Stress::start(stressors, from, until)?;
    let watch = match contender.product() {
        HEARTBEAT => Some(Watch::begin(&running.world.cluster)?),
        _ => None,
    };
    let downs = running.downs()?;
    sleep_until(from);
    let span = Span::begin(&mut running)?;
    while boottime() < until {
        observe(LOOK.min(until.since(boottime())), || Ok(()))?;
        stress.check()?;
    }
    let (cpu_percent, machine) = span.end(&mut running)?;
    let stress_rounds = stress.finish()?;
    observe(TAIL, || Ok(()))?;
    let cluster = &running.world.cluster;
    let reports = watch.map(|watch| watch.end(cluster, until.after(TAIL)));
    let seen = observer.map(Observer::finish).transpose()?;
    Ok(Figures {
        service: seen.map(|seen| Service::new(&seen, from, until)),
        false_downs: running.downs()?.saturating_sub(downs),
        lateness_ms: running.lateness()?.map(|late| late.as_secs_f64() * 1e3),
        agents: reports.transpose()?,
        cpu_percent,
        machine,
        stress_rounds,
    })
}

/// The CPU time of contender and machine at an instant.
struct Span {
    at: Instant,
    used: Duration,
    machine: CpuTime,
}

impl Span {
    fn begin(running: &mut Running) -> Result<Self> {
        Ok(Self {
            used: running.cpu_time()?,
            machine: CpuTime::now()?,
            at: Instant::now(),
        })
    }

    /// What one node of the contender used since, in percent of a core, and what the machine did.
    fn end(self, running: &mut Running) -> Result<(f64, CpuUse)> {
        let elapsed = self.at.elapsed();
        let machine = self.machine.until_now()?;
        let used = running.cpu_time()?.saturating_sub(self.used);
        let nodes = running.world.names().len().max(1) as f64;
        let percent = 100.0 * used.as_secs_f64() / elapsed.as_secs_f64() / nodes;
        Ok((percent, machine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_of_the_ladder_exist() {
        let all = contender::all();
        for key in OURS.iter().chain(&PEERS) {
            assert!(all.iter().any(|one| one.key() == *key), "{key}");
        }
        let product = |key: &str| all.iter().find(|one| one.key() == key).unwrap().product();
        assert!(OURS.iter().all(|key| product(key) == HEARTBEAT));
    }

    #[test]
    fn unknown_contender_is_refused_with_the_known_ones() {
        let refused = choose(&["ucarp".to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("no contender ucarp"), "{refused}");
        assert!(refused.contains("keepalived-10ms"), "{refused}");
    }
}
