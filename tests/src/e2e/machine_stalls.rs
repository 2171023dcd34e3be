//! How long this machine stood still while a test measured time.
//!
//! Hosts of virtual machines withhold a processor for tens of milliseconds now and then, and two
//! test programs share two processors. A bound on what the product may take is widened by what this
//! watch measured, and by nothing else.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use heartbeat_common::time::Boottime;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::sys::{boottime, realtime};

/// How often each processor is asked for.
const PERIOD: Duration = Duration::from_millis(2);
/// A shorter delay is the ordinary work of a scheduler.
const COUNTS: Duration = Duration::from_millis(4);

/// For how long after a standstill its consequences may be seen.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Threads, one for each processor, that note when they were scheduled late.
#[derive(Debug)]
pub struct MachineStalls {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    /// When each ended, and how long it was.
    seen: Mutex<Vec<(Boottime, Duration)>>,
}

impl MachineStalls {
    /// Watches by threads of ordinary priority: what clients and services of the rig feel.
    pub fn begin() -> Result<Self> {
        Self::watch(|| ())
    }

    /// Watches by real-time threads: what even an agent's pulse feels, which no ordinary load delays.
    pub fn of_the_machine() -> Result<Self> {
        Self::watch(|| {
            // Refused, the thread notes more than it should, and `rig_runs` has asked for root.
            realtime();
        })
    }

    fn watch(prepare: fn()) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let cpus = thread::available_parallelism()?.get();
        let watch = |cpu| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("standstill{cpu}"));
            thread.spawn(move || {
                prepare();
                watch(cpu, &shared);
            })
        };
        let threads = (0..cpus).map(watch).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Whether what happened at `at` may come of a standstill.
    pub fn explain(&self, at: Boottime) -> bool {
        let seen = self.shared.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .any(|(ended, late)| at >= ended.before(*late + PERIOD) && at <= ended.after(AFTERMATH))
    }

    /// For how long in all some processor was withheld since `from`, up to now.
    pub fn since(&self, from: Boottime) -> Duration {
        let seen = self.shared.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner);
        let later = seen.iter().filter(|(ended, _)| *ended > from);
        later.map(|(_, late)| *late).sum()
    }
}

impl Drop for MachineStalls {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has measured nothing, which widens no bound.
            let _ = thread.join();
        }
    }
}

fn watch(cpu: usize, shared: &Shared) {
    let mut only = CpuSet::new();
    // A processor that may not be used is not watched, but for where the scheduler puts this thread.
    let _ = only
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
    while !shared.ends.load(Ordering::Relaxed) {
        let due = boottime().after(PERIOD);
        thread::sleep(PERIOD);
        let now = boottime();
        let late = now.since(due);
        if late >= COUNTS {
            let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have begun right after the thread went to sleep.
            seen.push((now, late + PERIOD));
        }
    }
}
