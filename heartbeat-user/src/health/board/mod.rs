//! The states of all checks, and the node's health that follows from them.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use heartbeat_common::{time::Boottime, wire::Health};

use super::{
    Notice, Status, Sum, Turn, Verdict,
    hysteresis::{Hysteresis, State},
};
use crate::{
    clock,
    config::{HealthCheck, Meaning},
};

type Listener = Box<dyn Fn(Notice) + Send + Sync>;

/// When to report the sum: on changes only, or always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReportWhen {
    Changes,
    Always,
}

/// Receives the result of every check, and reports changes to the listener, in order.
pub(super) struct Board {
    inner: Mutex<Inner>,
    listener: Listener,
}

struct Inner {
    /// The checks by number.
    entries: Vec<Entry>,
    reported: Option<Sum>,
}

/// The state of a check.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub check: HealthCheck,
    /// Number of the check's task: results with another ticket, from an earlier check, do not
    /// count.
    pub ticket: u64,
    pub hysteresis: Hysteresis,
    /// Whether the check counts as passing while it has no state.
    pub trusted: bool,
    /// Whether the kernel has been informed of the meaning of the process's end.
    pub watched: bool,
    pub since: Boottime,
    pub message: String,
}

impl Entry {
    pub(super) fn new(check: HealthCheck, ticket: u64, trusted: bool) -> Self {
        Self {
            check,
            ticket,
            hysteresis: Hysteresis::default(),
            trusted,
            watched: false,
            since: clock::now(),
            message: String::new(),
        }
    }

    /// Whether the check counts against the node.
    pub(super) fn counts(&self) -> bool {
        match self.hysteresis.state() {
            State::Well => false,
            State::Failing => true,
            State::Unknown => !self.trusted && self.check.meaning == Meaning::Fatal,
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Board {
    pub(super) fn new(listener: Listener) -> Self {
        let inner = Inner {
            entries: Vec::new(),
            reported: None,
        };
        Self {
            inner: Mutex::new(inner),
            listener,
        }
    }

    /// Under this lock only the listener runs foreign code, so nothing else can panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Replaces all checks.
    pub(super) fn set(&self, entries: Vec<Entry>) {
        let mut inner = self.lock();
        inner.entries = entries;
        self.report_sum(&mut inner, ReportWhen::Changes);
    }

    pub(super) fn sum(&self) -> Sum {
        self.lock().sum()
    }

    pub(super) fn statuses(&self) -> Vec<Status> {
        let inner = self.lock();
        let status = |(number, entry): (usize, &Entry)| Status {
            name: entry.check.name.clone(),
            number,
            kind: entry.check.kind.name(),
            meaning: entry.check.meaning,
            state: entry.hysteresis.state(),
            since: entry.since,
            message: entry.message.clone(),
        };
        inner.entries.iter().enumerate().map(status).collect()
    }

    /// Adds a result of a check.
    pub(super) fn sample(&self, ticket: u64, verdict: Verdict) {
        self.change(ticket, ReportWhen::Changes, |entry| {
            let (rise, fall) = (entry.check.rise, entry.check.fall);
            let changed = entry.hysteresis.sample(verdict.is_ok(), rise, fall);
            entry.message = verdict.unwrap_or_else(|message| message);
            changed
        });
    }

    /// Fails a check at once, and marks its process as no longer watched.
    pub(super) fn fail(&self, ticket: u64, message: String) {
        self.change(ticket, ReportWhen::Always, |entry| {
            entry.watched = false;
            entry.message = message;
            entry.hysteresis.fail()
        });
    }

    /// Records whether the kernel has the meaning of the end of a check's process.
    pub(super) fn watched(&self, ticket: u64, watched: bool) {
        self.change(ticket, ReportWhen::Changes, |entry| {
            entry.watched = watched;
            false
        });
    }

    /// Marks a check as not watched, and reports the sum even if the kernel reported the opposite
    /// just now.
    pub(super) fn unwatched(&self, ticket: u64) {
        self.change(ticket, ReportWhen::Always, |entry| {
            entry.watched = false;
            false
        });
    }

    /// Reports the sum even if it did not change.
    pub(super) fn report_again(&self) {
        self.report_sum(&mut self.lock(), ReportWhen::Always);
    }

    /// Applies `change`, which returns whether the check's state changed.
    fn change(&self, ticket: u64, report: ReportWhen, change: impl FnOnce(&mut Entry) -> bool) {
        let mut inner = self.lock();
        let mut entries = inner.entries.iter_mut().enumerate();
        let Some((number, entry)) = entries.find(|(_, entry)| entry.ticket == ticket) else {
            return;
        };
        let before = entry.hysteresis.state();
        let turn = change(entry).then(|| {
            entry.since = clock::now();
            turn(number, entry)
        });
        // The sum goes first, since the heartbeats wait for it.
        self.report_sum(&mut inner, report);
        // A first success is no news.
        if let Some(turn) = turn.filter(|turn| !(turn.well && before == State::Unknown)) {
            (self.listener)(Notice::Turn(turn));
        }
    }

    fn report_sum(&self, inner: &mut Inner, report: ReportWhen) {
        let sum = inner.sum();
        if inner.reported.replace(sum) != Some(sum) || report == ReportWhen::Always {
            (self.listener)(Notice::Sum(sum));
        }
    }
}

impl Inner {
    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for (number, entry) in self.entries.iter().enumerate() {
            let health = Health::of(number, entry.check.meaning == Meaning::Fatal);
            if entry.counts() {
                sum.health = sum.health.and(health);
            }
            if entry.watched {
                sum.watched = sum.watched.and(health);
            }
        }
        sum
    }
}

fn turn(number: usize, entry: &Entry) -> Turn {
    Turn {
        name: entry.check.name.clone(),
        number,
        meaning: entry.check.meaning,
        well: entry.hysteresis.state() == State::Well,
        message: entry.message.clone(),
        at: entry.since,
    }
}

#[cfg(test)]
mod tests;
