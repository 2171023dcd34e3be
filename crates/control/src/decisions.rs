//! What operators decided for the whole cluster, as values that a file and a report hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Whether all groups are left alone.
    Maintenance,
    /// Whether this group is.
    GroupMaintenance(String),
    /// Whether this group is to run nowhere.
    GroupStopped(String),
    /// Whether this resource, and what follows it in its group, is.
    ResourceStopped(String),
}

/// An operator's word on a subject. Of two the greater one counts: the later, by the clocks of the
/// nodes that they were made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decision {
    /// When, in nanoseconds since 1970, or a little later: beyond what it changed.
    pub at: u64,
    /// Id of the node that it was made on.
    pub by: u16,
    pub value: bool,
}

/// All decisions that a node knows: the content of its file, and a part of its report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decisions(pub Vec<(Subject, Decision)>);

/// The first instant that no decision may bear, in nanoseconds since 1970: in 2262. A peer whose
/// clock says more is wrong, and nobody could decide anything later than it.
pub const LATEST: u64 = i64::MAX as u64;

impl Decision {
    /// Whether its time is one that a clock can have, so that another decision may be later.
    pub fn is_sane(&self) -> bool {
        self.at < LATEST
    }
}

impl Decisions {
    /// All of `decisions`, as they go into a file or a report.
    pub fn of(decisions: &BTreeMap<Subject, Decision>) -> Self {
        let decisions = decisions.iter();
        Self(
            decisions
                .map(|(subject, decision)| (subject.clone(), *decision))
                .collect(),
        )
    }

    /// Whether nothing in `others` is missing here, or older.
    pub fn include(&self, others: &Self) -> bool {
        let ours: BTreeMap<_, _> = self.0.iter().map(|(subject, at)| (subject, at)).collect();
        others
            .0
            .iter()
            .all(|(subject, theirs)| ours.get(subject).is_some_and(|ours| *ours >= theirs))
    }
}
