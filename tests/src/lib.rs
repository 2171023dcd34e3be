//! A whole cluster on one host: nodes, a switch and a client in network namespaces of their own.
//!
//! The demo and the end-to-end tests use this rig. It runs the real agent and the real BPF
//! programs. It must never touch the host's own interfaces, processes of others, or anything that
//! it would not remove again. Namespaces have no name, so they end with this process. Work
//! directories and pins could outlive it: they carry its process id, so that a later run finds and
//! removes those of a killed one.

pub mod agent;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod config;
pub mod contender;
pub mod control;
pub mod e2e;
pub mod interrupt;
pub mod kernel;
pub mod netns;
pub mod node;
pub mod page;
pub mod peers;
pub mod promtool;
pub mod relay;
pub mod sandbox;
pub mod service;
pub mod skip;
pub mod soak;
pub mod switch;
pub mod sys;
pub mod vm_cluster;
pub mod wait;
pub mod workdir;

mod control_groups;
mod netlink;
#[path = "../../crates/control/tests/protocol/schema.rs"]
mod schema;

pub use cluster::{Cluster, Fault, Options};
pub use wait::wait_until;
