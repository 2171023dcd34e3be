//! The thread that forwards the output of programs.
//!
//! The thread has ordinary priority, and no other waits for it: a program that writes without end
//! delays nothing else.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, PipeReader, PipeWriter, pipe},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};

use super::{
    OUTPUT,
    followed::{Followed, MOST_UNREAD},
    make,
    sink::Sink,
};

/// Pause between two reads while programs write.
const PAUSE: Duration = Duration::from_millis(50);
/// Time after which an unfinished line is forwarded and dropped lines are reported, in
/// milliseconds.
const PATIENCE: u16 = 1000;

/// The running thread. When this value drops, the thread forwards all remaining output and ends: at
/// the end of the agent, or of a failed start.
#[derive(Debug)]
pub struct Forwarder {
    dir: PathBuf,
    /// Closing this pipe ends the thread.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Forwards the files in `dir`, from the positions where an earlier agent stopped.
    pub fn start(dir: &Path) -> io::Result<Self> {
        Self::start_to(dir, Sink::new())
    }

    fn start_to(dir: &Path, sink: Sink) -> io::Result<Self> {
        make(dir)?;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        watch.add_watch(dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY)?;
        let (ending, end) = pipe()?;
        let mut following = Following {
            dir: dir.to_owned(),
            sink,
            files: BTreeMap::new(),
        };
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || following.run(&watch, &ending))?;
        Ok(Self {
            dir: dir.to_owned(),
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.end.take());
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the thread that forwards the output of resources had panicked");
        }
        // The directory stays while it has files: output of running programs and of failures.
        let _ = fs::remove_dir(&self.dir);
    }
}

struct Following {
    dir: PathBuf,
    sink: Sink,
    /// The files by resource name.
    files: BTreeMap<String, Followed>,
}

impl Following {
    fn run(&mut self, watch: &Inotify, ending: &PipeReader) {
        loop {
            let most = self.forward_all();
            if is_ended(ending) {
                self.forward_all();
                return self.report_all();
            }
            match most {
                0 => self.wait(watch, ending),
                // Without a pause, since the file would grow faster than it is freed.
                most if most > MOST_UNREAD => {}
                _ => thread::sleep(PAUSE),
            }
        }
    }

    /// Forwards all new output. Returns the most bytes of any one resource.
    fn forward_all(&mut self) -> u64 {
        let now = Instant::now();
        self.find(now);
        let mut most = 0;
        for (resource, file) in &mut self.files {
            match file.forward(&self.sink, now) {
                Ok(came) => most = most.max(came),
                Err(error) => log::debug!("the output of {resource} cannot be read: {error}"),
            }
        }
        most
    }

    /// Opens new files, and closes those that they replaced.
    fn find(&mut self, now: Instant) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let resource = path.file_stem().and_then(OsStr::to_str);
            let (Some(resource), true) = (resource, path.extension() == Some(OsStr::new(OUTPUT)))
            else {
                continue;
            };
            if self
                .files
                .get(resource)
                .is_some_and(|file| file.is_at(&path))
            {
                continue;
            }
            if let Some(old) = self.files.remove(resource) {
                old.close(&self.sink, now);
            }
            match Followed::open(resource, &path, now) {
                Ok(file) => drop(self.files.insert(resource.to_owned(), file)),
                Err(error) => log::debug!("cannot open {}: {error}", path.display()),
            }
        }
    }

    /// Waits for new output, or for the end.
    fn wait(&mut self, watch: &Inotify, ending: &PipeReader) {
        let waits = self.files.values().any(Followed::waits);
        let patience = match waits {
            true => PollTimeout::from(PATIENCE),
            false => PollTimeout::NONE,
        };
        let mut fds = [
            PollFd::new(watch.as_fd(), PollFlags::POLLIN),
            PollFd::new(ending.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, patience) {
            Ok(0) => {
                let now = Instant::now();
                for file in self.files.values_mut() {
                    file.flush(&self.sink, now);
                    file.report_dropped(now, false);
                }
            }
            // The events' content does not matter: all files are read.
            Ok(_) => while watch.read_events().is_ok() {},
            Err(Errno::EINTR) => {}
            Err(_) => thread::sleep(PAUSE),
        }
    }

    fn report_all(&mut self) {
        let now = Instant::now();
        self.files
            .values_mut()
            .for_each(|file| file.report_dropped(now, true));
    }
}

