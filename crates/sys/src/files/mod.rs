//! Files that outlive a crash, and descriptors that a task waits for.

pub mod atomic_file;
pub mod incarnation;
pub mod line_file;
pub mod readiness;
