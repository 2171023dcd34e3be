//! Stalls of this machine while a test measures time.
//!
//! Hosts of virtual machines withhold a CPU for tens of milliseconds now and then, and two test
//! programs share two CPUs. The measured stalls, and nothing else, widen the bounds of a test.

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

/// The period of the threads.
const PERIOD: Duration = Duration::from_millis(2);
/// The shortest delay that counts: a scheduler makes shorter ones.
const COUNTS: Duration = Duration::from_millis(4);

/// The time after a stall in which its consequences may follow.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Threads, one for each CPU, that record when they were scheduled late.
#[derive(Debug)]
pub struct MachineStalls {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    /// The end of each stall, and its length.
    seen: Mutex<Vec<(Boottime, Duration)>>,
}

impl MachineStalls {
    /// Watches with ordinary priority, like that of clients and services of the rig.
    pub fn begin() -> Result<Self> {
        Self::watch(|| ())
    }

    /// Watches with real-time priority: stalls that ordinary load does not cause, and that delay
    /// even a pulse.
    pub fn of_the_machine() -> Result<Self> {
        Self::watch(|| {
            // Without real-time priority the thread records too much. The tests run as root, which
            // has it.
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

    /// Whether an event at `at` may be the consequence of a stall.
    pub fn explain(&self, at: Boottime) -> bool {
        let seen = self.shared.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .any(|(ended, late)| at >= ended.before(*late + PERIOD) && at <= ended.after(AFTERMATH))
    }

    /// The sum of all stalls since `from`.
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
            // A thread that panicked has measured nothing, which widens no bound.
            let _ = thread.join();
        }
    }
}

fn watch(cpu: usize, shared: &Shared) {
    let mut only = CpuSet::new();
    // If the CPU may not be used, the thread runs where the scheduler puts it.
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
            // The stall may have begun right after the thread went to sleep.
            seen.push((now, late + PERIOD));
        }
    }
}
