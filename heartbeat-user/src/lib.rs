//! The heartbeat agent: loads the kernel programs, sends probes, decides the state of peers and
//! runs resources.
//!
//! `pulse` is the real-time side, `resource_manager` moves addresses and drives resources, and
//! everything else is the control task. See `ARCHITECTURE.md`.

#![forbid(unsafe_code)]

pub mod agent;
pub mod commands;
pub mod control;
pub mod decision_store;
pub mod health;
pub mod helper;
pub mod hooks;
pub mod interface_monitor;
pub mod load;
pub mod logging;
mod membership_store;
pub mod messages;
mod metrics;
pub mod networks;
pub mod peering;
pub mod process;
pub mod pulse;
pub mod record;
pub mod resource_manager;
pub mod resources;
pub mod servable;
mod wall_clock;

// Crates of the workspace, under the short names that the modules and tests use.
pub use heartbeat_config as config;
pub use heartbeat_dataplane as dataplane;
pub use heartbeat_import as import;
pub use heartbeat_sys::{
    host::{cgroup, clock},
    net,
    process::privileges,
};
