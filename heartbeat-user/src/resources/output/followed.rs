//! One file of output, which is read as it grows.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use nix::fcntl::{FallocateFlags, fallocate};

use super::{POSITION, TAIL, allowance::Allowance, lines::Lines, sink::Sink};

/// Limit for unread bytes. Beyond it most are skipped: a faster writer adds little news.
pub(super) const MOST_UNREAD: u64 = 256 << 10;
/// Bytes that are still read of them.
const READ_OF_MUCH: u64 = 64 << 10;
/// Size of a page: the kernel frees whole ones.
const PAGE: u64 = 4096;

#[derive(Debug)]
pub(super) struct Followed {
    resource: String,
    file: File,
    inode: u64,
    /// Number of bytes read so far, including those of an unfinished line.
    read: u64,
    /// The stored position.
    stored: u64,
    freed: u64,
    note: PathBuf,
    lines: Lines,
    allowance: Allowance,
}

impl Followed {
    /// Opens the file at `path`, at the position where an earlier agent stopped.
    pub(super) fn open(resource: &str, path: &Path, now: Instant) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let inode = file.metadata()?.ino();
        let note = path.with_file_name(format!("{resource}.{POSITION}"));
        let read = stored(&note, inode).unwrap_or(0);
        Ok(Self {
            resource: resource.to_owned(),
            file,
            inode,
            read,
            stored: read,
            freed: 0,
            note,
            lines: Lines::default(),
            allowance: Allowance::new(now),
        })
    }

    /// Whether the file at `path` is still the same.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.ino() == self.inode)
    }

    /// Forwards new lines. Returns the number of new bytes.
    pub(super) fn forward(&mut self, sink: &Sink, now: Instant) -> io::Result<u64> {
        let end = self.file.metadata()?.len();
        if end < self.read {
            // The program has truncated the file.
            (self.read, self.freed) = (0, 0);
        }
        let unread = end - self.read;
        if unread > MOST_UNREAD {
            self.lines = Lines::default();
            self.allowance.skipped(unread - READ_OF_MUCH);
            self.read = end - READ_OF_MUCH;
        }
        let mut buffer = [0; 16 << 10];
        while self.read < end {
            let room = usize::try_from(end - self.read).unwrap_or(usize::MAX);
            let room = room.min(buffer.len());
            let count = self.file.read_at(&mut buffer[..room], self.read)?;
            if count == 0 {
                break;
            }
            self.read += count as u64;
            let (resource, allowance) = (&self.resource, &mut self.allowance);
            self.lines.push(&buffer[..count], |line| {
                put(sink, resource, allowance, line, now);
            });
        }
        self.free()?;
        self.report_dropped(now, false);
        self.store_position();
        Ok(unread)
    }

    /// Forwards the unfinished line, too.
    pub(super) fn flush(&mut self, sink: &Sink, now: Instant) {
        let (resource, allowance) = (&self.resource, &mut self.allowance);
        self.lines
            .flush(|line| put(sink, resource, allowance, line, now));
        self.store_position();
    }

    /// Forwards all remaining lines of a file that no longer grows.
    pub(super) fn close(mut self, sink: &Sink, now: Instant) {
        // An unreadable rest is given up: the next run has a file of its own.
        let _ = self.forward(sink, now);
        self.flush(sink, now);
        self.report_dropped(now, true);
    }

    /// Whether an unfinished line or a report waits, even if the file does not grow.
    pub(super) fn waits(&self) -> bool {
        self.lines.waiting() > 0 || self.allowance.has_report()
    }

    pub(super) fn report_dropped(&mut self, now: Instant, at_once: bool) {
        if let Some(report) = self.allowance.report(now, at_once) {
            log::warn!("resource {}: {report}", self.resource);
        }
    }

    /// Frees the space of the forwarded part except its tail; the program continues to append.
    fn free(&mut self) -> io::Result<()> {
        let until = self.read.saturating_sub(TAIL) / PAGE * PAGE;
        if until <= self.freed {
            return Ok(());
        }
        let length = libc::off_t::try_from(until - self.freed).map_err(io::Error::other)?;
        let from = libc::off_t::try_from(self.freed).map_err(io::Error::other)?;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if fallocate(&self.file, hole, from, length).is_ok() {
            self.freed = until;
        } else if self.read > MOST_UNREAD {
            // This file system has no holes. Bytes written at this moment may be lost.
            self.file.set_len(0)?;
            (self.read, self.freed) = (0, 0);
        }
        Ok(())
    }

    /// Stores the forwarded position for the next agent.
    fn store_position(&mut self) {
        let done = self.read - self.lines.waiting() as u64;
        if done != self.stored && fs::write(&self.note, format!("{} {done}\n", self.inode)).is_ok()
        {
            self.stored = done;
        }
    }
}

fn put(sink: &Sink, resource: &str, allowance: &mut Allowance, line: &[u8], now: Instant) {
    if allowance.take(now) && !sink.put(resource, line) {
        allowance.lost();
    }
}

/// Returns the stored position of the file with this inode.
fn stored(note: &Path, inode: u64) -> Option<u64> {
    let text = fs::read_to_string(note).ok()?;
    let (of, position) = text.trim_end().split_once(' ')?;
    (of.parse() == Ok(inode)).then(|| position.parse().ok())?
}
