//! The agent's control socket: how `heartbeat status` and its siblings talk to a running agent.

pub mod client;
mod describe;
pub mod protocol;
pub mod server;
