//! The result of an action, in a form that status and log can show.

use std::{fmt, io, os::unix::process::ExitStatusExt as _, path::Path, time::Duration};

use heartbeat_core::resource::{ExitCode, Outcome};

use crate::process::{Ended, Lingers};

/// Prefix of a reason by `ocf_exit_reason` of resource-agents.
const REASON: &str = "ocf-exit-reason:";
/// Limits for the lines of a message and the characters of a line.
const MOST_LINES: usize = 3;
const MOST_CHARS: usize = 300;

/// The result of an action.
#[derive(Clone, Debug)]
pub struct Done {
    pub outcome: Outcome,
    /// The agent's last lines, or our own message: at most a few lines, possibly none.
    pub message: String,
    pub took: Duration,
    /// The remaining processes, with [`Outcome::Lingers`].
    pub lingers: Option<Lingers>,
}

impl Done {
    /// Returns the result of an action that took no noticeable time.
    pub(super) fn at_once(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
            took: Duration::ZERO,
            lingers: None,
        }
    }

    pub(super) fn exited(code: ExitCode, message: impl Into<String>) -> Self {
        Self::at_once(Outcome::Exited(code), message)
    }

    /// Returns the result of a program's run.
    pub(crate) fn of(ended: &Ended) -> Self {
        Self {
            outcome: outcome(ended),
            message: message(ended),
            took: ended.took,
            lingers: ended.lingers.clone(),
        }
    }

    /// Returns the result of an action that only reads. Its lingering processes change nothing, so
    /// it counts as timed out.
    pub(super) fn of_query(self) -> Self {
        match self.outcome {
            Outcome::Lingers => Self {
                outcome: Outcome::TimedOut,
                lingers: None,
                ..self
            },
            _ => self,
        }
    }

    /// Returns the result of a program that could not be run.
    pub(crate) fn not_run(path: &Path, error: &io::Error) -> Self {
        let tried = format!("could not run {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound if path.exists() => Self::exited(
                ExitCode::NOT_INSTALLED,
                format!("{tried}: it is there, but not the interpreter that its first line names"),
            ),
            io::ErrorKind::NotFound => Self::exited(ExitCode::NOT_INSTALLED, tried),
            io::ErrorKind::PermissionDenied => Self::exited(
                ExitCode::NO_PERMISSION,
                format!("{tried}: is it executable?"),
            ),
            _ => Self::at_once(Outcome::NotStarted, tried),
        }
    }
}

fn outcome(ended: &Ended) -> Outcome {
    let Some(status) = ended.status else {
        return match ended.lingers {
            Some(_) => Outcome::Lingers,
            None => Outcome::TimedOut,
        };
    };
    match (status.code().map(u8::try_from), status.signal()) {
        (Some(Ok(code)), _) => Outcome::Exited(ExitCode(code)),
        (_, Some(signal)) => Outcome::Killed(signal),
        _ => Outcome::Exited(ExitCode::GENERIC_ERROR),
    }
}

/// A duration as messages show it: `20 s`, `0.3 s`.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// Returns the last lines of a program, after the note that it was killed if so.
fn message(ended: &Ended) -> String {
    let said = last_words(ended);
    match (ended.status, said.is_empty()) {
        (Some(_), _) => said,
        (None, true) => format!("not done after {:.1} s: killed", ended.took.as_secs_f64()),
        (None, false) => format!(
            "not done after {:.1} s: killed; it wrote last:\n{said}",
            ended.took.as_secs_f64()
        ),
    }
}

/// Returns the reasons that the agent gave, else the last lines of its errors, else of its output.
fn last_words(ended: &Ended) -> String {
    // The shell library of resource-agents writes a general reason last, after the agent's specific
    // one.
    let reasons = ended.stderr.lines();
    let reasons = reasons.filter_map(|line| line.trim_start().strip_prefix(REASON));
    let mut reasons: Vec<_> = reasons.map(shortened).collect();
    reasons.dedup();
    // For a program that cannot be killed the last line has the reason.
    if !reasons.is_empty() && ended.lingers.is_none() {
        let first = reasons.len().saturating_sub(MOST_LINES);
        return reasons[first..].join("\n");
    }
    let stream = [&ended.stderr, &ended.stdout]
        .into_iter()
        .find(|stream| !stream.trim().is_empty());
    let Some(stream) = stream else {
        return String::new();
    };
    let lines: Vec<_> = stream
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(MOST_LINES);
    let lines: Vec<_> = lines[first..].iter().map(|line| shortened(line)).collect();
    lines.join("\n")
}

/// Shortens a line for a terminal: no control characters, and a mark where it is cut.
fn shortened(line: &str) -> String {
    line.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn ended(raw: i32, stdout: &str, stderr: &str) -> Ended {
        Ended {
            status: Some(ExitStatus::from_raw(raw)),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            took: Duration::ZERO,
            lingers: None,
        }
    }

    #[test]
    fn reason_takes_precedence_over_other_output() {
        let log = "INFO: looking\nocf-exit-reason:no such file\nERROR: no such file\n";
        assert_eq!(Done::of(&ended(5 << 8, "out", log)).message, "no such file");
    }

    #[test]
    fn general_reason_does_not_hide_the_specific_one() {
        // Output of ocf_rarun when an agent does not find a file that it needs.
        let log = "ocf-exit-reason:/etc/x not found\nERROR: /etc/x not found\n\
                   ocf-exit-reason:environment is invalid, resource considered stopped\n";
        assert_eq!(
            Done::of(&ended(5 << 8, "", log)).message,
            "/etc/x not found\nenvironment is invalid, resource considered stopped"
        );
        let again = "ocf-exit-reason:busy\n".repeat(9);
        assert_eq!(Done::of(&ended(1 << 8, "", &again)).message, "busy");
    }

    #[test]
    fn message_without_a_reason_is_the_end_of_the_output() {
        let done = Done::of(&ended(1 << 8, "out\n", "a\n\nb\nc\nd\u{1b}[0m\n"));
        assert_eq!(done.message, "b\nc\nd[0m");
        assert_eq!(Done::of(&ended(0, "out\n", " \n")).message, "out");
        assert_eq!(Done::of(&ended(0, "", "")).message, "");
        let long = Done::of(&ended(0, &"ä".repeat(5000), ""));
        assert_eq!(long.message.chars().count(), MOST_CHARS);
    }

    #[test]
    fn exit_code_is_kept_and_a_signal_is_distinct() {
        for code in [0, 1, 7, 190, 255] {
            let done = Done::of(&ended(code << 8, "", ""));
            assert_eq!(done.outcome, Outcome::Exited(ExitCode(code as u8)));
        }
        assert_eq!(Done::of(&ended(11, "", "")).outcome, Outcome::Killed(11));
        let killed = Ended {
            status: None,
            ..ended(0, "", "")
        };
        assert_eq!(Done::of(&killed).outcome, Outcome::TimedOut);
    }

    #[tokio::test]
    async fn lingering_is_distinct_except_for_a_query() {
        let ended = Ended {
            status: None,
            lingers: Some(Lingers::until(std::future::pending())),
            ..ended(0, "", "")
        };
        let done = Done::of(&ended);
        assert_eq!(done.outcome, Outcome::Lingers);
        assert_eq!(done.of_query().outcome, Outcome::TimedOut);
    }
}