/// Whether the other side of the pipe is closed.
fn is_ended(ending: &PipeReader) -> bool {
    let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, OpenOptions},
        io::Write as _,
        os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A directory of output, and a journal beside it.
    struct Host {
        dir: PathBuf,
        journal: UnixDatagram,
    }

    impl Host {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir();
            let dir = dir.join(format!("heartbeat-output-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let journal = UnixDatagram::bind(dir.join("journal")).unwrap();
            journal.set_read_timeout(Some(LIMIT)).unwrap();
            Self { dir, journal }
        }

        fn output(&self) -> PathBuf {
            self.dir.join("output")
        }

        /// Opens a file as the helper does for a program.
        fn file(&self, resource: &str) -> File {
            fs::create_dir_all(self.output()).unwrap();
            let path = self.output().join(format!("{resource}.log"));
            let _ = fs::remove_file(&path);
            let mut options = OpenOptions::new();
            options.append(true).create_new(true).open(path).unwrap()
        }

        fn start(&self) -> Forwarder {
            let sink = Sink::journal(&self.dir.join("journal")).unwrap();
            Forwarder::start_to(&self.output(), sink).unwrap()
        }

        /// Returns the next line in the journal, with the name of its resource.
        fn line(&self) -> String {
            let mut entry = [0; 4096];
            let length = self.journal.recv(&mut entry).expect("a line");
            let entry = String::from_utf8_lossy(&entry[..length]).into_owned();
            let field = |name: &str| {
                let mut lines = entry.lines();
                lines
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap()
                    .to_owned()
            };
            format!("{}: {}", field("SYSLOG_IDENTIFIER="), field("MESSAGE="))
        }

        fn is_silent(&self) -> bool {
            self.journal.set_nonblocking(true).unwrap();
            let silent = self.journal.recv(&mut [0; 16]).is_err();
            self.journal.set_nonblocking(false).unwrap();
            silent
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    fn directory_is_removed_at_the_end_unless_it_has_output() {
        let host = Host::new("end");
        drop(host.start());
        assert!(!host.output().exists(), "an empty directory was left");
        drop(host.file("db"));
        drop(host.start());
        assert!(host.output().join("db.log").exists());
    }

    #[test]
    fn lines_are_forwarded_once_across_restarts_of_the_agent() {
        let host = Host::new("restart");
        let mut program = host.file("db");
        program.write_all(b"before\n").unwrap();
        let first = host.start();
        assert_eq!(host.line(), "db: before");
        program.write_all(b"while\nhal").unwrap();
        assert_eq!(host.line(), "db: while");
        drop(first);
        // Without a reader the program continues.
        program.write_all(b"f\nmeanwhile\n").unwrap();
        let second = host.start();
        assert_eq!([host.line(), host.line()], ["db: half", "db: meanwhile"]);
        drop(second);
        assert!(host.is_silent());
    }

    #[test]
    fn line_without_an_end_and_a_new_run_are_forwarded() {
        let host = Host::new("runs");
        let forwarder = host.start();
        let mut program = host.file("db");
        program.write_all(b"no newline").unwrap();
        assert_eq!(host.line(), "db: no newline");
        program.write_all(b"fatal").unwrap();
        let mut next = host.file("db");
        let mut other = host.file("web");
        next.write_all(b"again\n").unwrap();
        let mut lines = [host.line(), host.line()];
        lines.sort();
        assert_eq!(lines, ["db: again", "db: fatal"]);
        other.write_all(b"hello\n").unwrap();
        assert_eq!(host.line(), "web: hello");
        drop(forwarder);
        assert!(host.is_silent());
    }

    #[test]
    fn flooding_program_is_not_blocked_and_uses_little_space() {
        let host = Host::new("flood");
        let forwarder = host.start();
        let mut program = host.file("db");
        let block: String = (0..1000).map(|n| format!("line {n} of much\n")).collect();
        for _ in 0..2000 {
            program.write_all(block.as_bytes()).unwrap();
        }
        let written = program.metadata().unwrap().len();
        let room = || program.metadata().unwrap().blocks() * 512;
        let until = Instant::now() + LIMIT;
        while room() > MOST_UNREAD {
            assert!(
                Instant::now() < until,
                "{} of {written} bytes are kept",
                room()
            );
            thread::sleep(PAUSE);
        }
        drop(forwarder);
        // The last lines stay, whatever was freed.
        let outputs = super::super::Outputs::new(host.output());
        let last = outputs.last_lines("db");
        assert_eq!(last.last().unwrap(), "line 999 of much");
    }
}
