//! The heartbeat agent: loads the kernel programs, sends probes, judges peers, runs resources.
//!
//! `pulse` is the real-time side, `conductor` moves addresses and drives resources, everything else
//! is the slow side. See `ARCHITECTURE.md`.

pub mod agent;
pub mod cgroup;
pub mod clock;
pub mod commands;
mod complaints;
pub mod conductor;
pub mod control;
pub mod dataplane;
pub mod decisions;
mod durable;
mod electorate;
pub mod follow;
pub mod health;
pub mod helper;
pub mod hooks;
mod incarnation;
pub mod load;
pub mod logging;
mod mounts;
pub mod net;
pub mod peering;
pub mod privileges;
pub mod pulse;
pub mod resources;
pub mod secrecy;
pub mod servable;

// Crates that the agent is made of, under the names by which its modules and tests know them.
pub use heartbeat_config as config;
pub use heartbeat_import as import;
