//! The decisions of a cluster heartbeat: who is alive, am I deaf, whose lease is it.
//!
//! Sans-IO: time and the kernel's rows come in as arguments, commands go out as data. Nothing here
//! may read a clock, a file, a socket or a map.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod group;
pub mod link;
pub mod membership;
pub mod peer;
pub mod placement;
pub mod proposer;
pub mod ranking;
pub mod reach;
pub mod record;
pub mod report;
pub mod resource;
pub mod timing;

pub use cluster::{Cluster, Command, StepInput};
pub use timing::Timing;
