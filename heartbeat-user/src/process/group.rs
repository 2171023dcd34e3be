//! The remaining processes of a process group, and signals to them.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::sleep;

use super::handle::{Process, Stat};

/// Interval of the polls, since the kernel does not report the end of a group's last process.
const POLL: Duration = Duration::from_millis(20);

/// Returns the live processes of the group of `leader`, including the leader.
///
/// The kernel does not give the group's number to another process while members live. If another
/// process has the number, the group is gone.
pub(crate) fn members(leader: Process) -> Vec<Pid> {
    if Stat::of(leader.pid).is_some_and(|stat| stat.process != leader) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Stat::of(Pid::from_raw(pid)))
        .filter(|stat| !stat.zombie && stat.group == leader.pid && stat.session == leader.pid)
        .map(|stat| stat.process.pid)
        .collect()
}

/// Sends a signal to the whole group of `leader`.
pub(crate) fn signal(leader: Process, signal: Signal) {
    if leader.lives() || !members(leader).is_empty() {
        // No other group gets the number while a member lives.
        let _ = killpg(leader.pid, signal);
        // A stopped process would not receive the signal.
        let _ = killpg(leader.pid, Signal::SIGCONT);
    }
}

/// Ends when `there` no longer holds.
pub(crate) async fn gone(there: impl Fn() -> bool) {
    while there() {
        sleep(POLL).await;
    }
}
