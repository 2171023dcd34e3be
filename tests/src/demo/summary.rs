//! What all runs together showed, for humans and as JSON.

use std::time::Duration;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::{
    Arguments,
    outcome::{Outcome, Takeover},
    output::Output,
};

/// The JSON object. Fields are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    runs: usize,
    fault: String,
    interval_ms: f64,
    deadline_ms: f64,
    takeovers: usize,
    /// From the deadline to the decision, in the node that took over.
    detect_after_deadline_us: Quantiles,
    /// From the client's last answer by the old owner to its first by the new one.
    client_gap_ms: Quantiles,
    /// Live, connected nodes that were called dead, over all runs.
    false_downs: usize,
    /// Answers that an old owner gave after the new one had begun, over all runs.
    stale_answers: usize,
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
        let fault = arguments.fault.to_possible_value();
        Self {
            runs: outcomes.len(),
            fault: fault
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default(),
            interval_ms: millis(arguments.interval),
            deadline_ms: millis(arguments.deadline),
            takeovers: takeovers().count(),
            detect_after_deadline_us: Quantiles::of(
                takeovers()
                    .filter_map(Takeover::detection)
                    .map(|d| millis(d) * 1e3),
            ),
            client_gap_ms: Quantiles::of(takeovers().map(|takeover| millis(takeover.gap()))),
            false_downs: outcomes
                .iter()
                .map(|outcome| outcome.false_downs.len())
                .sum(),
            stale_answers: takeovers().map(|takeover| takeover.stale).sum(),
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
            takeovers,
            false_downs,
            ..
        } = self;
        out.line(&out.bold(&format!(
            "{runs} x {fault}, heartbeat {interval_ms} ms, deadline {deadline_ms} ms"
        )));
        let counts = format!("  {takeovers} takeovers, {false_downs} false alarms");
        let fine = takeovers == runs && *false_downs == 0;
        out.line(&if fine {
            out.good(&counts)
        } else {
            out.bad(&counts)
        });
        let line = |name: &str, quantiles: &Quantiles, unit: &str| {
            out.line(&format!("  {name:<44} {quantiles} {unit}"));
        };
        line(
            "deadline passed until the agent had decided",
            &self.detect_after_deadline_us,
            "us",
        );
        line("client without an answer", &self.client_gap_ms, "ms");
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
