//! The latest events, for `heartbeat events` and scripts. They outlive the agent in a file, which
//! is never waited for.

mod file;

use std::{collections::VecDeque, path::Path};

use heartbeat_common::time::Boottime;
use heartbeat_sys::files::atomic_file::Writer;

use self::file::EventFile;
use crate::{
    control::protocol::{Event, EventKind, Events, SCHEMA_VERSION},
    wall_clock,
};

/// Number of events that the agent answers from.
const KEPT: usize = 4096;

/// Numbers that are left out after an agent that was killed: its last events may not be in the file
/// although a client has seen them.
const SKIPPED: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Journal {
    events: VecDeque<Event>,
    last: u64,
    file: EventFile,
}

impl Journal {
    /// Takes over the events of earlier agents from the state directory. A file that cannot be
    /// read, or is damaged, does not prevent the start.
    pub(super) fn open(state_dir: &Path, writer: Writer) -> Self {
        let (file, kept) = EventFile::open(state_dir, writer);
        let mut events = VecDeque::from(kept.events);
        events.drain(..events.len().saturating_sub(KEPT));
        Self {
            last: kept.last + if has_ended(&events) { 0 } else { SKIPPED },
            events,
            file,
        }
    }

    pub(super) fn add(&mut self, at: Boottime, what: EventKind) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.last += 1;
        let event = Event {
            schema_version: SCHEMA_VERSION,
            number: self.last,
            at_ns: at.as_nanos(),
            at_unix_ns: Some(wall_clock::unix_ns(at)),
            what,
        };
        self.file.add(&event);
        self.events.push_back(event);
    }

    /// Returns all events after number `after`.
    pub(super) fn since(&self, after: u64) -> Events {
        let first_kept = self
            .events
            .front()
            .map_or(self.last + 1, |event| event.number);
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

    /// Returns the first events after number `after` whose JSON has at most `room` bytes together,
    /// and at least one event if there is any.
    pub(super) fn page(&self, after: u64, room: usize) -> Events {
        let mut page = self.since(after);
        let mut taken = 0;
        let fits = page.events.iter().take_while(|event| {
            let size = serde_json::to_vec(event).map_or(0, |json| json.len() + 1);
            taken += size;
            taken <= room || taken == size
        });
        let fits = fits.count();
        page.events.truncate(fits);
        page
    }
}

/// Whether the last agent ended by itself. Other events may follow its last decision to end.
fn has_ended(events: &VecDeque<Event>) -> bool {
    let latest = events.iter().rev().map(|event| &event.what);
    let mut turns = latest.filter(|what| {
        matches!(
            what,
            EventKind::Started | EventKind::Stopping | EventKind::GracefulRestart
        )
    });
    turns.next() != Some(&EventKind::Started)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::agent::journal::file::tests::Dir;

    fn open(dir: &Dir) -> (Journal, Writer) {
        let writer = Writer::start().unwrap();
        (Journal::open(dir.path(), writer.clone()), writer)
    }

    fn numbers(events: &Events) -> Vec<u64> {
        events.events.iter().map(|event| event.number).collect()
    }

    #[test]
    fn full_journal_drops_the_oldest_event_and_counts_it() {
        let dir = Dir::new("journal-full");
        let (mut journal, _writer) = open(&dir);
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

    #[test]
    fn next_agent_has_the_events_of_the_last_and_goes_on_counting() {
        let dir = Dir::new("journal-next");
        let (mut journal, writer) = open(&dir);
        journal.add(Boottime::from_nanos(1), EventKind::Started);
        journal.add(Boottime::from_nanos(2), EventKind::Stopping);
        let before = journal.since(0);
        writer.finish();
        let (mut journal, _writer) = open(&dir);
        assert_eq!(journal.since(0), before);
        journal.add(Boottime::from_nanos(3), EventKind::Started);
        assert_eq!(numbers(&journal.since(0)), [1, 2, 3]);
        assert_eq!(numbers(&journal.since(2)), [3]);
    }

    #[test]
    fn number_is_not_used_twice_after_an_agent_that_was_killed() {
        let dir = Dir::new("journal-killed");
        let (mut journal, writer) = open(&dir);
        journal.add(Boottime::from_nanos(1), EventKind::Started);
        writer.finish();
        // A client saw this event, and the file does not have it.
        let path = dir.path().join("events.jsonl");
        let kept = fs::read(&path).unwrap();
        journal.add(Boottime::from_nanos(2), EventKind::Started);
        writer.finish();
        fs::write(&path, kept).unwrap();
        let (mut journal, _writer) = open(&dir);
        journal.add(Boottime::from_nanos(3), EventKind::Started);
        let after = journal.since(2);
        assert_eq!((after.lost, numbers(&after)), (0, vec![2 + SKIPPED]));
    }

    #[test]
    fn pages_have_all_events_once_and_keep_to_their_size() {
        let dir = Dir::new("journal-pages");
        let (mut journal, _writer) = open(&dir);
        for number in 0..100 {
            let what = EventKind::Decided {
                node: None,
                what: "x".repeat(number),
            };
            journal.add(Boottime::from_nanos(1), what);
        }
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = journal.page(after, 1_000);
            let Some(last) = page.events.last() else {
                break;
            };
            after = last.number;
            let size: usize = page
                .events
                .iter()
                .map(|event| serde_json::to_vec(event).unwrap().len() + 1)
                .sum();
            assert!(size <= 1_000, "{size}");
            seen.extend(numbers(&page));
        }
        assert_eq!(seen, (1..=100).collect::<Vec<_>>());
        // An event that is too large by itself is a page.
        assert_eq!(numbers(&journal.page(7, 1)), [8]);
    }
}
