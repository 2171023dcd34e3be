//! The heartbeat agent: loads the kernel programs, sends probes, judges peers, moves addresses.
//!
//! `pulse` is the real-time side, everything else is the slow side. See `ARCHITECTURE.md`.

pub mod config;
pub mod control;
pub mod net;
