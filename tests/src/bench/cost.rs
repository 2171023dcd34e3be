//! What a packet costs each program, from the kernel's own statistics of live frames.
//!
//! The kernel reads its clock before and after each run of a program and adds up the difference
//! (`BPF_ENABLE_STATS`). That reading costs as much as a small program, so the same is measured of a
//! program that does nothing, with the same frames in the same run, and taken off. Short windows of
//! all kinds take turns, so that whatever else the machine does meets all alike; the median window
//! counts, and one that was interrupted does not.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::sys::{Stats, enable_stats};
use heartbeat_common::verdict::Verdict;
use serde::Serialize;

use super::{
    pair::{Pair, Runs, Watched},
    traffic::{Frames, Pace, Traffic},
};
use crate::interrupt;

const FLOOD_WINDOW: Duration = Duration::from_millis(10);
const PACED_WINDOW: Duration = Duration::from_millis(25);
/// How long frames that were sent may still be under way.
const SETTLE: Duration = Duration::from_millis(500);
const SETTLE_STEP: Duration = Duration::from_micros(500);
/// Share of a program's runs that must have met the verdict in question. The rest is what the
/// network stack sends by itself, such as ARP.
const ON_TOPIC: f64 = 0.9;

/// The cost of one kind of packet in one program, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Median window, as the kernel counts: its clock readings included.
    pub raw_ns: f64,
    /// The program that does nothing, likewise.
    pub baseline_ns: f64,
    /// The difference: what the program itself costs.
    pub net_ns: f64,
    /// Mean over all packets, interruptions included, as the kernel counts.
    pub mean_raw_ns: f64,
    pub packets: u64,
    pub windows: usize,
}

/// All costs, by name.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    pub probe_to_reply: Cost,
    pub reply_to_record: Cost,
    pub stamp: Cost,
    pub junk_bad_magic: Cost,
    pub junk_unknown_peer: Cost,
    pub junk_bad_mac: Cost,
    pub pass_other_traffic: Cost,
    pub stamp_other_traffic: Cost,
    pub probe_to_reply_paced: Cost,
    pub reply_to_record_paced: Cost,
    pub stamp_paced: Cost,
}

/// One program under one kind of traffic.
struct Figure {
    frames: Frames,
    pace: Pace,
    watched: Watched,
    /// What the program must have said; the baseline says nothing, nor the stamp of other traffic.
    verdict: Option<Verdict>,
    windows: Vec<Runs>,
    on_topic: u64,
}

const ROUND: [(Frames, Pace); 8] = [
    (Frames::Baseline, Pace::Flood),
    (Frames::Probes, Pace::Flood),
    (Frames::BadMagic, Pace::Flood),
    (Frames::UnknownPeer, Pace::Flood),
    (Frames::BadMac, Pace::Flood),
    (Frames::Other, Pace::Flood),
    (Frames::Baseline, Pace::Heartbeat),
    (Frames::Probes, Pace::Heartbeat),
];

/// Measures for `phase`, at least one round.
pub(super) fn measure(pair: &mut Pair, phase: Duration) -> Result<Costs> {
    // On while this descriptor is open, for all programs of this host.
    let _statistics = enable_stats(Stats::RunTime)
        .context("the kernel does not count its programs' run time (needs Linux 5.8)")?;
    let mut traffic = Traffic::new(pair)?;
    let mut figures = Figures::new();
    // Neighbours get to know each other, caches fill.
    for (frames, pace) in ROUND {
        traffic.send(frames, pace, Duration::from_millis(2))?;
    }
    let start = Instant::now();
    loop {
        for (frames, pace) in ROUND {
            interrupt::check()?;
            figures.window(pair, &mut traffic, frames, pace)?;
        }
        if start.elapsed() >= phase {
            return figures.costs();
        }
    }
}

struct Figures {
    baseline: Figure,
    baseline_paced: Figure,
    rest: [Figure; 11],
}

impl Figures {
    fn new() -> Self {
        use Watched::{FarResponder, NearResponder, NearStamp};
        let flood = |frames, watched, verdict| Figure::new(frames, Pace::Flood, watched, verdict);
        let paced =
            |watched, verdict| Figure::new(Frames::Probes, Pace::Heartbeat, watched, verdict);
        let baseline = |pace| Figure::new(Frames::Baseline, pace, Watched::Baseline, None);
        Self {
            baseline: baseline(Pace::Flood),
            baseline_paced: baseline(Pace::Heartbeat),
            // In the order of the fields of `Costs`.
            rest: [
                flood(Frames::Probes, FarResponder, Some(Verdict::Answered)),
                flood(Frames::Probes, NearResponder, Some(Verdict::Recorded)),
                flood(Frames::Probes, NearStamp, Some(Verdict::Stamped)),
                flood(Frames::BadMagic, FarResponder, Some(Verdict::BadMagic)),
                flood(Frames::UnknownPeer, FarResponder, Some(Verdict::UnknownPeer)),
                flood(Frames::BadMac, FarResponder, Some(Verdict::BadMac)),
                flood(Frames::Other, FarResponder, Some(Verdict::OtherPort)),
                flood(Frames::Other, NearStamp, None),
                paced(FarResponder, Some(Verdict::Answered)),
                paced(NearResponder, Some(Verdict::Recorded)),
                paced(NearStamp, Some(Verdict::Stamped)),
            ],
        }
    }

