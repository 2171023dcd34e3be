//! The host's services for heartbeat: interfaces and addresses, sockets, files, processes and
//! clocks.
//!
//! All `unsafe` of userspace is here, except that of the kernel programs' maps and links, which is
//! in `heartbeat-dataplane`. The crate carries out the decisions of its callers. It depends on
//! neither the configuration nor the agent.

pub mod files;
pub mod host;
pub mod net;
pub mod process;
