//! The stressors: child processes that load the machine from one instant to another.
//!
//! Each ends by itself at its end, with or without the process that started it: the kernel kills it
//! with its parent, and after a limit of CPU time.

use std::{
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    num::NonZero,
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    ptr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous, munmap},
        prctl::set_timerslack,
        resource::{Resource, setrlimit},
    },
    unistd::{Pid, SysconfVar, sysconf},
};
use serde::{Deserialize, Serialize};

use super::super::children::{compute, spawn};
use crate::{
    sys::{self, Ticker, boottime},
    wait::wait_until,
};

/// What one round of a writer writes before it calls fsync.
const BLOCK: usize = 64 << 10;
/// The length of the file of a writer.
const FILE: u64 = 4 << 20;
/// The time that a stressor may exceed its end.
const GRACE: Duration = Duration::from_secs(2);
/// The longest wait for the end of a stressor, which may have starved.
const PATIENCE: Duration = Duration::from_secs(20);

/// Load of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stressor {
    /// Computes.
    Spin,
    /// Writes a file in `dir`, and has it written to the disk after each block.
    Write { dir: PathBuf },
    /// Maps this much memory, writes to each page of it, and unmaps it.
    Touch { bytes: usize },
    /// Computes as a SCHED_FIFO task.
    Hog { priority: u8 },
    /// Wakes up once a period.
    Timer { period: Duration },
}

/// A stressor, and its CPU if it has one of its own.
pub(super) type Placed = (Stressor, Option<usize>);

/// The order of a child process, which it gets as JSON in an argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    stressor: Stressor,
    /// The CPU to which the process is bound.
    cpu: Option<usize>,
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    from_ns: u64,
    until_ns: u64,
}

impl Work {
    /// Reads an order.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Does the work, and prints the number of its rounds.
    pub fn play(self) -> Result<()> {
        let length = Duration::from_nanos(self.until_ns.saturating_sub(self.from_ns));
        let seconds = (length + GRACE).as_secs() + 1;
        setrlimit(Resource::RLIMIT_CPU, seconds, seconds)
            .context("cannot limit the CPU time of a stressor")?;
        if let Some(cpu) = self.cpu {
            let mut set = CpuSet::new();
            set.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &set)
                .with_context(|| format!("cannot bind a stressor to CPU {cpu}"))?;
        }
        if let Stressor::Hog { priority } = self.stressor {
            ensure!(
                sys::fifo(priority),
                "SCHED_FIFO {priority} is refused: it needs root or CAP_SYS_NICE"
            );
        }
        sys::sleep_until(Boottime::from_nanos(self.from_ns));
        let rounds = self.rounds()?;
        println!("{rounds}");
        Ok(())
    }

    fn rounds(&self) -> Result<u64> {
        match &self.stressor {
            Stressor::Spin | Stressor::Hog { .. } => self.repeat(|| {
                compute();
                Ok(())
            }),
            Stressor::Write { dir } => self.write(dir),
            Stressor::Touch { bytes } => self.touch(*bytes),
            Stressor::Timer { period } => {
                set_timerslack(1).context("cannot set the slack of timers")?;
                let mut ticker = Ticker::new(*period);
                self.repeat(|| {
                    ticker.wait();
                    Ok(())
                })
            }
        }
    }

    /// Does `round` until the end, and counts.
    fn repeat(&self, mut round: impl FnMut() -> Result<()>) -> Result<u64> {
        let mut rounds = 0;
        while boottime().as_nanos() < self.until_ns {
            round()?;
            rounds += 1;
        }
        Ok(rounds)
    }

    fn write(&self, dir: &Path) -> Result<u64> {
        let path = dir.join(format!("stress-{}", process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let block = vec![0x5a; BLOCK];
        self.repeat(|| {
            if file.stream_position()? >= FILE {
                file.seek(SeekFrom::Start(0))?;
            }
            file.write_all(&block)?;
            Ok(file.sync_all()?)
        })
    }

    fn touch(&self, bytes: usize) -> Result<u64> {
        let length = NonZero::new(bytes).context("no memory to touch")?;
        let page = sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?;
        let page = usize::try_from(page)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        self.repeat(|| {
            // SAFETY: the mapping is new, at an address that the kernel chooses. It is written
            // within its length only, and nothing points to it once it is unmapped.
            unsafe {
                let start = mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE)?;
                for offset in (0..bytes).step_by(page) {
                    ptr::write_volatile(start.as_ptr().cast::<u8>().add(offset), 1);
                }
                munmap(start, bytes)?;
            }
            Ok(())
        })
    }
}

