//! The result of one run, from the agents' events and the client's records. Nothing is estimated.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    client::{Answer, Record},
    e2e::ownership::Acquisition,
};
use heartbeat_user::control::protocol::{DownTrace, Event, EventKind, VipEvent};

/// One run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) number: u32,
    pub(crate) victim: String,
    /// The takeover, or why there was none.
    pub(crate) result: Result<Takeover, String>,
    /// Nodes that were reported as down although they lived and were connected.
    pub(crate) false_downs: Vec<FalseDown>,
    /// Leases that were acquired although their owner lived, or beside the successor.
    pub(crate) false_takeovers: Vec<FalseTakeover>,
    /// Answers that nodes gave while another one held the lease.
    pub(crate) overlaps: Vec<Answer>,
    /// The instant of the fault, if it came to that.
    pub(crate) fault_at: Option<Boottime>,
}

/// A false report that a node is down.
#[derive(Debug)]
pub(crate) struct FalseDown {
    pub(crate) seen_by: String,
    pub(crate) node: String,
    pub(crate) verdict: Verdict,
}

/// An acquisition of the lease by a node that should not have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FalseTakeover {
    pub(crate) node: String,
    pub(crate) at: Boottime,
}

/// The address moved.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) successor: String,
    pub(crate) fault_at: Boottime,
    /// The quiet time before the fault.
    pub(crate) quiet: Duration,
    /// `None` if the lease was free before the owner was reported as down.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) phases: Phases,
    pub(crate) last_answer: Boottime,
    pub(crate) first_answer: Boottime,
    /// Datagrams sent between those two answers that no node answered.
    pub(crate) lost: usize,
    /// Answers that the old owner gave after the new one had begun.
    pub(crate) stale: usize,
}

/// The steps of the successor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// The old owner's lease ended.
    pub(crate) free: Boottime,
    /// A majority had granted it anew.
    pub(crate) majority: Boottime,
    pub(crate) guard_open: Boottime,
    pub(crate) address: Boottime,
    pub(crate) announced: Boottime,
}

impl Phases {
    /// The timeline of a takeover event.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let at = Boottime::from_nanos;
        match *event.what.of_vip()? {
            VipEvent::Takeover {
                timeline,
                decided_ns,
                address_ns,
                announced_ns,
            } => Some(Self {
                free: timeline.free,
                majority: timeline.majority,
                guard_open: at(decided_ns),
                address: at(address_ns),
                announced: at(announced_ns),
            }),
            _ => None,
        }
    }
}

/// A node's report on another.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// `down` or `agent-stalled`.
    pub(crate) state: String,
    pub(crate) at: Boottime,
    /// The trace from the silence to the decision; `None` without a silence.
    pub(crate) trace: Option<DownTrace>,
}

impl Takeover {
    /// The time from the deadline to the agent's decision.
    pub(crate) fn detection(&self) -> Option<Duration> {
        let trace = self.verdict.as_ref()?.trace?;
        Some(Boottime::from_nanos(trace.awake_ns).since(Boottime::from_nanos(trace.deadline_ns)))
    }

    /// The client's gap.
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

/// Finds the move from `old` to `new` in the client's records, after the fault at `fault_at`.
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

/// The false takeovers: before the fault no node may acquire the lease, and after it one other than
/// the victim.
pub(crate) fn false_takeovers(
    mut acquisitions: Vec<Acquisition>,
    victim: &str,
    fault_at: Option<Boottime>,
) -> Vec<FalseTakeover> {
    acquisitions.sort_by_key(|acquisition| acquisition.majority);
    let after = |acquisition: &Acquisition| fault_at.is_some_and(|at| acquisition.majority >= at);
    let heir = acquisitions
        .iter()
        .find(|acquisition| after(acquisition) && acquisition.node != victim)
        .map(|acquisition| acquisition.node.clone());
    let right =
        |acquisition: &Acquisition| after(acquisition) && heir.as_ref() == Some(&acquisition.node);
    let wrong = acquisitions
        .iter()
        .filter(|acquisition| !right(acquisition));
    wrong
        .map(|acquisition| FalseTakeover {
            node: acquisition.node.clone(),
            at: acquisition.majority,
        })
        .collect()
}

/// Whether an event says that a node is dead, and which.
pub(crate) fn verdict(event: &Event) -> Option<(&str, Verdict)> {
    match &event.what {
        EventKind::Peer {
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
    fn gap_lies_between_the_old_and_the_new_owner() {
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
    fn one_node_may_acquire_the_lease_and_only_after_the_fault() {
        let at = Boottime::from_nanos;
        let found = |list: &[(&str, u64)], fault_at: Option<u64>| {
            let acquisition = |(node, majority): &(&str, u64)| Acquisition {
                node: (*node).to_owned(),
                group: "service".to_owned(),
                majority: at(*majority),
            };
            let all = list.iter().map(acquisition).collect();
            let wrong = false_takeovers(all, "a", fault_at.map(at));
            wrong
                .into_iter()
                .map(|wrong| (wrong.node, wrong.at.as_nanos()))
                .collect::<Vec<_>>()
        };
        let told = |list: &[(&str, u64)]| {
            let owned = list.iter().map(|(node, at)| ((*node).to_owned(), *at));
            owned.collect::<Vec<_>>()
        };
        assert_eq!(found(&[("b", 105)], Some(100)), []);
        // The owner lost the lease for a moment, and no other node had it.
        assert_eq!(found(&[("b", 105), ("b", 120)], Some(100)), []);
        assert_eq!(
            found(&[("b", 105), ("c", 101)], Some(100)),
            told(&[("b", 105)])
        );
        assert_eq!(
            found(&[("a", 95), ("b", 90), ("b", 105), ("a", 101)], Some(100)),
            told(&[("b", 90), ("a", 95), ("a", 101)])
        );
        assert_eq!(found(&[("b", 105)], None), told(&[("b", 105)]));
    }

    #[test]
    fn only_dead_states_are_verdicts() {
        let event = |to: &str| Event {
            schema_version: 1,
            number: 1,
            at_ns: 5,
            at_unix_ns: None,
            what: EventKind::Peer {
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
