//! The limit for forwarded lines of one resource: a program that writes without end must not fill
//! the log. Dropped lines are counted and reported.

use std::time::{Duration, Instant};

/// Lines that are allowed at once, and lines added each second.
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 200.0;
/// Least time between two reports of dropped lines.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
    lines: u64,
    bytes: u64,
    reported: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
            lines: 0,
            bytes: 0,
            reported: None,
        }
    }

    /// Whether one more line may be forwarded. A line over the limit is counted.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * PER_SECOND).min(BURST);
        if self.left < 1.0 {
            self.lines += 1;
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Counts an allowed line that could not be forwarded.
    pub(super) fn lost(&mut self) {
        self.lines += 1;
    }

    /// Counts bytes that were not read.
    pub(super) fn skipped(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn has_report(&self) -> bool {
        self.lines > 0 || self.bytes > 0
    }

    /// Returns the report of dropped lines if one is due; with `at_once` also if not.
    pub(super) fn report(&mut self, now: Instant, at_once: bool) -> Option<String> {
        let lately = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if !self.has_report() || !at_once && self.reported.is_some_and(lately) {
            return None;
        }
        self.reported = Some(now);
        let lines = std::mem::take(&mut self.lines);
        let unread = match std::mem::take(&mut self.bytes) {
            0 => String::new(),
            bytes => format!(" and {bytes} bytes unread"),
        };
        Some(format!(
            "{lines} lines{unread} of its output were dropped: it writes more than {PER_SECOND} \
             lines a second"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chatty_program_is_limited_and_dropped_lines_are_reported() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, now, lines: usize| {
            (0..lines).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(&mut allowance, start, 1500), 1000);
        let later = start + Duration::from_secs(2);
        assert_eq!(taken(&mut allowance, later, 1500), 400);
        allowance.skipped(77);
        let report = allowance.report(later, false).unwrap();
        assert!(
            report.starts_with("1600 lines and 77 bytes unread of its output"),
            "{report}"
        );
        assert_eq!(allowance.report(later, true), None);
        assert_eq!(taken(&mut allowance, later, 5), 0);
        assert_eq!(allowance.report(later + PAUSE / 2, false), None);
        assert!(
            allowance
                .report(later + PAUSE, false)
                .unwrap()
                .starts_with("5 lines of")
        );
        assert_eq!(taken(&mut allowance, later + PAUSE, 9999), 1000);
    }
}
