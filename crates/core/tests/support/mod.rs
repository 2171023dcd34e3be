//! Simulated time for the core: kernels that run the real per-packet functions, one observed link,
//! and a whole cluster. Nothing here reads a clock or starts a thread.

// Each test program uses its own part of this module.
#![allow(dead_code)]

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod invariants;
pub(crate) mod kernel;
pub(crate) mod machine;
pub(crate) mod net;
pub(crate) mod observer;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod story;
pub(crate) mod truth;
pub(crate) mod world;

/// The tables and frames of the tests of the per-packet functions.
#[path = "../../../common/tests/support/mod.rs"]
pub(crate) mod packets;

use std::time::Duration;

use heartbeat_core::Timing;

/// The start of every simulation. Not zero, which means "never" in the kernel's rows.
pub(crate) const START: u64 = 1_000_000_000;

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;

/// Intervals and timeouts in milliseconds: the shortest, the defaults, and longer sensible ones.
pub(crate) const TIMINGS: [(u64, u64); 5] =
    [(1, 3), (10, 30), (10, 100), (100, 200), (1_000, 60_000)];

pub(crate) fn timing(interval_ms: u64, timeout_ms: u64) -> Timing {
    Timing {
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_millis(timeout_ms),
        agent_stall: Duration::from_millis(timeout_ms),
        lease: Duration::from_millis(interval_ms) * 6,
        drift_ppm: 1_000,
    }
}

/// A duration in nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a simulation is shorter than 584 years")
}
