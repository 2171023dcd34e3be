//! What this host is: its clocks, its mounts, its control groups.

pub mod cgroup;
pub mod clock;
pub mod mounts;
