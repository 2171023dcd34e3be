//! What one run showed: from the agents' events and the client's books, nothing estimated.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use heartbeat_tests::client::{Answer, Record};
use heartbeat_user::control::protocol::{DownTrace, Event, What};

/// One run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) number: u32,
    pub(crate) victim: String,
    /// The takeover, or why there was none.
    pub(crate) result: Result<Takeover, String>,
    /// Nodes that were called dead though they lived and were connected.
    pub(crate) false_downs: Vec<FalseDown>,
}

/// A live node was called dead.
#[derive(Debug)]
pub(crate) struct FalseDown {
    pub(crate) seen_by: String,
    pub(crate) node: String,
    pub(crate) verdict: Verdict,
    /// When the victim died, if it came to that.
    pub(crate) fault_at: Option<Boottime>,
}

/// The address moved.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) successor: String,
    pub(crate) fault_at: Boottime,
    /// How long all was quiet before.
    pub(crate) quiet: Duration,
    pub(crate) verdict: Verdict,
    pub(crate) decided: Boottime,
    pub(crate) address: Boottime,
    pub(crate) announced: Boottime,
    pub(crate) last_answer: Boottime,
    pub(crate) first_answer: Boottime,
    /// Datagrams sent between those two answers that nobody answered.
    pub(crate) lost: usize,
    /// Answers that the old owner gave after the new one had begun.
    pub(crate) stale: usize,
}

/// One node's judgement of another.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// `down` or `agent-stalled`.
    pub(crate) state: String,
    pub(crate) at: Boottime,
    /// How the silence became a decision; absent if there was no silence.
    pub(crate) trace: Option<DownTrace>,
}

impl Takeover {
    /// Deadline passed until the agent had decided.
    pub(crate) fn detection(&self) -> Option<Duration> {
        let trace = self.verdict.trace?;
        Some(Boottime::from_nanos(trace.awake_ns).since(Boottime::from_nanos(trace.deadline_ns)))
    }

    /// How long the client had no answer.
    pub(crate) fn gap(&self) -> Duration {
        self.first_answer.since(self.last_answer)
    }
}

/// The client's side: between which answers the service was away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) last_answer: Boottime,
    pub(crate) first_answer: Boottime,
    pub(crate) lost: usize,
    pub(crate) stale: usize,
}

/// Finds the move from `old` to `new` in the client's books, after the fault at `fault_at`.
pub(crate) fn gap(records: &[Record], old: &str, new: &str, fault_at: Boottime) -> Option<Gap> {
    let by = |node: &str| -> Vec<&Answer> {
        let answers = records.iter().filter_map(|record| record.answer.as_ref());
        answers.filter(|answer| *answer.node == *node).collect()
    };
    let first_answer = by(new)
        .iter()
        .map(|answer| answer.at)
        .filter(|at| *at >= fault_at)
        .min()?;
    let (before, after): (Vec<_>, Vec<_>) = by(old)
        .into_iter()
        .partition(|answer| answer.at <= first_answer);
    let last_answer = before.iter().map(|answer| answer.at).max()?;
    let away = last_answer..first_answer;
    let lost = records
        .iter()
        .filter(|r| r.answer.is_none() && away.contains(&r.sent))
        .count();
    Some(Gap {
        last_answer,
        first_answer,
        lost,
        stale: after.len(),
    })
}

/// Whether an event says that a node is dead, and which.
pub(crate) fn verdict(event: &Event) -> Option<(&str, Verdict)> {
    match &event.what {
        What::Peer {
            node, to, trace, ..
        } if to == "down" || to == "agent-stalled" => {
            let at = Boottime::from_nanos(event.at_ns);
            Some((
                node,
                Verdict {
                    state: to.clone(),
                    at,
                    trace: *trace,
                },
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn record(sent: u64, answer: Option<(u64, &str)>) -> Record {
        let at = Boottime::from_nanos;
        let answer = answer.map(|(when, node)| Answer {
            given: at(when),
            at: at(when),
            node: Arc::from(node),
        });
        Record {
            sent: at(sent),
            answer,
            again: Vec::new(),
        }
    }

    #[test]
    fn a_gap_lies_between_the_old_and_the_new_owner() {
        let records = [
            record(0, Some((5, "b"))),
            record(10, Some((11, "a"))),
            record(20, Some((21, "a"))),
            record(30, None),
            record(40, None),
            record(50, Some((58, "b"))),
            record(60, Some((64, "a"))),
            record(70, None),
        ];
        let expected = Gap {
            last_answer: Boottime::from_nanos(21),
            first_answer: Boottime::from_nanos(58),
            lost: 2,
            stale: 1,
        };
        let fault_at = Boottime::from_nanos(25);
        assert_eq!(gap(&records, "a", "b", fault_at), Some(expected));
        assert_eq!(gap(&records, "a", "c", fault_at), None);
    }

    #[test]
    fn only_dead_states_are_verdicts() {
        let event = |to: &str| Event {
            number: 1,
            at_ns: 5,
            what: What::Peer {
                node: "a".to_owned(),
                from: "up".to_owned(),
                to: to.to_owned(),
                trace: None,
            },
        };
        assert!(verdict(&event("suspect")).is_none());
        assert!(verdict(&event("up")).is_none());
        assert_eq!(verdict(&event("down")).map(|(node, _)| node), Some("a"));
        assert_eq!(
            verdict(&event("agent-stalled")).map(|(_, v)| v.state),
            Some("agent-stalled".into())
        );
    }
}
