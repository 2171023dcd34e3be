//! The agent's control socket: the protocol of `heartbeat status` and the other commands, and the
//! agent's side of it.

pub use heartbeat_control::*;

pub mod server;
