//! The ladder as a table for humans.

use std::fmt::{Display, Formatter, Result};

use super::report::{Figures, Ladder, Outcome, Row, Step};

/// The headings in two lines, and the width of each column.
const COLUMNS: [(&str, &str, usize); 10] = [
    ("", "unanswered", 10),
    ("owner", "changes", 7),
    ("longest", "gap, ms", 9),
    ("gaps >", "10 ms", 6),
    ("two", "answers", 7),
    ("false", "downs", 6),
    ("leases", "lost", 6),
    ("timer", "late, ms", 9),
    ("CPU of a", "node, %", 8),
    ("observer", "late, ms", 8),
];
/// The width of the first column.
const NAMES: usize = 20;
/// A figure that there is not.
const NONE: &str = "-";

impl Display for Ladder {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            kernel,
            cores,
            method,
            contenders,
            steps,
        } = self;
        writeln!(f, "Linux {kernel}, {cores} cores\n")?;
        line(f, "", COLUMNS.map(|(first, _, _)| first.to_owned()))?;
        line(f, "", COLUMNS.map(|(_, second, _)| second.to_owned()))?;
        steps.iter().try_for_each(|step| write!(f, "{step}"))?;
        writeln!(f)?;
        for entry in contenders {
            let (key, settings, version) = (entry.key, entry.settings, &entry.version);
            writeln!(f, "  {key}: {settings} ({version})")?;
        }
        method.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            rung,
            seconds,
            rows,
        } = self;
        writeln!(f, "{}, {seconds} s", rung.describe())?;
        rows.iter().try_for_each(|row| write!(f, "{row}"))
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.outcome {
            Outcome::Measured(figures) => line(f, self.key, cells(figures)),
            Outcome::Failed(reason) => writeln!(f, "  {:<NAMES$} failed: {reason}", self.key),
        }
    }
}

/// The figures in the order of the columns.
fn cells(figures: &Figures) -> [String; COLUMNS.len()] {
    let Figures {
        service,
        false_downs,
        lateness_ms,
        agents,
        cpu_percent,
        ..
    } = figures;
    let service = service.as_ref();
    let count = |number: Option<usize>| number.map_or(NONE.to_owned(), |n| n.to_string());
    let millis = |number: Option<f64>| number.map_or(NONE.to_owned(), |n| format!("{n:.2}"));
    let unanswered = service.map(|service| format!("{:.2} %", service.unanswered_percent()));
    let late = service.and_then(|service| service.observer_late_us.max);
    [
        unanswered.unwrap_or_else(|| NONE.to_owned()),
        count(service.map(|service| service.owner_changes)),
        millis(service.map(|service| service.longest_gap_ms)),
        count(service.map(|service| service.gaps_over_10ms)),
        count(service.map(|service| service.double_answers)),
        false_downs.to_string(),
        count(agents.as_ref().map(|agents| agents.leases_lost)),
        millis(*lateness_ms),
        format!("{cpu_percent:.1}"),
        millis(late.map(|micros| micros / 1e3)),
    ]
}

fn line(f: &mut Formatter<'_>, name: &str, cells: [String; COLUMNS.len()]) -> Result {
    write!(f, "  {name:<NAMES$}")?;
    for ((_, _, width), cell) in COLUMNS.iter().zip(cells) {
        write!(f, " {cell:>width$}")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;
    use heartbeat_common::time::Boottime;

    use super::*;
    use crate::bench::{
        cpu::CpuUse,
        ladder::{observer::Seen, rung::Rung, service::Service},
    };

    fn figures(service: Option<Service>) -> Figures {
        Figures {
            service,
            false_downs: 53,
            lateness_ms: None,
            agents: None,
            cpu_percent: 5.84,
            machine: CpuUse {
                busy_percent: 100.0,
                stolen_percent: 0.0,
            },
            stress_rounds: 1,
        }
    }

    /// The last line of a rung with one contender, by words.
    fn words(row: Row) -> Vec<String> {
        let mut step = Step::new(Rung::Idle, Duration::from_secs(8));
        step.rows.push(row);
        let text = step.to_string();
        let last = text.lines().last().unwrap().split_whitespace();
        last.map(str::to_owned).collect()
    }

    #[test]
    fn contender_without_a_service_has_dashes() {
        let found = words(Row::measured("bfdd-10ms", figures(None)));
        let expected = [
            "bfdd-10ms",
            "-",
            "-",
            "-",
            "-",
            "-",
            "53",
            "-",
            "-",
            "5.8",
            "-",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn contender_that_never_answers_has_a_gap_of_the_whole_rung() {
        let mut seen = Seen::default();
        seen.questions
            .push(crate::bench::ladder::observer::Question {
                sent: Boottime::from_nanos(0),
                late: Duration::from_micros(120),
            });
        let until = Boottime::from_nanos(8_000_000_000);
        let service = Service::new(&seen, Boottime::from_nanos(0), until);
        let found = words(Row::measured("keepalived-10ms", figures(Some(service))));
        assert_eq!(found[1..6], ["100.00", "%", "0", "8000.00", "1"]);
        assert_eq!(found.last().map(String::as_str), Some("0.12"));
    }

    #[test]
    fn contender_that_failed_has_the_reason() {
        let row = Row::failed("etcd-2s", &anyhow!("refused").context("it did not start"));
        let text = words(row).join(" ");
        assert_eq!(text, "etcd-2s failed: it did not start: refused");
    }

    #[test]
    fn headings_fit_into_their_columns() {
        for (first, second, width) in COLUMNS {
            assert!(first.len().max(second.len()) <= width, "{second}");
        }
    }
}
