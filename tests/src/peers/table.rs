//! The comparison as a table for people.

use std::fmt::{Display, Formatter, Result};

use super::report::{Entry, Outcome, Quantiles, Report};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            date,
            commit,
            machine,
            rounds,
            contenders,
        } = self;
        writeln!(f, "{date}, commit {commit}, {machine}; rounds: {rounds}")?;
        writeln!(f, "milliseconds: median / p90 / max\n")?;
        let faults = contenders.first().map_or(0, |entry| entry.outcomes.len());
        for index in 0..faults {
            self.fault(f, index)?;
        }
        for entry in contenders {
            if let Some(reason) = &entry.missing {
                writeln!(f, "{} was not measured: {reason}", entry.key)?;
            }
            for failure in &entry.failures {
                writeln!(f, "{}: {failure}", entry.key)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn fault(&self, f: &mut Formatter<'_>, index: usize) -> Result {
        let outcomes = || {
            self.contenders
                .iter()
                .filter_map(|entry| entry.outcomes.get(index))
        };
        let title = outcomes().next().map_or("", Outcome::title);
        writeln!(
            f,
            "{title}\n  {:<20} {:>26} {:>26} {:>26} {:>26}",
            "", "client's outage", "another node answers", "called dead", "two owners"
        )?;
        for (entry, outcome) in self.contenders.iter().zip(outcomes()) {
            row(f, entry, outcome)?;
        }
        writeln!(f)
    }
}

fn row(f: &mut Formatter<'_>, entry: &Entry, outcome: &Outcome) -> Result {
    if outcome.runs == 0 {
        return writeln!(f, "  {:<20} {:>26}", entry.key, "not measured");
    }
    writeln!(
        f,
        "  {:<20} {:>26} {:>26} {:>26} {:>26}",
        entry.key,
        cell(outcome.outage_ms),
        cell(outcome.moved_ms),
        cell(outcome.detected_ms),
        cell(outcome.two_owners_ms)
    )
}

fn cell(quantiles: Option<Quantiles>) -> String {
    let Some(Quantiles {
        median, p90, max, ..
    }) = quantiles
    else {
        return "-".to_owned();
    };
    [median, p90, max].map(short).join(" / ")
}

/// Milliseconds with one digit after the point where that says something.
pub(super) fn short(millis: f64) -> String {
    if millis >= 100.0 || millis == 0.0 {
        format!("{millis:.0}")
    } else {
        format!("{millis:.1}")
    }
}
