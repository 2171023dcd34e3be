//! `heartbeat run --record`: writes the core's inputs and decisions to a file that `heartbeat
//! replay` reads.
//!
//! ```text
//!   pulse  ──Tap──▶  full chunk  ──▶  thread "record"  ──▶  FILE
//!     ▲                                     │
//!     └───────────  empty chunk  ◀──────────┘
//! ```
//!
//! The pulse must never wait for the disk. The pulse writes into a chunk of its own, and swaps that
//! for an empty one when the lock between the two threads is free. If its chunk is full before
//! that, an entry is lost, and the record ends: a replay could not continue beyond the gap. The
//! record also ends when the file has reached its limit.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write as _},
    mem,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use heartbeat_common::{maps::VoteEvent, time::Boottime};
use heartbeat_core::{
    Command, StepInput,
    index::PeerIndex,
    record::{self, Encoder, End, Entry, Full},
};

/// The size of a chunk: the bytes by which the pulse may be ahead of the disk.
const ROOM: usize = 1 << 20;
/// The bytes of a chunk that are reserved for the last entry.
const LAST: usize = 64;
/// The thread's poll interval for a full chunk.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest wait for the disk when the agent ends.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// The path of the record, and its greatest size in bytes.
#[derive(Clone, Debug)]
pub struct Target {
    pub path: PathBuf,
    pub limit: u64,
}

