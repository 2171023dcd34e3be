//! The local protocol, by which `heartbeat status` and its siblings talk to a running agent.
//!
//! Requests, the status and events are typed values. The server end of the socket is part of the
//! agent.

#![forbid(unsafe_code)]

pub mod client;
pub mod decisions;
pub mod describe;
pub mod journal_fields;
pub mod protocol;
pub mod severity;
