//! The summary of all runs, as text and as JSON.

use std::time::Duration;

use clap::ValueEnum as _;
use heartbeat_common::time::Boottime;
use serde::Serialize;

use crate::{
    Arguments,
    outcome::{Outcome, Phases, Takeover},
    output::Output,
    run,
};

/// The JSON object. Fields are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    runs: usize,
    fault: String,
    interval_ms: f64,
    deadline_ms: f64,
    lease_ms: f64,
    takeovers: usize,
    /// From the deadline to the decision, in the node that took over.
    detect_after_deadline_us: Quantiles,
    /// From the fault to the end of the old owner's lease.
    lease_free_us: Quantiles,
    /// From the fault until a majority had granted the lease anew, and so on.
    majority_us: Quantiles,
    guard_open_us: Quantiles,
    address_us: Quantiles,
    announce_us: Quantiles,
    /// From the client's last answer by the old owner to its first by the new one.
    client_gap_ms: Quantiles,
    /// Live, connected nodes that were called dead, over all runs.
    false_downs: usize,
    /// Answers that an old owner gave after the new one had begun, over all runs.
    stale_answers: usize,
    /// Acquisitions of the lease before the fault, or by a second node after it, over all runs.
    false_takeovers: usize,
    /// Answers that nodes gave while another one held the lease, over all runs: 0, or the demo
    /// fails.
    overlap_packets: usize,
    /// Why runs failed.
    failures: Vec<String>,
}

impl Summary {
    pub(crate) fn new(arguments: &Arguments, outcomes: &[Outcome]) -> Self {
        let takeovers = || {
            outcomes
                .iter()
                .filter_map(|outcome| outcome.result.as_ref().ok())
        };
        let phase = |of: fn(&Phases) -> Boottime| {
            let since_fault =
                |takeover: &Takeover| millis(of(&takeover.phases).since(takeover.fault_at)) * 1e3;
            Quantiles::of(takeovers().map(since_fault))
        };
        let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum();
        let fault = arguments.fault.to_possible_value();
        Self {
            runs: outcomes.len(),
            fault: fault
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default(),
            interval_ms: millis(arguments.interval),
            deadline_ms: millis(arguments.deadline),
            lease_ms: millis(arguments.lease),
            takeovers: takeovers().count(),
            detect_after_deadline_us: Quantiles::of(
                takeovers()
                    .filter_map(Takeover::detection)
                    .map(|d| millis(d) * 1e3),
            ),
            lease_free_us: phase(|phases| phases.free),
            majority_us: phase(|phases| phases.majority),
            guard_open_us: phase(|phases| phases.guard_open),
            address_us: phase(|phases| phases.address),
            announce_us: phase(|phases| phases.announced),
            client_gap_ms: Quantiles::of(takeovers().map(|takeover| millis(takeover.gap()))),
            false_downs: sum(|outcome| outcome.false_downs.len()),
            stale_answers: takeovers().map(|takeover| takeover.stale).sum(),
            false_takeovers: sum(|outcome| outcome.false_takeovers.len()),
            overlap_packets: sum(|outcome| outcome.overlaps.len()),
            failures: outcomes
                .iter()
                .filter_map(|o| Some(format!("run {}: {}", o.number, o.result.as_ref().err()?)))
                .collect(),
        }
    }

    pub(crate) fn print(&self, out: &Output) {
        let Self {
            runs,
            fault,
            interval_ms,
            deadline_ms,
            lease_ms,
            takeovers,
            false_downs,
            false_takeovers,
            overlap_packets,
            ..
        } = self;
        out.line(&out.bold(&format!(
            "{runs} x {fault}, heartbeat {interval_ms} ms, deadline {deadline_ms} ms, lease \
             {lease_ms} ms"
        )));
        let counts = format!(
            "  {takeovers} takeovers, {false_downs} false alarms, {false_takeovers} false \
             takeovers, {overlap_packets} answers beside the owner's"
        );
        let fine =
            takeovers == runs && [*false_downs, *false_takeovers, *overlap_packets] == [0; 3];
        out.line(&if fine {
            out.good(&counts)
        } else {
            out.bad(&counts)
        });
        let line = |name: &str, quantiles: &Quantiles, unit: &str| {
            out.line(&format!("  {name:<46} {quantiles} {unit}"));
        };
        line(
            "deadline passed until the agent had decided",
            &self.detect_after_deadline_us,
            "us",
        );
        for (name, quantiles) in [
            ("fault until the lease was free", &self.lease_free_us),
            ("fault until a majority granted it anew", &self.majority_us),
            ("fault until the guard was open", &self.guard_open_us),
            ("fault until the address was up", &self.address_us),
            ("fault until it was announced", &self.announce_us),
        ] {
            line(name, quantiles, "us");
        }
        let period = run::PERIOD.as_micros();
        let gap = format!("client without an answer, asking every {period} us");
        line(&gap, &self.client_gap_ms, "ms");
    }
}

/// Nearest-rank quantiles: each is a value that was measured, the smallest one such that at least
/// that share of all values is no larger. Absent without values.
#[derive(Debug, PartialEq, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

impl Quantiles {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: sorted.last().copied(),
        }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(text);
        write!(f, "p50 {p50:>9}  p99 {p99:>9}  max {max:>9}")
    }
}

/// With microseconds after the point: more is noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let hundred = Quantiles::of((1..=100).map(f64::from));
        assert_eq!(
            hundred,
            Quantiles {
                p50: Some(50.0),
                p99: Some(99.0),
                max: Some(100.0)
            }
        );
        let three = Quantiles::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(
            three,
            Quantiles {
                p50: Some(2.0),
                p99: Some(3.0),
                max: Some(3.0)
            }
        );
        let none = Quantiles::of(std::iter::empty());
        assert_eq!(
            none,
            Quantiles {
                p50: None,
                p99: None,
                max: None
            }
        );
    }
}
