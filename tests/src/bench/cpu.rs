//! The load of the machine during a phase.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

const STAT: &str = "/proc/stat";

/// Time that all CPUs together have spent so far, in the kernel's ticks (`man 5 proc_stat`).
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTime {
    total: u64,
    idle: u64,
    stolen: u64,
}

/// The use of the CPUs over a phase, in percent of all of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuUse {
    /// Anything but idle or waiting for a disk.
    pub busy_percent: f64,
    /// Taken by the hypervisor for other machines.
    pub stolen_percent: f64,
}

impl CpuTime {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string(STAT).with_context(|| format!("cannot read {STAT}"))?;
        Self::parse(&text).with_context(|| format!("{STAT} does not begin as it should"))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        // user nice system idle iowait irq softirq steal; guest time is part of user time.
        let fields: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?;
        let [_, _, _, idle, iowait, _, _, stolen] = fields.as_slice().try_into().ok()?;
        Some(Self {
            total: fields.iter().sum(),
            idle: idle + iowait,
            stolen,
        })
    }

    pub(super) fn until_now(self) -> Result<CpuUse> {
        let now = Self::now()?;
        let total = now.total.saturating_sub(self.total).max(1) as f64;
        let share = |ticks: u64| 100.0 * ticks as f64 / total;
        Ok(CpuUse {
            busy_percent: 100.0 - share(now.idle.saturating_sub(self.idle)),
            stolen_percent: share(now.stolen.saturating_sub(self.stolen)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let time = CpuTime::parse("cpu  10 1 20 300 5 0 4 7 2 0\ncpu0 1 2\n").unwrap();
        assert_eq!((time.total, time.idle, time.stolen), (347, 305, 7));
        assert!(CpuTime::parse("intr 1 2").is_none());
        assert!(CpuTime::parse("cpu  1 2 3").is_none());
    }
}
