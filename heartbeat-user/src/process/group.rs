//! The processes that are left of a process group, and the signal that ends them.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::sleep;

use super::handle::{Process, Stat};

/// The kernel does not tell when a group's last process ends.
const CHECK_AGAIN: Duration = Duration::from_millis(20);

/// The live processes of the group that `leader` led, itself included.
///
/// Its number is not given to another process while they live. If one has it, the group is gone.
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

/// Signals all of the group that `leader` led.
pub(crate) fn signal(leader: Process, signal: Signal) {
    if leader.lives() || !members(leader).is_empty() {
        // No other group gets the number while one of the members lives.
        let _ = killpg(leader.pid, signal);
        // A stopped process would not hear the signal.
        let _ = killpg(leader.pid, Signal::SIGCONT);
    }
}

/// Ends when `there` no longer holds.
pub(crate) async fn gone(there: impl Fn() -> bool) {
    while there() {
        sleep(CHECK_AGAIN).await;
    }
}
