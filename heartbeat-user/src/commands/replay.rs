//! `heartbeat replay`: runs the decisions of a record again.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use heartbeat_core::{
    Command,
    record::{DecodeError, Decoder, End, Outcome, Replay, text::Line},
};
use serde::Serialize;

use super::output;

/// Number of bytes printed at once.
const BATCH: usize = 1 << 16;

/// Replays the record at `path`. Exit code 1 if a decision differs from the recorded one.
pub fn run(path: &Path, json: bool) -> Result<ExitCode> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("could not read {name}"))?;
    let decoder = Decoder::new(&bytes).with_context(|| format!("could not replay {name}"))?;
    let mut run = Run::new(json);
    let ending = run
        .all(decoder)
        .with_context(|| format!("could not replay {name}"))?;
    run.summary(&ending)?;
    output::print(&run.text)?;
    Ok(match ending {
        Ending::Differs { .. } => ExitCode::FAILURE,
        Ending::Whole(_) | Ending::Cut(_) => ExitCode::SUCCESS,
    })
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// The replay reached the end of the record; `None` if the agent wrote no end.
    Whole(Option<End>),
    /// The record is cut: the rest is missing or damaged.
    Cut(DecodeError),
    Differs {
        at: Boottime,
        recorded: Option<Command>,
        replayed: Option<Command>,
    },
}

struct Run {
    json: bool,
    replay: Replay,
    /// Time of the first step.
    since: Option<Boottime>,
    steps: u64,
    decisions: u64,
    text: String,
    /// Whether the output still has a reader.
    is_read: bool,
}

/// One decision as JSON.
#[derive(Serialize)]
struct Decision<'a> {
    /// Nanoseconds of CLOCK_BOOTTIME of the recorded node.
    at_ns: u64,
    decision: &'a Command,
    text: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    steps: u64,
    decisions: u64,
    same: bool,
    /// Whether the record has an end.
    complete: bool,
    text: &'a str,
}

impl Run {
    fn new(json: bool) -> Self {
        Self {
            json,
            replay: Replay::default(),
            since: None,
            steps: 0,
            decisions: 0,
            text: String::new(),
            is_read: true,
        }
    }

    fn all(&mut self, decoder: Decoder<'_>) -> Result<Ending> {
        for entry in decoder {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Ok(Ending::Cut(error)),
            };
            match self.replay.apply(entry)? {
                Outcome::Nothing => {}
                Outcome::End(end) => return Ok(Ending::Whole(Some(end))),
                Outcome::Step {
                    at,
                    decided,
                    recorded,
                } => {
                    if let Some(ending) = self.step(at, &decided, &recorded)? {
                        return Ok(ending);
                    }
                }
            }
        }
        Ok(Ending::Whole(None))
    }

    /// Prints the decisions of a step, up to the first difference.
    fn step(
        &mut self,
        at: Boottime,
        decided: &[Command],
        recorded: &[Command],
    ) -> Result<Option<Ending>> {
        self.steps += 1;
        self.since.get_or_insert(at);
        for index in 0..decided.len().max(recorded.len()) {
            let replayed = decided.get(index).copied();
            let recorded = recorded.get(index).copied();
            match replayed {
                Some(command) if Some(command) == recorded => self.decision(at, &command)?,
                _ => {
                    return Ok(Some(Ending::Differs {
                        at,
                        recorded,
                        replayed,
                    }));
                }
            }
        }
        Ok(None)
    }

    fn line<'a>(&self, at: Boottime, command: &'a Command) -> Line<'a> {
        let since = self.since.unwrap_or(at);
        Line { since, at, command }
    }

    fn decision(&mut self, at: Boottime, decision: &Command) -> Result<()> {
        self.decisions += 1;
        let line = self.line(at, decision);
        if self.json {
            let decision = Decision {
                at_ns: at.as_nanos(),
                decision,
                text: line.what().to_string(),
            };
            writeln!(self.text, "{}", serde_json::to_string(&decision)?)?;
        } else {
            writeln!(self.text, "{line}")?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if self.text.len() >= BATCH {
            self.is_read = self.is_read && output::print(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    fn summary(&mut self, ending: &Ending) -> Result<()> {
        let text = self.verdict(ending);
        if self.json {
            let summary = Summary {
                steps: self.steps,
                decisions: self.decisions,
                same: !matches!(ending, Ending::Differs { .. }),
                complete: matches!(ending, Ending::Whole(Some(_))),
                text: &text,
            };
            writeln!(self.text, "{}", serde_json::to_string(&summary)?)?;
        } else {
            writeln!(self.text, "{text}")?;
        }
        Ok(())
    }

    fn verdict(&self, ending: &Ending) -> String {
        let same = format!(
            "the same {} decisions in {} steps as recorded",
            self.decisions, self.steps
        );
        let told = |at, command: &Option<Command>| match command {
            Some(command) => self.line(at, command).to_string(),
            None => "             nothing".to_owned(),
        };
        match ending {
            Ending::Whole(Some(End::Stopped)) => format!("{same}, until the agent ended"),
            Ending::Whole(Some(End::Limit)) => format!("{same}, until the record was full"),
            Ending::Whole(Some(End::Lost)) => {
                format!("{same}, until the disk was too slow for the record")
            }
            Ending::Whole(None) => {
                format!("{same}; the record has no end: the agent was killed, or still runs")
            }
            Ending::Cut(error) => format!("{same}, but not to the end of the record: {error}"),
            Ending::Differs {
                at,
                recorded,
                replayed,
            } => format!(
                "difference after {} decisions:\nrecorded {}\nreplayed {}",
                self.decisions,
                told(*at, recorded),
                told(*at, replayed)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_common::wire::NodeState;

    use super::*;

    const AT: Boottime = Boottime::from_nanos(5_000_000);

    #[test]
    fn difference_shows_both_decisions_and_ends_the_replay() {
        let mut run = Run::new(false);
        let (active, standby) = (
            Command::Announce(NodeState::Active),
            Command::Announce(NodeState::Standby),
        );
        assert_eq!(run.step(AT, &[active], &[active]).unwrap(), None);
        let later = Boottime::from_nanos(7_500_000);
        let ending = run.step(later, &[active], &[active, standby]).unwrap();
        let ending = ending.unwrap();
        run.summary(&ending).unwrap();
        let expected = "    0.000 ms  this node is active\n\
                        \x20   2.500 ms  this node is active\n\
                        difference after 2 decisions:\n\
                        recorded     2.500 ms  this node is standby\n\
                        replayed              nothing\n";
        assert_eq!(run.text, expected);
    }

    #[test]
    fn json_has_one_object_a_line() {
        let mut run = Run::new(true);
        let active = Command::Announce(NodeState::Active);
        run.step(AT, &[active], &[active]).unwrap();
        run.summary(&Ending::Whole(Some(End::Stopped))).unwrap();
        let lines = run.text.lines().map(serde_json::from_str);
        let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().unwrap();
        assert_eq!(lines[0]["at_ns"], 5_000_000);
        assert_eq!(lines[0]["text"], "this node is active");
        assert_eq!(lines[1]["same"], true);
        assert_eq!(lines.len(), 2);
    }
}
