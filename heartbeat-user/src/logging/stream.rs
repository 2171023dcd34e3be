//! Writes whole lines, and counts those that could not be written.

use std::{os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::write,
};

use super::queue::{Lost, Target};

/// Time to wait for room after `limit_wait`.
const MOMENT: Duration = Duration::from_millis(100);
/// Bytes that fit for sure where a pipe or a socket reports room (`PIPE_BUF`, pipe(7)).
const PART: usize = 4096;

#[derive(Debug)]
pub(super) struct Stream<F> {
    to: F,
    limit_wait: bool,
    lost: Lost,
    /// Whether the last line was written in part.
    torn: bool,
}

impl<F: AsFd> Stream<F> {
    pub(super) const fn new(to: F) -> Self {
        Self {
            to,
            limit_wait: false,
            lost: None,
            torn: false,
        }
    }

    /// Limits each later wait for room to a moment; after a wait in vain there is none.
    pub(super) fn limit_wait(&mut self) {
        self.limit_wait = true;
    }

    /// Waits for room without a limit.
    pub(super) fn without_limit(self) -> Self {
        Self {
            limit_wait: false,
            ..self
        }
    }

    fn put_part(&mut self, mut part: &[u8]) -> nix::Result<()> {
        while !part.is_empty() {
            if self.limit_wait {
                self.wait_for_room()?;
            }
            match write(&self.to, part) {
                Ok(len) => {
                    self.torn = true;
                    part = &part[len..];
                }
                Err(Errno::EINTR) => {}
                // Another process that shares the file has made its writes non-blocking.
                Err(Errno::EAGAIN) => self.wait_for_room()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self) -> nix::Result<()> {
        let patience = match self.lost {
            _ if !self.limit_wait => PollTimeout::NONE,
            Some(_) => PollTimeout::ZERO,
            None => MOMENT.try_into().unwrap_or(PollTimeout::MAX),
        };
        loop {
            match poll(
                &mut [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)],
                patience,
            ) {
                Ok(0) => return Err(Errno::EAGAIN),
                Err(Errno::EINTR) => {}
                // A closed reader counts as room: the write then fails.
                other => return other.map(drop),
            }
        }
    }
}

impl<F: AsFd> Target for Stream<F> {
    fn put(&mut self, line: &[u8]) -> nix::Result<()> {
        if self.torn {
            self.put_part(b"\n")?;
            self.torn = false;
        }
        for part in line.chunks(PART) {
            self.put_part(part)?;
        }
        self.torn = false;
        Ok(())
    }

    fn lost(&mut self) -> &mut Lost {
        &mut self.lost
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::OpenOptions,
        io::{Read as _, Write as _, pipe},
        time::Instant,
    };

    use super::*;

    #[test]
    fn limited_wait_ends_with_a_hanging_reader_and_counts_lost_lines() {
        let (mut reader, writer) = pipe().unwrap();
        let mut stream = Stream::new(writer);
        stream.limit_wait();
        let line = "a".repeat(999) + "\n";
        let start = Instant::now();
        // The lines exceed the capacity of a pipe by far.
        for _ in 0..1_000 {
            stream.write(&line);
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        let (lost, why) = stream.lost.unwrap();
        assert_eq!(why, Errno::EAGAIN);
        let written = 1_000 - lost;
        assert!(written > 0);
        let mut read = vec![0; line.len() * written as usize];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|one| one == line.as_bytes()));

        stream.write("there is room again\n");
        drop(stream);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let told = format!("{lost} lines of this log were lost here: the reader");
        let lines: Vec<&str> = rest.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].contains(&told) && lines[1] == "there is room again",
            "{rest}"
        );
    }

    #[test]
    fn closed_reader_and_full_disk_are_no_error() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut stream = Stream::new(writer);
        stream.write("nobody reads this\n");
        stream.write("nor this\n");
        assert_eq!(stream.lost, Some((2, Errno::EPIPE)));

        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut stream = Stream::new(full);
        stream.write("one\n");
        assert_eq!(stream.lost, Some((1, Errno::ENOSPC)));
    }

    #[test]
    fn nonblocking_pipe_is_waited_for() {
        let (mut reader, writer) = pipe().unwrap();
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
        let read = std::thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all.lines().count()
        });
        let mut stream = Stream::new(writer);
        for _ in 0..10_000 {
            stream.write("a line of some length, so that all are more than a pipe takes\n");
        }
        assert_eq!(stream.lost, None);
        drop(stream);
        assert_eq!(read.join().unwrap(), 10_000);
    }

    #[test]
    fn partial_line_is_ended_before_the_next() {
        let (mut reader, writer) = pipe().unwrap();
        let mut stream = Stream::new(writer.try_clone().unwrap());
        stream.write("whole\n");
        (&writer).write_all(b"half").unwrap();
        drop(writer);
        (stream.torn, stream.lost) = (true, Some((1, Errno::ENOSPC)));
        stream.write("next\n");
        drop(stream);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(
            (lines[0], lines[1], lines[3]),
            ("whole", "half", "next"),
            "{all}"
        );
        assert!(lines[2].contains("1 lines of this log were lost"), "{all}");
    }
}
