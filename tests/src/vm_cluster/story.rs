//! A story: one fault and its end, with what must hold. Its result, and the report.

use std::{
    fmt,
    io::{Write as _, stderr, stdout},
    time::{Duration, Instant},
};

use anyhow::{Error, Result};

use super::{rig::Rig, setup::Setup};
use crate::interrupt;

/// A named test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    pub(super) name: &'static str,
    /// Whether the short form has it.
    pub(super) short: bool,
    /// The arrangement at its begin.
    pub(super) setup: Setup,
    pub(super) run: fn(&mut Rig) -> Result<()>,
}

/// Stories that fail today, and the reason. A story of this table asserts the wanted behaviour. If
/// it passes, the run fails until its line is removed.
const EXPECTED: [(&str, &str); 4] = [
    (
        "real_time_kernel_runs_the_agent",
        "a kernel with PREEMPT_RT refuses programs with a bpf_timer",
    ),
    (
        "native_xdp_on_a_bond",
        "the program sees the number of the card, and knows that of the bond: \
         docs/operate/interfaces.md#bonds-and-bridges",
    ),
    (
        "paused_owner_without_heartbeats_is_silent",
        "the clock of a paused machine stands still, so its lease lasts on: \
         docs/design/leases.md#clocks",
    ),
    (
        "paused_owner_without_agent_is_silent",
        "the clock of a paused machine stands still, so its lease lasts on: \
         docs/design/leases.md#clocks",
    ),
];

/// The reason for which the story `name` is expected to fail.
fn expected(name: &str) -> Option<&'static str> {
    let line = EXPECTED.iter().find(|(story, _)| *story == name);
    line.map(|(_, reason)| *reason)
}

/// A claim of a story that does not hold. Any other error is one of the rig.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

/// Fails as a broken claim unless `holds`.
pub(super) fn claim(holds: bool, text: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Broken(text()).into())
}

/// The result of one story.
#[derive(Debug)]
pub(super) enum Outcome {
    Passed,
    Failed(Error),
    /// It failed as the table says.
    Expected(Error, &'static str),
    /// It passed, though the table says that it fails.
    Unexpected,
}

/// The results of all stories.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<(&'static str, Duration, &'static str)>,
    passed: u32,
    failed: u32,
    expected: u32,
}

impl Outcome {
    fn of(story: &Story, result: Result<()>) -> Self {
        match (result, expected(story.name)) {
            (Ok(()), None) => Self::Passed,
            (Ok(()), Some(_)) => Self::Unexpected,
            (Err(error), Some(reason)) if error.is::<Broken>() => Self::Expected(error, reason),
            (Err(error), _) => Self::Failed(error),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Passed | Self::Expected(..))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("ok"),
            Self::Failed(error) => write!(f, "FAILED: {error:#}"),
            Self::Expected(error, reason) => write!(f, "expected failure: {error:#} ({reason})"),
            Self::Unexpected => f.write_str(
                "FAILED: it passes, though it is in the table of expected failures; remove it \
                 there",
            ),
        }
    }
}

impl Report {
    /// Runs one story on a settled cluster. Fails only after an interrupt of the user.
    pub(super) fn run(&mut self, story: &Story, rig: &mut Rig) -> Result<bool> {
        let begun = Instant::now();
        let since = super::rig::now();
        rig.notes.clear();
        let result = rig.settle(story.setup);
        let settled = begun.elapsed();
        let result = result.and_then(|()| (story.run)(rig));
        interrupt::check()?;
        let outcome = Outcome::of(story, result);
        if matches!(outcome, Outcome::Failed(_)) {
            // A reader that went away (`| head`) is no error.
            let _ = writeln!(stderr(), "{}", rig.trouble(since));
        }
        let notes = rig.notes.join("; ");
        self.tell(story.name, &outcome, begun.elapsed(), settled, &notes);
        Ok(outcome.is_good())
    }

    fn tell(
        &mut self,
        name: &'static str,
        outcome: &Outcome,
        took: Duration,
        settled: Duration,
        notes: &str,
    ) {
        let word = match outcome {
            Outcome::Passed => {
                self.passed += 1;
                "ok"
            }
            Outcome::Expected(..) => {
                self.expected += 1;
                "expected failure"
            }
            Outcome::Failed(_) | Outcome::Unexpected => {
                self.failed += 1;
                "FAILED"
            }
        };
        self.lines.push((name, took, word));
        let (took, settled) = (took.as_secs_f64(), settled.as_secs_f64());
        let notes = if notes.is_empty() {
            String::new()
        } else {
            format!("\n    {notes}")
        };
        let _ = writeln!(
            stdout(),
            "story {name} ... {outcome} ({took:.1} s, {settled:.1} of them to settle){notes}"
        );
    }

    /// Counts a failure of the cluster as a whole.
    pub(super) fn lost(&mut self, name: &'static str, error: &Error) {
        self.failed += 1;
        let _ = writeln!(stdout(), "story {name} ... FAILED: no cluster: {error:#}");
    }

    /// Prints the times, and the line that `cargo xtask test` counts. Returns whether all is good.
    pub(super) fn finish(&self) -> bool {
        let mut out = stdout().lock();
        for (name, took, word) in &self.lines {
            let _ = writeln!(out, "{:6.1} s  {name}: {word}", took.as_secs_f64());
        }
        let Self {
            passed,
            failed,
            expected,
            ..
        } = self;
        let verdict = if *failed == 0 { "ok" } else { "FAILED" };
        // The form of libtest's own last line.
        let _ = writeln!(
            out,
            "test result: {verdict}. {passed} passed; {failed} failed; \
             {expected} expected to fail"
        );
        *failed == 0
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn story(name: &'static str) -> Story {
        Story {
            name,
            short: false,
            setup: Setup::MEMBERS,
            run: |_| Ok(()),
        }
    }

    #[test]
    fn only_a_broken_claim_of_a_known_story_is_expected() {
        let (known, unknown) = (story(EXPECTED[0].0), story("new"));
        let broken = || claim(false, || "no".to_owned());
        assert!(matches!(
            Outcome::of(&known, broken()),
            Outcome::Expected(..)
        ));
        assert!(matches!(
            Outcome::of(&unknown, broken()),
            Outcome::Failed(_)
        ));
        assert!(matches!(
            Outcome::of(&known, Err(anyhow!("rig"))),
            Outcome::Failed(_)
        ));
        assert!(matches!(Outcome::of(&known, Ok(())), Outcome::Unexpected));
        assert!(matches!(Outcome::of(&unknown, Ok(())), Outcome::Passed));
        assert!(!Outcome::Unexpected.is_good());
    }

    #[test]
    fn expected_failures_are_stories() {
        for (name, _) in EXPECTED {
            let all = crate::vm_cluster::stories::ALL;
            assert!(all.iter().any(|story| story.name == name), "{name}");
        }
    }
}
