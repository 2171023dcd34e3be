//! The file of the events: one JSON object a line, appended by the thread of durable writes, so
//! that no other thread waits for the disk.
//!
//! When the file is full it becomes the old one, by a rename, and a new one begins. So the events
//! of the last agents take no more than two files of bounded size. A killed agent leaves whole
//! lines. After a power cut the end of the file may be missing or torn: the next agent reports
//! that, sets the file aside and writes the readable events anew.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_sys::files::{
    atomic_file::{self, Writer},
    line_file::{self, LineFile, old},
};
use serde::Deserialize;

use crate::control::protocol::Event;

/// Size at which a file is full, in bytes: several thousand events.
const FULL: u64 = 1024 * 1024;
/// Limit for the bytes that wait for the disk. An event beyond it is not kept over a restart.
const WAITING: usize = 1024 * 1024;
/// The longest file that is read. A file ends with the first batch that fills it.
const READABLE: u64 = FULL + WAITING as u64;
/// A number that no sequence of events reaches: readers of JSON round numbers beyond it.
const END: u64 = 1 << 53;

/// The events of earlier agents.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// In the order of their numbers.
    pub(super) events: Vec<Event>,
    /// The greatest number in the files.
    pub(super) last: u64,
}

/// The writing end.
#[derive(Debug)]
pub(super) struct EventFile {
    shared: Arc<Shared>,
    writer: Writer,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Only the thread of the writer locks this.
    target: Mutex<Target>,
}

/// The lines that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether the writer has a job that will take them.
    scheduled: bool,
}

#[derive(Debug)]
struct Target {
    file: LineFile,
    /// Whether the last write failed. A failure is logged once.
    failing: bool,
}

impl EventFile {
    /// Reads the events of earlier agents, and sets damaged files aside.
    pub(super) fn open(state_dir: &Path, writer: Writer) -> (Self, Kept) {
        let path = state_dir.join("events.jsonl");
        let mut kept = Kept::default();
        let mut damaged = false;
        for path in [&old(&path), &path] {
            if let Err(error) = kept.read(path) {
                damaged = true;
                put_aside(path, &error);
            }
        }
        if damaged && let Err(error) = write_anew(&path, &kept.events) {
            log::warn!(
                "could not write {}: {error}; the earlier events are lost with this agent",
                path.display()
            );
        }
        let target = Target {
            file: LineFile::new(path, FULL),
            failing: false,
        };
        let shared = Shared {
            waiting: Mutex::default(),
            target: Mutex::new(target),
        };
        let file = Self {
            shared: Arc::new(shared),
            writer,
        };
        (file, kept)
    }

    /// Keeps an event, without waiting for the disk.
    pub(super) fn add(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        let mut waiting = lock(&self.shared.waiting);
        if waiting.lines.len() + line.len() > WAITING {
            return;
        }
        waiting.lines.append(&mut line);
        if !std::mem::replace(&mut waiting.scheduled, true) {
            let shared = Arc::clone(&self.shared);
            drop(self.writer.run(move || shared.write()));
        }
    }
}

impl Shared {
    fn write(&self) {
        let lines = {
            let mut waiting = lock(&self.waiting);
            waiting.scheduled = false;
            std::mem::take(&mut waiting.lines)
        };
        let mut target = lock(&self.target);
        match target.file.append(&lines) {
            Ok(()) => target.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut target.failing, true) {
                    log::warn!(
                        "could not write {}: {error}; events are kept in memory only until the \
                         state directory can be written again",
                        target.file.path().display()
                    );
                }
            }
        }
    }
}

impl Kept {
    /// Adds the events in the file at `path`, if there is one. On an error, the readable events are
    /// still added.
    fn read(&mut self, path: &Path) -> Result<()> {
        let Some(text) = line_file::read(path, READABLE)? else {
            return Ok(());
        };
        self.take(&text)
    }

