//! The rungs: which load the machine carries, and for how long.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::stress::{Placed, Stressor};

/// The length of a rung with SCHED_FIFO tasks on all CPUs. The rest of the machine gets 50 ms of
/// each second meanwhile.
const FIFO_LENGTH: Duration = Duration::from_secs(8);
/// The memory that a process maps, writes and unmaps in turn.
const MEMORY: usize = 128 << 20;
/// The period of the timers.
const TIMER_PERIOD: Duration = Duration::from_micros(100);

/// Load of one kind. The JSON's keys are these; names are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// No load
    Idle,
    /// Two busy loops a CPU, of ordinary priority
    Cpu,
    /// For each CPU four busy loops, two writers with fsync and one user of memory
    CpuIoVm,
    /// One busy loop a CPU with SCHED_FIFO 50, the priority of threaded interrupts
    #[value(name = "fifo-50")]
    #[serde(rename = "fifo-50")]
    Fifo50,
    /// One busy loop a CPU with SCHED_FIFO 99, the highest priority
    #[value(name = "fifo-99")]
    #[serde(rename = "fifo-99")]
    Fifo99,
    /// One timer a CPU that fires 10,000 times a second
    Timers,
}

impl Rung {
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Cpu,
        Self::CpuIoVm,
        Self::Fifo50,
        Self::Fifo99,
        Self::Timers,
    ];

    /// The stressors on a machine with that many CPUs. Files are written to `dir`.
    pub(super) fn stressors(self, cpus: usize, dir: &Path) -> Vec<Placed> {
        let anywhere = |stressor: Stressor, per_cpu: usize| vec![(stressor, None); per_cpu * cpus];
        let on_each = |stressor: Stressor| {
            let placed = (0..cpus).map(|cpu| (stressor.clone(), Some(cpu)));
            placed.collect::<Vec<_>>()
        };
        match self {
            Self::Idle => Vec::new(),
            Self::Cpu => anywhere(Stressor::Spin, 2),
            Self::CpuIoVm => {
                let write = Stressor::Write {
                    dir: dir.to_owned(),
                };
                let mut all = anywhere(Stressor::Spin, 4);
                all.extend(anywhere(write, 2));
                all.extend(anywhere(Stressor::Touch { bytes: MEMORY }, 1));
                all
            }
            Self::Fifo50 => on_each(Stressor::Hog { priority: 50 }),
            Self::Fifo99 => on_each(Stressor::Hog { priority: 99 }),
            Self::Timers => on_each(Stressor::Timer {
                period: TIMER_PERIOD,
            }),
        }
    }

    /// The length of this rung, where others last for `length`.
    pub(super) fn length(self, length: Duration) -> Duration {
        if self.is_fifo() { FIFO_LENGTH } else { length }
    }

    /// Whether SCHED_FIFO tasks take all CPUs.
    pub(super) fn is_fifo(self) -> bool {
        matches!(self, Self::Fifo50 | Self::Fifo99)
    }

    /// For the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Cpu => "2 busy loops a CPU",
            Self::CpuIoVm => "4 busy loops, 2 fsync writers, 1 user of memory a CPU",
            Self::Fifo50 => "1 busy loop of SCHED_FIFO 50 a CPU",
            Self::Fifo99 => "1 busy loop of SCHED_FIFO 99 a CPU",
            Self::Timers => "1 timer at 10 kHz a CPU",
        }
    }
}

/// Fails if the kernel lets real-time tasks take all the time of a CPU: the FIFO rungs would stop
/// the whole machine.
pub(super) fn check_throttling() -> Result<()> {
    let read = |name: &str| -> Result<i64> {
        let path = format!("/proc/sys/kernel/{name}");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let number = text.trim().parse();
        number.with_context(|| format!("{path} holds no number: {text:?}"))
    };
    let (runtime, period) = (read("sched_rt_runtime_us")?, read("sched_rt_period_us")?);
    ensure!(
        is_throttled(runtime, period),
        "real-time tasks may take all CPU time (sched_rt_runtime_us is {runtime}, \
         sched_rt_period_us is {period}): the ladder would stop this machine. \
         Set it with `sysctl kernel.sched_rt_runtime_us=950000`"
    );
    Ok(())
}

/// Whether the kernel keeps a part of each period for ordinary tasks. A runtime of -1 is no limit.
fn is_throttled(runtime: i64, period: i64) -> bool {
    (0..period).contains(&runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_without_a_limit_is_not_throttled() {
        assert!(is_throttled(950_000, 1_000_000));
        assert!(is_throttled(0, 1_000_000));
        assert!(!is_throttled(-1, 1_000_000));
        assert!(!is_throttled(1_000_000, 1_000_000));
    }

    #[test]
    fn rung_of_fifo_tasks_has_one_on_each_cpu() {
        let placed = Rung::Fifo99.stressors(3, Path::new("/nowhere"));
        let cpus: Vec<_> = placed.iter().map(|(_, cpu)| *cpu).collect();
        assert_eq!(cpus, [Some(0), Some(1), Some(2)]);
        let hog = Stressor::Hog { priority: 99 };
        assert!(placed.iter().all(|(stressor, _)| *stressor == hog));
    }

    #[test]
    fn rung_of_all_loads_has_eight_loops_four_writers_and_two_users_of_memory_on_two_cpus() {
        let placed = Rung::CpuIoVm.stressors(2, Path::new("/tmp"));
        let count = |wanted: fn(&Stressor) -> bool| {
            placed
                .iter()
                .filter(|(stressor, _)| wanted(stressor))
                .count()
        };
        assert_eq!(count(|s| matches!(s, Stressor::Spin)), 8);
        assert_eq!(count(|s| matches!(s, Stressor::Write { .. })), 4);
        assert_eq!(count(|s| matches!(s, Stressor::Touch { .. })), 2);
    }

    #[test]
    fn only_rungs_of_fifo_tasks_have_a_length_of_their_own() {
        let length = Duration::from_secs(3);
        for rung in Rung::ALL {
            let own = matches!(rung, Rung::Fifo50 | Rung::Fifo99);
            assert_eq!(rung.length(length) == length, !own, "{rung:?}");
        }
    }
}
