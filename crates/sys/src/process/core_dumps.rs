//! Keeps the cluster's keys out of core dumps and away from debuggers.

use nix::sys::prctl;

/// Excludes the memory of this process from core dumps, and hides it from every process without
/// `CAP_SYS_PTRACE`. A program that this process starts is not affected: `execve` makes it dumpable
/// again.
pub fn disable() {
    if let Err(error) = prctl::set_dumpable(false) {
        log::warn!(
            "a core dump of this process would have the cluster's keys ({error}): set its core \
            limit to 0"
        );
    }
}
