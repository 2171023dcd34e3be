//! The cost of a packet in each program, by the kernel's own statistics of live frames.
//!
//! The kernel reads its clock before and after each run of a program and adds up the difference
//! (`BPF_ENABLE_STATS`). That reading costs as much as a small program. So the same run measures a
//! program that does nothing, with frames at the same pace, and subtracts its time. Its frames have
//! the same length, apart from lease entries, which that program does not read. Short windows of
//! all kinds take turns, so that other load of the machine affects all kinds alike. The result is
//! the median window, so that a few interruptions do not change it.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::sys::{Stats, enable_stats};
use heartbeat_common::guard::Direction;
use serde::Serialize;

use super::{
    cpu::{CpuTime, CpuUse},
    figure::{Figure, Source},
    guarded::Subject,
    ordinary::Way,
    pair::{Pair, Runs, Watched},
    traffic::{Frames, Pace, Traffic},
};
use crate::{interrupt, wait::wait_until};

const FLOOD_WINDOW: Duration = Duration::from_millis(10);
const PACED_WINDOW: Duration = Duration::from_millis(25);
const WARM_UP: Duration = Duration::from_millis(2);
/// The longest time for which sent frames may be under way.
const SETTLE: Duration = Duration::from_millis(500);
const SETTLE_STEP: Duration = Duration::from_micros(500);
/// Share of a program's runs that must have met the verdict in question. The rest is what the
/// network stack sends by itself, such as ARP.
const ON_TOPIC: f64 = 0.9;

/// The cost of one kind of packet in one program, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Median window as the kernel counts: its clock readings included.
    pub raw_ns: f64,
    /// The program that does nothing, likewise.
    pub baseline_ns: f64,
    /// The difference: what the program itself costs.
    pub net_ns: f64,
    /// Over all packets as the kernel counts, interruptions included.
    pub mean_raw_ns: f64,
    pub packets: u64,
    pub windows: usize,
}

pub(super) type Costs = BTreeMap<Figure, Cost>;

/// All costs, and how busy the machine was meanwhile, measuring included.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) costs: Costs,
    pub(super) cpu: CpuUse,
}

/// Measures for `phase`, at least one round.
pub(super) fn measure(pair: &mut Pair, phase: Duration) -> Result<Measured> {
    // On while this descriptor is open, for all programs of this host.
    let _statistics = enable_stats(Stats::RunTime)
        .context("the kernel does not count its programs' run time (needs Linux 5.8)")?;
    let round = round();
    let ways = round.iter().filter_map(|(frames, pace)| match frames {
        Frames::Ordinary(way) if *pace == Pace::Flood => Some(*way),
        _ => None,
    });
    let mut traffic = Traffic::new(pair, ways)?;
    let mut tallies = Figure::ALL.map(Tally::new);
    // The nodes find each other by ARP, and caches fill.
    for (frames, pace) in &round {
        traffic.send(*frames, *pace, WARM_UP)?;
    }
    see_that_all_are_guarded(pair, &mut traffic)?;
    let dropped = pair.guarded.dropped();
    let cpu = CpuTime::now()?;
    let start = Instant::now();
    loop {
        for (frames, pace) in round.iter().copied() {
            interrupt::check()?;
            let fed = tallies
                .iter_mut()
                .filter(|tally| tally.source.frames == frames && tally.source.pace == pace);
            window(pair, &mut traffic, frames, pace, fed.collect())?;
        }
        if start.elapsed() >= phase {
            ensure!(
                pair.guarded.dropped() == dropped,
                "the guard dropped traffic of an open address"
            );
            return Ok(Measured {
                costs: costs(&tallies)?,
                cpu: cpu.until_now()?,
            });
        }
    }
}

/// Measures each kind of frame once.
fn round() -> Vec<(Frames, Pace)> {
    let mut round = Vec::new();
    for figure in Figure::ALL {
        let Source { frames, pace, .. } = figure.source();
        if !round.contains(&(frames, pace)) {
            round.push((frames, pace));
        }
    }
    round
}

/// Fails unless the guard stops what is said to pass through it: else something else would be
/// measured.
fn see_that_all_are_guarded(pair: &mut Pair, traffic: &mut Traffic) -> Result<()> {
    let ways = [
        Way::Guard(Direction::In, Subject::Vip),
        Way::Guard(Direction::Out, Subject::Vip),
        Way::GuardedLink(Subject::Vip),
    ];
    pair.guarded.set_present(true)?;
    pair.guarded.open(false);
    for way in ways {
        let dropped = pair.guarded.dropped();
        wait_until(SETTLE, "a closed guard drops what is sent", || {
            traffic.send(Frames::Ordinary(way), Pace::Flood, WARM_UP)?;
            Ok(pair.guarded.dropped() > dropped)
        })
        .with_context(|| format!("{way:?}"))?;
    }
    settle(
        pair,
        &[
            Watched::GuardIngress,
            Watched::GuardEgress,
            Watched::GuardedLink,
        ],
    )?;
    pair.guarded.open(true);
    Ok(())
}

