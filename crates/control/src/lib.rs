//! The local protocol: how `heartbeat status` and its siblings talk to a running agent.
//!
//! Requests, the status and events are typed values. The agent's end of the socket is in the agent.

#![forbid(unsafe_code)]

pub mod client;
pub mod decisions;
pub mod describe;
pub mod protocol;
pub mod severity;
