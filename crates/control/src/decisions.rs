//! Decisions of operators for the whole cluster, as values in a file and in a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The subject of a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Whether the whole cluster is in maintenance.
    Maintenance,
    /// Whether this group is in maintenance.
    GroupMaintenance(String),
    /// Whether this group is stopped on all nodes.
    GroupStopped(String),
    /// Whether this resource is stopped, with the later resources of its group.
    ResourceStopped(String),
}

/// A decision of an operator on a subject. The greater of two decisions counts: the later one, by
/// the clocks of the nodes on which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decision {
    /// The time of the decision in nanoseconds since 1970. The time is greater than that of the
    /// decision before, so it may be a little later than the clock.
    pub at: u64,
    /// Id of the node on which the decision was made.
    pub by: u16,
    pub value: bool,
}

/// All decisions that a node has: the content of its file, and a part of its report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decisions(pub Vec<(Subject, Decision)>);

/// The end of the valid times, in nanoseconds since 1970: in 2262. A peer with a later clock is
/// wrong, and no operator could decide anything later.
pub const LATEST: u64 = i64::MAX as u64;

impl Decision {
    /// Whether the time is one that a clock can have, so that a later decision is possible.
    pub fn is_sane(&self) -> bool {
        self.at < LATEST
    }
}

impl Decisions {
    /// All of `decisions`, in the form for a file or a report.
    pub fn of(decisions: &BTreeMap<Subject, Decision>) -> Self {
        let decisions = decisions.iter();
        Self(
            decisions
                .map(|(subject, decision)| (subject.clone(), *decision))
                .collect(),
        )
    }

    /// Whether every decision in `others` is here, and none is older here.
    pub fn include(&self, others: &Self) -> bool {
        let ours: BTreeMap<_, _> = self.0.iter().map(|(subject, at)| (subject, at)).collect();
        others
            .0
            .iter()
            .all(|(subject, theirs)| ours.get(subject).is_some_and(|ours| *ours >= theirs))
    }
}
