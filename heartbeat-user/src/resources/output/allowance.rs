//! How many lines of one resource are forwarded: a program that writes without end must not fill the
//! log. What is over is counted, and told.

use std::time::{Duration, Instant};

/// Lines that may come at once, and those that are added each second.
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 200.0;
/// Between two tellings of what was dropped.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
    lines: u64,
    bytes: u64,
    told: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
            lines: 0,
            bytes: 0,
            told: None,
        }
    }

    /// Whether one more line may be forwarded. One that may not is counted.
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

    /// A line that there was an allowance for could not be forwarded.
    pub(super) fn lost(&mut self) {
        self.lines += 1;
    }

    /// So many bytes were not even read.
    pub(super) fn skipped(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn owes_word(&self) -> bool {
        self.lines > 0 || self.bytes > 0
    }

    /// What is to be told of what was dropped, if it is time; `at_once` if no time is left.
    pub(super) fn word(&mut self, now: Instant, at_once: bool) -> Option<String> {
        let lately = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if !self.owes_word() || !at_once && self.told.is_some_and(lately) {
            return None;
        }
        self.told = Some(now);
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
    fn chatty_program_is_cut_to_burst_and_rate_and_the_rest_is_told_once_in_a_while() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, now, lines: usize| {
            (0..lines).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(&mut allowance, start, 1500), 1000);
        let later = start + Duration::from_secs(2);
        assert_eq!(taken(&mut allowance, later, 1500), 400);
        allowance.skipped(77);
        let word = allowance.word(later, false).unwrap();
        assert!(
            word.starts_with("1600 lines and 77 bytes unread of its output"),
            "{word}"
        );
        assert_eq!(allowance.word(later, true), None);
        assert_eq!(taken(&mut allowance, later, 5), 0);
        assert_eq!(allowance.word(later + PAUSE / 2, false), None);
        assert!(
            allowance
                .word(later + PAUSE, false)
                .unwrap()
                .starts_with("5 lines of")
        );
        assert_eq!(taken(&mut allowance, later + PAUSE, 9999), 1000);
    }
}
