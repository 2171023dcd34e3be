//! The host as heartbeat uses it: interfaces and addresses, sockets, files, processes and clocks.
//!
//! All `unsafe` of userspace is here, but for that of the kernel programs' maps and links, which is
//! in `heartbeat-dataplane`. The crate carries out what its callers decide. It knows neither the
//! configuration nor the agent.

pub mod files;
pub mod host;
pub mod net;
pub mod process;
