//! The agent's control socket: the protocol that `heartbeat status` speaks, and the agent's end of
//! it.

pub use heartbeat_control::*;

pub mod server;
