//! The lines that wait for the writing thread.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::errno::Errno;

use super::lost_lines;

/// Limit for waiting lines: several times the burst of a cluster of the largest size.
const CAPACITY: usize = 4096;

/// Number of lines lost since the last written one, and the reason for the latest.
pub(super) type Lost = Option<(u64, Errno)>;

/// The end of the lines' way.
pub(super) trait Target {
    /// Writes a line.
    fn put(&mut self, line: &[u8]) -> nix::Result<()>;

    fn lost(&mut self) -> &mut Lost;

    /// Writes a line after a line about lost ones, or counts it as lost.
    fn write(&mut self, line: impl AsRef<[u8]>) {
        let written = match *self.lost() {
            Some((lost, why)) => self.put(&lost_lines(lost, why)),
            None => Ok(()),
        };
        let written = written.and_then(|()| {
            *self.lost() = None;
            self.put(line.as_ref())
        });
        if let Err(why) = written {
            let lost = self.lost().map_or(0, |(lost, _)| lost);
            *self.lost() = Some((lost + 1, why));
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signals that a line waits, or that all are written.
    turn: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Number of lines lost since the last one that found room.
    lost: u64,
    /// Whether the thread is writing a line.
    busy: bool,
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(target: impl Target + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let queue = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_all(target))?;
        Ok(queue)
    }

    /// Queues a line without waiting for its writing.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut waiting = self.0.lock();
        if waiting.lines.len() >= CAPACITY {
            waiting.lost += 1;
            return;
        }
        let lost = std::mem::take(&mut waiting.lost);
        if lost > 0 {
            waiting.lines.push_back(lost_lines(lost, Errno::EAGAIN));
        }
        waiting.lines.push_back(line);
        drop(waiting);
        self.0.turn.notify_all();
    }

    /// Waits until all lines are written, no longer than `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        let waiting = self.0.lock();
        let unwritten = |waiting: &mut Waiting| waiting.busy || !waiting.lines.is_empty();
        drop(self.0.turn.wait_timeout_while(waiting, patience, unwritten));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The value is valid at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut target: impl Target) {
        loop {
            let mut waiting = self.lock();
            waiting.busy = false;
            self.turn.notify_all();
            let line = loop {
                if let Some(line) = waiting.lines.pop_front() {
                    break line;
                }
                let woken = self.turn.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            };
            waiting.busy = true;
            drop(waiting);
            target.write(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, pipe},
        time::Instant,
    };

    use super::{super::stream::Stream, *};

    #[test]
    fn hanging_reader_delays_no_caller_and_lost_lines_are_counted() {
        let (reader, writer) = pipe().unwrap();
        let queue = Queue::start(Stream::new(writer)).unwrap();
        let line = |number: usize| format!("{number} {}\n", "a".repeat(990));
        // A pipe holds 64 KiB.
        let many = CAPACITY + 2_000;
        let start = Instant::now();
        for number in 0..many {
            queue.push(line(number).into_bytes());
        }
        queue.finish(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(5));

        // Some lines find room later, as the thread fills the pipe. Before each of those the log
        // gives the number of lost ones.
        let mut next = 0;
        let mut account = |shown: &str| match shown.split_once(" lines of this log were lost here")
        {
            Some((before, _)) => {
                let lost = before.split_whitespace().last().unwrap();
                next += lost.parse::<usize>().unwrap();
            }
            None => {
                assert_eq!(format!("{shown}\n"), line(next));
                next += 1;
            }
        };
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        lines
            .by_ref()
            .take(CAPACITY)
            .for_each(|shown| account(&shown));
        queue.push(b"there is room again\n".to_vec());
        let last = lines.find(|shown| {
            let is_last = shown == "there is room again";
            if !is_last {
                account(shown);
            }
            is_last
        });
        assert!(last.is_some());
        assert_eq!(next, many);
    }
}
