//! Signals to processes, and the CPU time that they used.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};

/// Sends `signal` to each process that still exists.
pub(super) fn signal_all(pids: &[Pid], signal: Signal) -> Result<()> {
    for pid in pids {
        match kill(*pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot send {signal} to {pid}"));
            }
        }
    }
    Ok(())
}

/// The CPU time of processes and of those of their children that have ended and were waited for.
pub(super) fn cpu_time(pids: &[Pid]) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    // A process may have ended since.
    let stats = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let ticks: u64 = stats.filter_map(|stat| ticks(&stat)).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The sum of utime, stime, cutime and cstime of a line of proc_pid_stat(5), in clock ticks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    (0..4).map(|_| fields.next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_the_process_and_its_children() {
        let line = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1 0 987\n";
        assert_eq!(ticks(line), Some(127));
        assert_eq!(ticks("42 (a) S 1 2"), None);
    }
}
