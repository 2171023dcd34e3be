//! The latest events, for `heartbeat events` and scripts.

use std::collections::VecDeque;

use heartbeat_common::time::Boottime;

use crate::{
    control::protocol::{Event, EventKind, Events},
    wall_clock,
};

const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Journal {
    events: VecDeque<Event>,
    last: u64,
}

impl Journal {
    pub(super) fn add(&mut self, at: Boottime, what: EventKind) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.last += 1;
        self.events.push_back(Event {
            number: self.last,
            at_ns: at.as_nanos(),
            at_unix_ns: Some(wall_clock::unix_ns(at)),
            what,
        });
    }

    /// Returns all events after number `after`.
    pub(super) fn since(&self, after: u64) -> Events {
        let first_kept = self.last + 1 - self.events.len() as u64;
        let events = self
            .events
            .iter()
            .filter(|event| event.number > after)
            .cloned()
            .collect();
        Events {
            lost: first_kept.saturating_sub(after.saturating_add(1)),
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_journal_drops_the_oldest_event_and_counts_it() {
        let mut journal = Journal::default();
        assert_eq!(
            journal.since(0),
            Events {
                lost: 0,
                events: Vec::new()
            }
        );
        for i in 0..KEPT as u64 + 10 {
            journal.add(Boottime::from_nanos(i), EventKind::Started);
        }
        let all = journal.since(0);
        assert_eq!((all.lost, all.events.len()), (10, KEPT));
        let some = journal.since(KEPT as u64 + 8);
        assert_eq!((some.lost, some.events.len()), (0, 2));
        assert_eq!(some.events[1].number, KEPT as u64 + 10);
        assert!(journal.since(u64::MAX).events.is_empty());
    }
}
