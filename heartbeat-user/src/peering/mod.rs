//! Requests between agents: one request and one answer over TCP on the cluster's links.
//!
//! The channel carries a command from one node to another node's agent. Only a node of the cluster
//! can send one, and none can be replayed. The channel neither parses nor decides anything. Only
//! payloads that the caller marks as secret are encrypted: any host on the link can read the
//! others. `docs/reference/peering.md` documents every byte.

mod client;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keys;
mod server;
mod socket;
#[cfg(test)]
mod tests;

use std::time::Duration;

use heartbeat_common::wire::NodeId;
use tokio::sync::oneshot;

pub use client::{AskError, ask, ask_in_secret};
pub use server::serve;

/// Limit for a request and for an answer, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Limit for a secret request and answer, in bytes: they carry whole configurations.
pub const MAX_SECRET: usize = 1024 * 1024;
/// Time that the receiving agent has for its answer. After that the sender gets a refusal.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// The same for a secret request: resource agents may have to print their meta-data first.
pub const SECRET_ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Time that exceeds [`SECRET_ANSWER_PATIENCE`].
pub const SECRET_PATIENCE: Duration = Duration::from_secs(70);
/// Time that allows for a dead link and still exceeds [`ANSWER_PATIENCE`].
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request of a peer's agent. The peer is authenticated, and the request is no replay.
#[derive(Debug)]
pub struct PeerAsked {
    pub from: NodeId,
    pub payload: Vec<u8>,
    /// Whether request and answer are encrypted, so that no other party can read them.
    pub secret: bool,
    /// The channel for the answer, at most [`MAX_PAYLOAD`] bytes, or [`MAX_SECRET`]. Once it is
    /// closed the peer has got a refusal, so a request that has not begun by then should be
    /// dropped.
    pub answer: oneshot::Sender<Vec<u8>>,
}
