//! The one clock of the agent.

use heartbeat_common::time::Boottime;
use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`, the clock that the kernel programs stamp with.
pub fn now() -> Boottime {
    match clock_gettime(ClockId::CLOCK_BOOTTIME) {
        Ok(time) => {
            let nanos = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
            Boottime::from_nanos(nanos)
        }
        // The clock exists since Linux 2.6.39 and the kernel programs need a far later one.
        Err(error) => unreachable!("CLOCK_BOOTTIME cannot be read: {error}"),
    }
}