/// The running stressors of a rung. They are killed on drop.
#[derive(Debug)]
pub(super) struct Stress {
    children: Vec<(Stressor, Child)>,
    until: Boottime,
}

impl Stress {
    /// Starts processes that work from `from` to `until`.
    pub(super) fn start(placed: Vec<Placed>, from: Boottime, until: Boottime) -> Result<Self> {
        let mut stress = Self {
            children: Vec::new(),
            until,
        };
        for (stressor, cpu) in placed {
            let work = Work {
                stressor,
                cpu,
                from_ns: from.as_nanos(),
                until_ns: until.as_nanos(),
            };
            let order = serde_json::to_string(&work).context("cannot write an order")?;
            let child = spawn(&["--stress", &order], Stdio::null(), Stdio::piped())
                .with_context(|| format!("cannot start the stressor {:?}", work.stressor))?;
            stress.children.push((work.stressor, child));
        }
        Ok(stress)
    }

    /// Fails if a stressor ended before its end: the machine was less busy than it should have
    /// been.
    pub(super) fn check(&mut self) -> Result<()> {
        let until = self.until;
        for (stressor, child) in &mut self.children {
            let status = child.try_wait()?;
            ensure!(
                status.is_none() || boottime() >= until,
                "the stressor {stressor:?} ended early ({status:?})"
            );
        }
        Ok(())
    }

    /// Waits for the end of all stressors, and returns the number of rounds of all together.
    pub(super) fn finish(mut self) -> Result<u64> {
        let mut rounds = 0;
        for (stressor, child) in &mut self.children {
            let mut status = None;
            wait_until(PATIENCE, "a stressor ends", || {
                status = child.try_wait()?;
                Ok(status.is_some())
            })?;
            let ended = status.context("a stressor did not end")?;
            ensure!(
                ended.success(),
                "the stressor {stressor:?} failed ({ended})"
            );
            let mut text = String::new();
            let mut pipe = child.stdout.take().context("a stressor has no output")?;
            pipe.read_to_string(&mut text)?;
            let count = text.trim().parse::<u64>();
            rounds += count.with_context(|| format!("{stressor:?} printed {text:?}"))?;
        }
        Ok(rounds)
    }
}

impl Drop for Stress {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // They fail only for a child that has been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(stressor: Stressor, length: Duration) -> Work {
        let now = boottime();
        Work {
            stressor,
            cpu: None,
            from_ns: now.as_nanos(),
            until_ns: now.after(length).as_nanos(),
        }
    }

    #[test]
    fn order_survives_the_command_line() {
        let order = work(
            Stressor::Write {
                dir: "/tmp/a b".into(),
            },
            Duration::from_secs(1),
        );
        let read = Work::parse(&serde_json::to_string(&order).unwrap()).unwrap();
        assert_eq!(read.stressor, order.stressor);
        assert_eq!(
            (read.from_ns, read.until_ns),
            (order.from_ns, order.until_ns)
        );
        assert!(Work::parse("{}").is_err());
    }

    #[test]
    fn stressor_whose_end_has_passed_does_nothing() {
        for stressor in [Stressor::Spin, Stressor::Touch { bytes: 4096 }] {
            let late = work(stressor, Duration::ZERO);
            assert_eq!(late.rounds().unwrap(), 0, "{late:?}");
        }
    }

    #[test]
    fn stressor_works_until_its_end() {
        let touch = work(
            Stressor::Touch { bytes: 64 << 10 },
            Duration::from_millis(20),
        );
        assert!(touch.rounds().unwrap() > 0);
        assert!(boottime().as_nanos() >= touch.until_ns);
    }
}
