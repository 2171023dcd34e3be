//! How agents ask each other: one request and one answer over TCP on the cluster's links.
//!
//! Carries a command given on one node to another node's agent, so that nobody but a node of the
//! cluster can give one, and none twice. It never looks into what it carries, and decides nothing. It
//! hides only what it is told to: of the rest whoever listens on the link can read along.
//! `docs/reference/peering.md` shows every byte.

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

/// No request and no answer is longer, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// The same of an exchange in secret, which carries whole configurations.
pub const MAX_SECRET: usize = 1024 * 1024;
/// How long the asked agent may take. Then the one who asks is told so.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// The same in secret: resource agents may be asked for their meta-data before there is an answer.
pub const SECRET_ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Patience that outlasts [`SECRET_ANSWER_PATIENCE`].
pub const SECRET_PATIENCE: Duration = Duration::from_secs(70);
/// Patience that lets a question pass by a dead link and still outlasts [`ANSWER_PATIENCE`].
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer's agent asks of ours. The peer is who it says, and asked just now.
#[derive(Debug)]
pub struct PeerAsked {
    pub from: NodeId,
    pub payload: Vec<u8>,
    /// Whether nobody else could read it, nor can read the answer.
    pub secret: bool,
    /// Where the answer goes, at most [`MAX_PAYLOAD`] bytes, or [`MAX_SECRET`]. Once it is closed the peer was told
    /// that there is none: a request that was not begun by then is better left.
    pub answer: oneshot::Sender<Vec<u8>>,
}
