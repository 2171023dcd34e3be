//! What is known of all checks, and what follows for the node.

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

/// When the sum is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tell {
    Changes,
    Always,
}

/// Told of every look; tells in turn what has changed, in order.
pub(super) struct Board {
    inner: Mutex<Inner>,
    listener: Listener,
}

struct Inner {
    /// By the number of the check.
    entries: Vec<Entry>,
    told: Option<Sum>,
}

/// What is known of a check.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub check: HealthCheck,
    /// Whose looks count: those of an earlier check with this number do not.
    pub ticket: u64,
    pub hysteresis: Hysteresis,
    /// Counts as well while nothing is known of it.
    pub trusted: bool,
    /// The kernel knows what the end of its process means.
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

    /// Whether this counts against the node.
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
            told: None,
        };
        Self {
            inner: Mutex::new(inner),
            listener,
        }
    }

    /// Nothing that panics is done while it is held, but for what is told.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Exchanges all checks.
    pub(super) fn set(&self, entries: Vec<Entry>) {
        let mut inner = self.lock();
        inner.entries = entries;
        self.tell_sum(&mut inner, Tell::Changes);
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

    /// A look at a check was had.
    pub(super) fn sample(&self, ticket: u64, verdict: Verdict) {
        self.change(ticket, Tell::Changes, |entry| {
            let (rise, fall) = (entry.check.rise, entry.check.fall);
            let changed = entry.hysteresis.sample(verdict.is_ok(), rise, fall);
            entry.message = verdict.unwrap_or_else(|message| message);
            changed
        });
    }

    /// A check fails at once, and no process of it is watched any more.
    pub(super) fn fail(&self, ticket: u64, message: String) {
        self.change(ticket, Tell::Always, |entry| {
            entry.watched = false;
            entry.message = message;
            entry.hysteresis.fail()
        });
    }

    /// Whether the kernel knows what the end of a check's process means.
    pub(super) fn watched(&self, ticket: u64, watched: bool) {
        self.change(ticket, Tell::Changes, |entry| {
            entry.watched = watched;
            false
        });
    }

    /// The kernel is not to be believed about a check, even if it has said something only now.
    pub(super) fn unwatched(&self, ticket: u64) {
        self.change(ticket, Tell::Always, |entry| {
            entry.watched = false;
            false
        });
    }

    /// Tells the sum, be it as it was.
    pub(super) fn tell_again(&self) {
        self.tell_sum(&mut self.lock(), Tell::Always);
    }

    /// `change` says whether the state is another afterwards.
    fn change(&self, ticket: u64, tell: Tell, change: impl FnOnce(&mut Entry) -> bool) {
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
        // First what others wait for.
        self.tell_sum(&mut inner, tell);
        // That it is well at first is no news.
        if let Some(turn) = turn.filter(|turn| !(turn.well && before == State::Unknown)) {
            (self.listener)(Notice::Turn(turn));
        }
    }

    fn tell_sum(&self, inner: &mut Inner, tell: Tell) {
        let sum = inner.sum();
        if inner.told.replace(sum) != Some(sum) || tell == Tell::Always {
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
