//! Sending probes: one socket a link, one system call a tick.
//!
//! Used from the real-time thread, so nothing here allocates, waits or panics once it is set up. It
//! sends only: replies are taken by XDP, and what is not goes nowhere.

mod batch;
mod socket;

pub use batch::{ProbeBatch, SendReport};
pub use socket::ProbeSocket;
