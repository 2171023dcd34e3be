//! How the pulse does, for the slow side to read at any time.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct PulseStats {
    pub realtime_priority: AtomicU8,
    pub memory_locked: AtomicBool,
    pub ticks: AtomicU64,
    pub missed_ticks: AtomicU64,
    pub max_lateness_ns: AtomicU64,
    pub deaf: AtomicBool,
    pub deaf_count: AtomicU64,
    pub send_errors: AtomicU64,
    /// Nodes that count as alive, this one included.
    pub alive: AtomicU64,
}

impl PulseStats {
    pub(super) fn ticked(&self, missed: u64, lateness_ns: u64) {
        self.ticks.fetch_add(1, Relaxed);
        self.missed_ticks.fetch_add(missed, Relaxed);
        self.max_lateness_ns.fetch_max(lateness_ns, Relaxed);
    }
}
