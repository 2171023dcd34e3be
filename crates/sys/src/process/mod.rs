//! This process and others: how they are started, scheduled and watched, and what they may do.

pub mod child;
pub mod confinement;
pub mod core_dumps;
pub mod namespace;
pub mod passing;
pub mod pidfd;
pub mod privileges;
pub mod scheduling;
