//! Keeps a repeated message from filling the log: a limit for each message and subject.
//!
//! Lines are alike if they come from the same place in the source, or are events of the same kind,
//! and have the same subject. Of lines that are alike a few are written per window; the others are
//! counted. The count is written once after the window.

use std::{collections::HashMap, time::Duration};

use heartbeat_common::{time::Boottime, units::Short};
use heartbeat_control::severity::Severity;

/// Number of lines alike that are written within one [`WINDOW`].
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);
/// Limit for separate subjects, since subjects may come from outside. Beyond it only messages are
/// separate.
const SUBJECTS: usize = 1024;
/// Limit in bytes for a text that may be a subject.
const LONGEST_SUBJECT: usize = 80;

/// Origin of a line: a place in the source, or the kind of an event and 0.
pub(super) type Origin = (&'static str, u32);

#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<(Origin, String), Repeats>);

/// The lines alike of one window.
#[derive(Debug)]
struct Repeats {
    since: Boottime,
    written: u32,
    suppressed: u64,
    /// The latest suppressed line.
    last: String,
    severity: Severity,
}

/// A line in place of suppressed ones.
pub(super) type Summary = (Severity, String);

impl Throttle {
    /// Returns whether to write a line, and the summary to write before it.
    pub(super) fn admit(
        &mut self,
        origin: Origin,
        subject: &str,
        (severity, text): (Severity, &str),
        now: Boottime,
    ) -> (bool, Option<Summary>) {
        let key = self.key(origin, subject, now);
        let repeats = self.0.entry(key).or_insert_with(|| Repeats::begin(now));
        let mut summary = None;
        if repeats.is_over(now) {
            summary = repeats.summary();
            *repeats = Repeats::begin(now);
        }
        if repeats.written < BURST {
            repeats.written += 1;
            return (true, summary);
        }
        repeats.suppressed += 1;
        (repeats.last, repeats.severity) = (text.to_owned(), severity);
        (false, summary)
    }

    /// Returns the summaries of windows that are over, or of all windows if `all`.
    pub(super) fn overdue(&mut self, now: Boottime, all: bool) -> Vec<Summary> {
        let over = |repeats: &Repeats| all || repeats.is_over(now);
        let said = self.0.values().filter(|repeats| over(repeats));
        let said = said.filter_map(Repeats::summary).collect();
        self.0.retain(|_, repeats| !over(repeats));
        said
    }

    fn key(&mut self, origin: Origin, subject: &str, now: Boottime) -> (Origin, String) {
        let key = (origin, subject.to_owned());
        if self.0.len() < SUBJECTS || self.0.contains_key(&key) {
            return key;
        }
        // Entries with a summary due are left for `overdue`.
        self.0
            .retain(|_, repeats| !repeats.is_over(now) || repeats.suppressed > 0);
        match self.0.len() < SUBJECTS {
            true => key,
            false => (origin, String::new()),
        }
    }
}

impl Repeats {
    fn begin(now: Boottime) -> Self {
        Self {
            since: now,
            written: 0,
            suppressed: 0,
            last: String::new(),
            severity: Severity::Info,
        }
    }

    fn is_over(&self, now: Boottime) -> bool {
        now.since(self.since) >= WINDOW
    }

    fn summary(&self) -> Option<Summary> {
        let Self {
            suppressed, last, ..
        } = self;
        let text = || {
            format!(
                "{suppressed} more suppressed within {}: {last}",
                Short(WINDOW)
            )
        };
        (*suppressed > 0).then(|| (self.severity, text()))
    }
}

/// Returns the subject of a text: the part before its first colon.
pub(super) fn subject(text: &str) -> &str {
    match text.split_once(": ") {
        Some((subject, _)) if subject.len() <= LONGEST_SUBJECT => subject,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Origin = ("here.rs", 1);
    const THERE: Origin = ("here.rs", 2);

    fn at(millis: u64) -> Boottime {
        Boottime::from_nanos(millis * 1_000_000)
    }

    fn admit(throttle: &mut Throttle, origin: Origin, text: &str, millis: u64) -> bool {
        let line = (Severity::Warning, text);
        let (written, summary) = throttle.admit(origin, subject(text), line, at(millis));
        assert_eq!(summary, None);
        written
    }

    #[test]
    fn flood_of_one_message_is_cut_and_its_rest_is_counted() {
        let mut throttle = Throttle::default();
        let flood = |throttle: &mut Throttle, text| {
            (0..52).filter(|_| admit(throttle, HERE, text, 1)).count()
        };
        assert_eq!(flood(&mut throttle, "vip web: no room"), 10);
        assert!(throttle.overdue(at(5_000), false).is_empty());
        let said = throttle.overdue(at(10_001), false);
        let words = "42 more suppressed within 10.0 s: vip web: no room";
        assert_eq!(said, [(Severity::Warning, words.to_owned())]);
        assert!(throttle.overdue(at(30_000), false).is_empty());
        assert_eq!(flood(&mut throttle, "vip web: no room"), 10);
    }

    #[test]
    fn next_line_after_a_flood_follows_a_summary() {
        let mut throttle = Throttle::default();
        for _ in 0..12 {
            admit(&mut throttle, HERE, "a: b", 0);
        }
        let line = (Severity::Info, "a: c");
        let (written, summary) = throttle.admit(HERE, "a", line, at(10_000));
        assert!(written);
        let words = "2 more suppressed within 10.0 s: a: b";
        assert_eq!(summary, Some((Severity::Warning, words.to_owned())));
        assert!(throttle.overdue(at(60_000), true).is_empty());
    }

    #[test]
    fn each_subject_and_message_has_its_own_limit() {
        let mut throttle = Throttle::default();
        for _ in 0..10 {
            assert!(admit(&mut throttle, HERE, "vip web: no room", 0));
        }
        assert!(!admit(&mut throttle, HERE, "vip web: no room", 0));
        assert!(admit(&mut throttle, HERE, "vip db: no room", 0));
        assert!(admit(&mut throttle, THERE, "vip web: no room", 0));
        assert_eq!(throttle.overdue(at(1), true).len(), 1);
    }

    #[test]
    fn number_of_subjects_is_limited() {
        let mut throttle = Throttle::default();
        let written = (0..10 * SUBJECTS).filter(|number| {
            let text = format!("stranger {number}: refused");
            admit(&mut throttle, HERE, &text, 0)
        });
        assert_eq!(written.count(), SUBJECTS + 10);
        assert!(throttle.0.len() <= SUBJECTS + 1);
        assert!(admit(&mut throttle, HERE, "stranger x: refused", 10_000));
    }

    #[test]
    fn subject_is_the_part_before_the_first_colon() {
        assert_eq!(subject("vip web: could not: fail"), "vip web");
        assert_eq!(subject("no colon at 10:20"), "");
        assert_eq!(subject(&format!("{}: x", "y".repeat(81))), "");
    }
}
