//! The sending of probes: one socket a link, one system call a tick.
//!
//! The real-time thread uses this module, so nothing here allocates, waits or panics after its
//! setup. The module only sends: XDP handles the replies, and all other packets are dropped.

mod batch;
mod socket;

pub use batch::{ProbeBatch, SendReport};
pub use socket::ProbeSocket;
