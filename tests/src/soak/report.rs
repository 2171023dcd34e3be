//! The report of a run, for people and for programs.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Plan, growth::Grown, invariants::Watch};

/// One kind of fault.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Kind {
    times: usize,
    /// The longest gap of the client.
    max_gap_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct SoakReport {
    seed: u64,
    seconds: f64,
    faults: BTreeMap<&'static str, Kind>,
    /// The number of answers of the client, each of which was judged.
    answers: usize,
    /// The longest time without an answer while nothing happened.
    max_quiet_gap_ms: f64,
    growth: Option<Grown>,
    /// The violated invariants; none if all is well.
    failures: Vec<String>,
    #[serde(skip)]
    began: Instant,
}

impl SoakReport {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            seconds: 0.0,
            faults: BTreeMap::new(),
            answers: 0,
            max_quiet_gap_ms: 0.0,
            growth: None,
            failures: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Whether all invariants held.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Faults so far.
    pub fn steps(&self) -> usize {
        self.faults.values().map(|kind| kind.times).sum()
    }

    pub(super) fn step(&mut self, kind: &'static str, gap: Duration) {
        self.seconds = self.began.elapsed().as_secs_f64();
        let kind = self.faults.entry(kind).or_default();
        kind.times += 1;
        kind.max_gap_ms = kind.max_gap_ms.max(millis(gap));
    }

    pub(super) fn quiet(&mut self, gap: Duration) {
        self.max_quiet_gap_ms = self.max_quiet_gap_ms.max(millis(gap));
        if Watch::is_too_long(gap) {
            self.fail(format!(
                "the client had no answer for {gap:?} while nothing happened"
            ));
        }
    }

    pub(super) fn answers(&mut self, answers: usize) {
        self.answers = answers;
    }

    pub(super) fn growth(&mut self, grown: Grown) {
        self.failures.extend_from_slice(&grown.failures);
        self.growth = Some(grown);
    }

    pub(super) fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            seconds,
            faults,
            answers,
            max_quiet_gap_ms,
            ..
        } = self;
        writeln!(
            f,
            "seed {seed}: {} faults in {seconds:.0} s, {answers} answers judged",
            self.steps()
        )?;
        writeln!(f, "  longest time without an answer, in ms:")?;
        for (name, Kind { times, max_gap_ms }) in faults {
            writeln!(f, "    {name:<10} {times:>4} times {max_gap_ms:>9.1}")?;
        }
        writeln!(f, "    {:<10} {:>10} {max_quiet_gap_ms:>9.1}", "quiet", "")?;
        if let Some(growth) = &self.growth {
            for (what, after) in &growth.after {
                let before = growth.before.get(what).copied().unwrap_or_default();
                writeln!(f, "  {what}: {before} at first, {after} at last")?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "  FAILED: {failure}")?;
        }
        f.write_str(if self.is_good() {
            "all held"
        } else {
            "not all held"
        })
    }
}
