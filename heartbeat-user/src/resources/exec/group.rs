//! Who is left of a process group, and how they are told to end.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::sleep;

use crate::resources::watch::{Process, Stat};

/// The kernel does not tell when a group's last process ends.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The live processes of the group that `leader` led, itself included.
///
/// Its number is not given to another process while they live. If one has it, the group is gone.
pub(super) fn members(leader: Process) -> Vec<Pid> {
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
        // The number is its own for as long as one of them lives.
        let _ = killpg(leader.pid, signal);
        // One that was stopped would not hear it.
        let _ = killpg(leader.pid, Signal::SIGCONT);
    }
}

/// Ends when `there` no longer holds.
pub(super) async fn gone(there: impl Fn() -> bool) {
    while there() {
        sleep(LOOK_AGAIN).await;
    }
}