    fn take(&mut self, text: &[u8]) -> Result<()> {
        let (mut bad, mut first) = (0, None);
        for (at, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            if let Err(error) = self.take_line(line) {
                bad += 1;
                first.get_or_insert((at, error));
            }
        }
        match first {
            None => Ok(()),
            Some((at, error)) => Err(error).with_context(|| {
                format!(
                    "{bad} of its lines cannot be read, the first is line {at} (after a power cut \
                     the last line may be torn)"
                )
            }),
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        /// The fields that the events of all releases have.
        #[derive(Deserialize)]
        struct Numbered {
            number: u64,
        }
        ensure!(line.ends_with(b"\n"), "it is torn");
        let Numbered { number } = serde_json::from_slice(line)?;
        ensure!(
            number > self.last && number < END,
            "event {number} does not follow event {}",
            self.last
        );
        self.last = number;
        // A later release may have written an event that this one does not know.
        if let Ok(event) = serde_json::from_slice(line) {
            self.events.push(event);
        }
        Ok(())
    }
}

fn put_aside(path: &Path, error: &anyhow::Error) {
    let aside = path.with_extension("damaged");
    match fs::rename(path, &aside) {
        Ok(()) => log::warn!(
            "{}: {error:#}; it is now {}, and the readable events stay",
            path.display(),
            aside.display()
        ),
        Err(failure) => log::warn!(
            "{}: {error:#}; it could not be set aside either: {failure}",
            path.display()
        ),
    }
}

/// Writes the latest of these events to a new file, on disk when this returns.
fn write_anew(path: &Path, events: &[Event]) -> io::Result<()> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event)?;
        text.push(b'\n');
    }
    let excess = text.len().saturating_sub(FULL as usize);
    let lines = text[excess..].iter().position(|byte| *byte == b'\n');
    let begin = match excess {
        0 => 0,
        _ => lines.map_or(text.len(), |end| excess + end + 1),
    };
    // The old file may hold events that are in the new one, too.
    match fs::remove_file(old(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    atomic_file::replace(path, &text[begin..])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values are valid at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;
    use crate::control::protocol::EventKind;

    /// A directory of a test, which goes with it.
    pub(in crate::agent::journal) struct Dir(PathBuf);

    impl Dir {
        pub(in crate::agent::journal) fn new(name: &str) -> Self {
            let name = format!("heartbeat-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(in crate::agent::journal) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn event(number: u64) -> Event {
        Event {
            schema_version: 1,
            number,
            at_ns: number,
            at_unix_ns: Some(number),
            what: EventKind::Decided {
                node: None,
                what: "a decision of some length".to_owned(),
            },
        }
    }

    fn open(dir: &Dir) -> (EventFile, Kept) {
        EventFile::open(dir.path(), Writer::start().unwrap())
    }

    fn write(dir: &Dir, numbers: std::ops::RangeInclusive<u64>) {
        let (file, _) = open(dir);
        numbers.for_each(|number| file.add(&event(number)));
        file.writer.finish();
    }

    fn numbers(kept: &Kept) -> Vec<u64> {
        kept.events.iter().map(|event| event.number).collect()
    }

    fn size(dir: &Dir) -> u64 {
        let files = fs::read_dir(dir.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    }

    #[test]
    fn files_keep_the_latest_events_and_stay_bounded() {
        let dir = Dir::new("events-bounded");
        let last = 60_000;
        for begin in (1..=last).step_by(1_000) {
            write(&dir, begin..=begin + 999);
        }
        assert!(size(&dir) <= 2 * READABLE, "{}", size(&dir));
        let (_, kept) = open(&dir);
        assert_eq!(
            (kept.last, kept.events.last().unwrap().number),
            (last, last)
        );
        let first = kept.events[0].number;
        assert!(last - first > 5_000, "{first}");
        assert_eq!(numbers(&kept), (first..=last).collect::<Vec<_>>());
    }

    #[test]
    fn torn_end_is_set_aside_and_the_other_events_stay() {
        let dir = Dir::new("events-torn");
        write(&dir, 1..=3);
        let path = dir.path().join("events.jsonl");
        let whole = fs::read(&path).unwrap();
        for cut in [1, 10, 60] {
            let torn = &whole[..whole.len() - cut];
            fs::write(&path, torn).unwrap();
            let (_, kept) = open(&dir);
            assert_eq!((numbers(&kept), kept.last), (vec![1, 2], 2), "{cut}");
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), torn);
            // The next agent has nothing to report.
            fs::remove_file(path.with_extension("damaged")).unwrap();
            assert_eq!(numbers(&open(&dir).1), [1, 2]);
            assert!(!path.with_extension("damaged").exists());
        }
    }

    #[test]
    fn garbage_in_the_place_of_a_file_is_set_aside_and_events_are_kept_from_then_on() {
        let long = vec![b'x'; READABLE as usize + 1];
        let garbage: [&[u8]; 5] = [
            b"garbage\n",
            b"\0\0\0\0",
            b"{\"number\":18446744073709551615}\n",
            b"[[[[[[\n\xff\xfe\n",
            &long,
        ];
        for garbage in garbage {
            let dir = Dir::new("events-garbage");
            let path = dir.path().join("events.jsonl");
            fs::write(&path, garbage).unwrap();
            write(&dir, 1..=2);
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), garbage);
            assert_eq!(numbers(&open(&dir).1), [1, 2]);
        }
    }

    #[test]
    fn fifo_or_directory_in_the_place_of_a_file_does_not_stop_the_start() {
        let make: [fn(&Path); 2] = [
            |path| fs::create_dir(path).unwrap(),
            |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
        ];
        for make in make {
            let dir = Dir::new("events-fifo");
            make(&dir.path().join("events.jsonl"));
            write(&dir, 1..=2);
            assert_eq!(numbers(&open(&dir).1), [1, 2]);
        }
    }

    #[test]
    fn event_of_a_later_release_is_left_out_and_its_number_counts() {
        let dir = Dir::new("events-later");
        write(&dir, 1..=1);
        let path = dir.path().join("events.jsonl");
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"number\":2,\"event\":\"miracle\"}\n");
        fs::write(&path, text).unwrap();
        let (_, kept) = open(&dir);
        assert_eq!((numbers(&kept), kept.last), (vec![1], 2));
        assert!(!path.with_extension("damaged").exists());
    }

    #[test]
    fn state_directory_that_cannot_be_written_keeps_events_in_later_files() {
        let dir = Dir::new("events-later-dir");
        let state = dir.path().join("state");
        let (file, _) = EventFile::open(&state, Writer::start().unwrap());
        file.add(&event(1));
        file.writer.finish();
        fs::create_dir(&state).unwrap();
        file.add(&event(2));
        file.writer.finish();
        let (_, kept) = EventFile::open(&state, Writer::start().unwrap());
        assert_eq!(numbers(&kept), [2]);
    }

    #[test]
    fn hanging_disk_delays_no_event_and_takes_bounded_memory() {
        let dir = Dir::new("events-hang");
        let (file, _) = open(&dir);
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        drop(file.writer.run(move || hangs.recv()));
        for number in 1..=20_000 {
            file.add(&event(number));
        }
        assert!(lock(&file.shared.waiting).lines.len() <= WAITING);
        go_on.send(()).unwrap();
        file.writer.finish();
        let kept = numbers(&open(&dir).1);
        assert_eq!(kept, (1..=kept.len() as u64).collect::<Vec<_>>());
        assert!(kept.len() > 5_000, "{}", kept.len());
    }
}
