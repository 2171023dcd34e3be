//! Load for the CPUs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::program::Program;

/// Processes that never sleep. They end on drop.
#[derive(Debug)]
pub struct Spinners {
    _programs: Vec<Program>,
}

impl Spinners {
    /// Starts `per_cpu` processes for each CPU, with normal priority.
    pub fn start(per_cpu: usize) -> Result<Self> {
        let cpus = thread::available_parallelism()?.get();
        let spin = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]);
            command.stderr(Stdio::null());
            Program::start(None, command)
        };
        Ok(Self {
            _programs: (0..cpus * per_cpu).map(|_| spin()).collect::<Result<_>>()?,
        })
    }
}

/// Hogs: one process for each CPU that never sleeps, with a SCHED_FIFO priority. They end on drop,
/// and the kernel ends each after a limit of CPU time, whatever happens to this process.
#[derive(Debug)]
pub struct Hogs {
    programs: Vec<Program>,
}

impl Hogs {
    /// The name by which the kernel lists them.
    pub const NAME: &str = "hbrig-hog";

    /// Starts hogs of this priority. Their script is written to `dir`.
    pub fn start(dir: &Path, priority: u8, seconds: u64) -> Result<Self> {
        let script = dir.join(Self::NAME);
        fs::write(&script, "#!/bin/sh\nwhile :; do :; done\n")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let cpus = thread::available_parallelism()?.get();
        let hog = |_| {
            let mut command = Command::new("prlimit");
            command
                .arg(format!("--cpu={seconds}:{seconds}"))
                .args(["chrt", "--fifo", &priority.to_string()])
                .arg(&script);
            Program::start(None, command)
        };
        Ok(Self {
            programs: (0..cpus).map(hog).collect::<Result<_>>()?,
        })
    }

    /// Waits until all hogs have reached their limit.
    pub fn end(self, patience: Duration) -> Result<()> {
        for program in self.programs {
            program.end(patience)?;
        }
        Ok(())
    }
}

/// An ordinary thread that wakes each 10 ms, to measure for how long the kernel leaves ordinary
/// tasks no processor. It ends on drop.
#[derive(Debug)]
pub struct OrdinaryTask {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl OrdinaryTask {
    const PERIOD: Duration = Duration::from_millis(10);

    pub fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let run = move || {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !seen.load(Relaxed) {
                thread::sleep(Self::PERIOD);
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        };
        Self {
            ended,
            thread: Some(thread::spawn(run)),
        }
    }

    /// The longest time between two of its turns.
    pub fn longest_wait(mut self) -> Result<Duration> {
        self.ended.store(true, Relaxed);
        let thread = self.thread.take().map(JoinHandle::join);
        thread
            .and_then(Result::ok)
            .ok_or_else(|| anyhow!("the measuring thread panicked"))
    }
}

impl Drop for OrdinaryTask {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}
