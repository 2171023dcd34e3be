//! The clocks, mounts and control groups of this host.

pub mod cgroup;
pub mod clock;
pub mod journal;
pub mod mounts;
