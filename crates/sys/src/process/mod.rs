//! Processes: their start, scheduling, supervision and privileges.

pub mod child;
pub mod confinement;
pub mod core_dumps;
pub mod namespace;
pub mod passing;
pub mod pidfd;
pub mod privileges;
pub mod scheduling;