/// Sends one window of frames and books it for the figures that it feeds.
fn window(
    pair: &mut Pair,
    traffic: &mut Traffic,
    frames: Frames,
    pace: Pace,
    mut fed: Vec<&mut Tally>,
) -> Result<()> {
    if let Frames::Ordinary(way) = frames
        && let Some(present) = way.wants_vips()
    {
        pair.guarded.set_present(present)?;
    }
    let watched: Vec<Watched> = fed.iter().map(|tally| tally.source.watched).collect();
    settle(pair, &watched)?;
    let before: Vec<_> = fed
        .iter()
        .map(|tally| tally.read(pair))
        .collect::<Result<_>>()?;
    let span = match pace {
        Pace::Flood => FLOOD_WINDOW,
        Pace::Heartbeat => PACED_WINDOW,
    };
    traffic.send(frames, pace, span)?;
    settle(pair, &watched)?;
    traffic
        .check(frames)
        .with_context(|| format!("{frames:?}"))?;
    for (tally, (runs, on_topic)) in fed.iter_mut().zip(before) {
        let (runs_now, on_topic_now) = tally.read(pair)?;
        tally.windows.push(Runs {
            count: runs_now.count - runs.count,
            nanos: runs_now.nanos - runs.nanos,
        });
        tally.on_topic += on_topic_now - on_topic;
    }
    Ok(())
}

/// Waits until the programs have run for all that was sent, so that it counts to one window only.
fn settle(pair: &mut Pair, watched: &[Watched]) -> Result<()> {
    let mut read = || {
        let runs = watched.iter().map(|program| pair.runs(*program));
        runs.collect::<Result<Vec<Runs>>>()
    };
    let start = Instant::now();
    let mut last = read()?;
    while start.elapsed() < SETTLE {
        thread::sleep(SETTLE_STEP);
        let now = read()?;
        if now == last {
            return Ok(());
        }
        last = now;
    }
    bail!("programs still run {SETTLE:?} after the last frame was sent")
}

fn costs(tallies: &[Tally]) -> Result<Costs> {
    let medians: BTreeMap<Figure, f64> = tallies
        .iter()
        .map(|tally| Ok((tally.figure, tally.median()?)))
        .collect::<Result<_>>()?;
    let cost = |tally: &Tally| Ok((tally.figure, tally.cost(&medians)?));
    tallies.iter().map(cost).collect()
}

/// The counts for one figure.
struct Tally {
    figure: Figure,
    source: Source,
    windows: Vec<Runs>,
    /// Packets that met the verdict in question.
    on_topic: u64,
}

impl Tally {
    fn new(figure: Figure) -> Self {
        Self {
            figure,
            source: figure.source(),
            windows: Vec::new(),
            on_topic: 0,
        }
    }

    fn read(&self, pair: &mut Pair) -> Result<(Runs, u64)> {
        let Source {
            watched, verdict, ..
        } = self.source;
        let on_topic = match verdict {
            Some(verdict) => pair.verdicts(watched, verdict)?,
            None => 0,
        };
        Ok((pair.runs(watched)?, on_topic))
    }

    /// The middle one of the windows' means, in nanoseconds.
    fn median(&self) -> Result<f64> {
        let windows = self.windows.iter().filter(|window| window.count > 0);
        let mut means: Vec<f64> = windows
            .map(|window| window.nanos as f64 / window.count as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        let median = means.get(means.len() / 2).copied();
        median.with_context(|| format!("{}: the program never ran", self.figure.describe()))
    }

    fn cost(&self, medians: &BTreeMap<Figure, f64>) -> Result<Cost> {
        let packets: u64 = self.windows.iter().map(|window| window.count).sum();
        let nanos: u64 = self.windows.iter().map(|window| window.nanos).sum();
        if let Some(verdict) = self.source.verdict {
            ensure!(
                self.on_topic as f64 >= packets as f64 * ON_TOPIC,
                "{}: only {} of {packets} packets met the verdict {}",
                self.figure.describe(),
                self.on_topic,
                verdict.name()
            );
        }
        let raw_ns = medians[&self.figure];
        let baseline_ns = medians[&self.figure.baseline()];
        Ok(Cost {
            raw_ns,
            baseline_ns,
            net_ns: raw_ns - baseline_ns,
            mean_raw_ns: nanos as f64 / packets as f64,
            packets,
            windows: self.windows.len(),
        })
    }
}