impl Target {
    /// Creates the file. An existing one is renamed to FILE.old.
    pub fn create(&self) -> Result<Recording> {
        let (path, limit) = (&self.path, self.limit);
        keep_old(path).with_context(|| format!("could not rename {}", path.display()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("could not make {} for the record", path.display()))?;
        let header = record::header();
        file.write_all(&header)
            .with_context(|| format!("could not write to {}", path.display()))?;
        Ok(Recording {
            file,
            path: path.clone(),
            left: limit.saturating_sub(header.len() as u64 + LAST as u64),
        })
    }
}

fn keep_old(path: &Path) -> std::io::Result<()> {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    match std::fs::rename(path, old) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// An open file for the record.
#[derive(Debug)]
pub struct Recording {
    file: File,
    path: PathBuf,
    /// The bytes that may follow, without the last entry.
    left: u64,
}

impl Recording {
    /// Starts the writing thread. Returns the pulse's end and the agent's end.
    pub fn start(self) -> Result<(Tap, Recorder)> {
        let shared = Arc::new(Shared {
            chunk: Mutex::new(Chunk::new()),
            ended: AtomicBool::new(false),
        });
        let tap = Tap {
            encoder: Encoder::default(),
            chunk: Chunk::new(),
            over: false,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || self.run(&shared))
            .context("could not start the thread that records")?;
        Ok((tap, Recorder(thread)))
    }

    fn run(mut self, shared: &Arc<Shared>) {
        log::info!("recording to {}", self.path.display());
        if let Err(error) = self.write_all(shared) {
            log::warn!("recording to {} ended: {error}", self.path.display());
        }
        shared.ended.store(true, Relaxed);
    }

    /// Writes until the record or the pulse has ended.
    fn write_all(&mut self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let mut chunk = Chunk::new();
        loop {
            // This check comes first, so that the last chunk of an ended pulse is taken below.
            let alone = Arc::strong_count(shared) == 1;
            mem::swap(&mut *shared.lock(), &mut chunk);
            if !self.fits(&chunk) {
                log::warn!(
                    "the record {} has reached its limit: recording ended",
                    self.path.display()
                );
                return self.end(End::Limit);
            }
            self.file.write_all(chunk.filled())?;
            self.left -= chunk.used as u64;
            match mem::take(&mut chunk.end) {
                Some(End::Lost) => {
                    return Err(std::io::Error::other("the disk was too slow"));
                }
                Some(End::Stopped | End::Limit) => return Ok(()),
                None if alone => return Ok(()),
                None => {}
            }
            chunk.used = 0;
            thread::sleep(PAUSE);
        }
    }

    fn end(&mut self, end: End) -> std::io::Result<()> {
        let mut last = [0; LAST];
        let len = Encoder::entry(&Entry::End(end), &mut last).unwrap_or_default();
        self.file.write_all(&last[..len])
    }

    fn fits(&self, chunk: &Chunk) -> bool {
        self.left >= chunk.used as u64
    }
}

/// The agent's end.
#[derive(Debug)]
pub struct Recorder(JoinHandle<()>);

impl Recorder {
    /// Waits until the last chunk is written, with a time limit.
    pub fn finish(self) {
        let until = Instant::now() + TIME_LIMIT;
        while !self.0.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Debug)]
struct Shared {
    /// A full chunk for the thread to write, or an empty one for the pulse to take.
    chunk: Mutex<Chunk>,
    /// Whether the thread has stopped writing.
    ended: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Chunk> {
        self.chunk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    used: usize,
    /// The kind of the last entry, if the chunk has it.
    end: Option<End>,
}

impl Chunk {
    fn new() -> Self {
        Self {
            bytes: vec![0; ROOM].into_boxed_slice(),
            used: 0,
            end: None,
        }
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

/// The pulse's end. Its methods neither wait nor allocate.
#[derive(Debug)]
pub struct Tap {
    encoder: Encoder,
    chunk: Chunk,
    /// Whether the last entry has been written.
    over: bool,
    shared: Arc<Shared>,
}

impl Tap {
    /// Records one call into the core.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        self.put(|_, room| Encoder::entry(entry, room));
    }

    /// Records votes.
    pub fn votes(&mut self, acceptor: Option<PeerIndex>, votes: &VoteEvent, now: Boottime) {
        self.put(|_, room| Encoder::votes(acceptor, votes, now, room));
    }

    /// Records a step and its decisions.
    pub fn step(&mut self, input: &StepInput<'_>, decided: &[Command]) {
        self.put(|encoder, room| encoder.step(input, decided, room));
    }

    fn put(&mut self, write: impl FnOnce(&mut Encoder, &mut [u8]) -> Result<usize, Full>) {
        if self.over || self.shared.ended.load(Relaxed) {
            return;
        }
        let room = &mut self.chunk.bytes[self.chunk.used..ROOM - LAST];
        match write(&mut self.encoder, room) {
            Ok(len) => self.chunk.used += len,
            Err(Full) => self.end(End::Lost),
        }
        self.hand_over();
    }

    /// Writes the last entry.
    fn end(&mut self, end: End) {
        if self.over {
            return;
        }
        let room = &mut self.chunk.bytes[self.chunk.used..];
        self.chunk.used += Encoder::entry(&Entry::End(end), room).unwrap_or_default();
        (self.chunk.end, self.over) = (Some(end), true);
    }

    /// Hands the chunk to the thread, if the thread is ready. Returns whether nothing is left.
    pub fn hand_over(&mut self) -> bool {
        if self.chunk.used == 0 || self.shared.ended.load(Relaxed) {
            return true;
        }
        let mut theirs = match self.shared.chunk.try_lock() {
            Ok(theirs) => theirs,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let ready = theirs.used == 0;
        if ready {
            mem::swap(&mut *theirs, &mut self.chunk);
        }
        ready
    }

    /// Hands over the last chunk when the agent ends. This may wait, with a time limit.
    pub fn finish(&mut self) {
        self.end(End::Stopped);
        let until = Instant::now() + TIME_LIMIT;
        while !self.hand_over() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_core::record::{Decoder, Input};

    use super::*;

    fn dir(name: &str) -> PathBuf {
        let name = format!("heartbeat-record-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    fn load(load: u16) -> Entry<'static> {
        Entry::Input(std::borrow::Cow::Owned(Input::Load(load)))
    }

    fn entries(path: &Path) -> Vec<Entry<'static>> {
        let bytes = std::fs::read(path).unwrap();
        let entries = Decoder::new(&bytes).unwrap();
        entries.collect::<Result<_, _>>().unwrap()
    }

    /// Records `count` entries, in a file of at most `limit` bytes.
    fn recorded(path: &Path, limit: u64, count: u16) -> Vec<Entry<'static>> {
        let target = Target {
            path: path.to_owned(),
            limit,
        };
        let (mut tap, recorder) = target.create().unwrap().start().unwrap();
        (0..count).for_each(|number| tap.entry(&load(number)));
        tap.finish();
        drop(tap);
        recorder.finish();
        entries(path)
    }

    #[test]
    fn record_has_all_entries_in_order_and_its_end() {
        let dir = dir("whole");
        let path = dir.join("run");
        let mut expected: Vec<_> = (0..1_000).map(load).collect();
        expected.push(Entry::End(End::Stopped));
        assert_eq!(recorded(&path, 1 << 20, 1_000), expected);
        // One earlier file is kept.
        assert_eq!(recorded(&path, 1 << 20, 1).len(), 2);
        assert_eq!(entries(&dir.join("run.old")), expected);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn full_record_ends_with_a_note_within_its_limit() {
        let dir = dir("full");
        let path = dir.join("run");
        let found = recorded(&path, 2_000, 10_000);
        assert_eq!(found.last(), Some(&Entry::End(End::Limit)));
        assert!(std::fs::metadata(&path).unwrap().len() <= 2_000);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn pulse_that_finds_no_empty_chunk_ends_the_record_and_goes_on() {
        let shared = Arc::new(Shared {
            chunk: Mutex::new(Chunk::new()),
            ended: AtomicBool::new(false),
        });
        let mut tap = Tap {
            encoder: Encoder::default(),
            chunk: Chunk::new(),
            over: false,
            shared: Arc::clone(&shared),
        };
        // No thread writes, and a thread without a processor holds the lock.
        let held = shared.lock();
        while !tap.over {
            tap.entry(&load(7));
        }
        let used = tap.chunk.used;
        tap.entry(&load(8));
        assert_eq!(tap.chunk.used, used);
        drop(held);
        assert!(tap.hand_over());
        let mut bytes = record::header().to_vec();
        bytes.extend_from_slice(shared.lock().filled());
        let last = Decoder::new(&bytes).unwrap().last();
        assert_eq!(last, Some(Ok(Entry::End(End::Lost))));
    }
}