    /// Sends one window of frames and books it for the figures that they make.
    fn window(
        &mut self,
        pair: &mut Pair,
        traffic: &mut Traffic,
        frames: Frames,
        pace: Pace,
    ) -> Result<()> {
        let mut fed: Vec<&mut Figure> = [&mut self.baseline, &mut self.baseline_paced]
            .into_iter()
            .chain(&mut self.rest)
            .filter(|figure| figure.frames == frames && figure.pace == pace)
            .collect();
        let before = fed
            .iter()
            .map(|figure| figure.read(pair))
            .collect::<Result<Vec<_>>>()?;
        let span = match pace {
            Pace::Flood => FLOOD_WINDOW,
            Pace::Heartbeat => PACED_WINDOW,
        };
        traffic.send(frames, pace, span)?;
        settle(pair, fed.iter().map(|figure| figure.watched).collect())?;
        for (figure, (runs, verdicts)) in fed.iter_mut().zip(before) {
            let (runs_now, verdicts_now) = figure.read(pair)?;
            figure.windows.push(Runs {
                count: runs_now.count - runs.count,
                nanos: runs_now.nanos - runs.nanos,
            });
            figure.on_topic += verdicts_now - verdicts;
        }
        Ok(())
    }

    fn costs(&self) -> Result<Costs> {
        let flood = self.baseline.median()?;
        let paced = self.baseline_paced.median()?;
        let costs = self.rest.iter().map(|figure| match figure.pace {
            Pace::Flood => figure.cost(flood),
            Pace::Heartbeat => figure.cost(paced),
        });
        let costs: Vec<Cost> = costs.collect::<Result<_>>()?;
        let Ok([a, b, c, d, e, f, g, h, i, j, k]) = <[Cost; 11]>::try_from(costs) else {
            unreachable!("there are as many costs as figures");
        };
        Ok(Costs {
            probe_to_reply: a,
            reply_to_record: b,
            stamp: c,
            junk_bad_magic: d,
            junk_unknown_peer: e,
            junk_bad_mac: f,
            pass_other_traffic: g,
            stamp_other_traffic: h,
            probe_to_reply_paced: i,
            reply_to_record_paced: j,
            stamp_paced: k,
        })
    }
}

/// Waits until the programs have run for all that was sent: they count to one window only.
fn settle(pair: &mut Pair, watched: Vec<Watched>) -> Result<()> {
    let mut read = || {
        watched
            .iter()
            .map(|program| pair.runs(*program))
            .collect::<Result<Vec<Runs>>>()
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

impl Figure {
    fn new(frames: Frames, pace: Pace, watched: Watched, verdict: Option<Verdict>) -> Self {
        Self {
            frames,
            pace,
            watched,
            verdict,
            windows: Vec::new(),
            on_topic: 0,
        }
    }

    fn read(&self, pair: &mut Pair) -> Result<(Runs, u64)> {
        let verdicts = match self.verdict {
            Some(verdict) => pair.verdicts(self.watched, verdict)?,
            None => 0,
        };
        Ok((pair.runs(self.watched)?, verdicts))
    }

    fn name(&self) -> String {
        format!(
            "{:?} under {:?} frames, {:?}",
            self.watched, self.frames, self.pace
        )
    }

    /// The middle one of the windows' means, in nanoseconds.
    fn median(&self) -> Result<f64> {
        let mut means: Vec<f64> = self
            .windows
            .iter()
            .filter(|window| window.count > 0)
            .map(|window| window.nanos as f64 / window.count as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        means
            .get(means.len() / 2)
            .copied()
            .with_context(|| format!("{} never ran", self.name()))
    }

    fn cost(&self, baseline_ns: f64) -> Result<Cost> {
        let raw_ns = self.median()?;
        let packets: u64 = self.windows.iter().map(|window| window.count).sum();
        let nanos: u64 = self.windows.iter().map(|window| window.nanos).sum();
        if let Some(verdict) = self.verdict {
            ensure!(
                self.on_topic as f64 >= packets as f64 * ON_TOPIC,
                "{}: only {} of {packets} packets met the verdict {}",
                self.name(),
                self.on_topic,
                verdict.name()
            );
        }
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
