//! The client's side: sends one request to a peer's agent.
//!
//! The client tries one link after the other until the peer's agent sends its hello, and then sends
//! the request once. It never repeats a request by itself: the peer may have carried it out.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use heartbeat_common::wire::NodeId;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    frame::{FrameError, Hello, Kind, Route, Session},
    keys::ChannelKeys,
    socket,
};
use crate::config::{Config, LocalLink, Node, duration::Show, key::Keys};

/// Limit on one link for the connect, and again for the hello. It exceeds the time in which the
/// kernel repeats a lost packet, 1 s for the first of a connection.
const LINK_PATIENCE: Duration = Duration::from_millis(1_500);
/// Upper bound for a caller's patience, so that instants do not overflow.
const MAX_PATIENCE: Duration = Duration::from_secs(3_600);

/// The reason for a missing answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no other node has the id {}: see the configuration", .0.0)]
    NoSuchPeer(NodeId),
    #[error("a request of {0} bytes is too long: at most {1} go to another node")]
    TooLong(usize, usize),
    #[error("could not get a random number from the kernel: {0}")]
    Random(getrandom::Error),
    /// The request was not sent: a repetition is safe.
    #[error(
        "agent of node {node} not reached, the command was not sent{}",
        lines(attempts)
    )]
    Unreachable { node: String, attempts: Vec<String> },
    /// The request was sent, and may have been carried out or not.
    #[error("node {node} got the command at {address}, but {what}\n  {remedy}")]
    Unanswered {
        node: String,
        address: SocketAddr,
        what: String,
        remedy: &'static str,
    },
    /// The peer got the request and reports why it has no answer.
    #[error("node {node} got the command and gave no answer: {reason}")]
    Refused { node: String, reason: String },
}

fn lines(attempts: &[String]) -> String {
    attempts.iter().map(|line| format!("\n  {line}")).collect()
}

/// Sends a request to the agent of node `to`, and waits at most `patience` in all.
pub async fn ask(
    config: &Config,
    keys: &Keys,
    to: NodeId,
    payload: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, AskError> {
    ask_by(Kind::Request, config, keys, to, payload, patience).await
}

/// Sends an encrypted request: only a holder of a key can read it and its answer.
pub async fn ask_in_secret(
    config: &Config,
    keys: &Keys,
    to: NodeId,
    payload: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, AskError> {
    ask_by(Kind::SecretRequest, config, keys, to, payload, patience).await
}

async fn ask_by(
    kind: Kind,
    config: &Config,
    keys: &Keys,
    to: NodeId,
    payload: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, AskError> {
    let peer = config.peers().find(|node| node.id == to);
    let node = peer.ok_or(AskError::NoSuchPeer(to))?;
    if payload.len() > kind.limit() {
        return Err(AskError::TooLong(payload.len(), kind.limit()));
    }
    let patience = patience.min(MAX_PATIENCE);
    let until = Instant::now() + patience;
    let mut attempts = Vec::new();
    let links = config.local_links().zip(&node.addresses);
    for (left, (link, address)) in (1..=config.links.len() as u32).rev().zip(links) {
        let address = SocketAddr::new(*address, config.port);
        // A dead link must leave time for the others.
        let share =
            (until.saturating_duration_since(Instant::now()) / (2 * left)).min(LINK_PATIENCE);
        match greet(&link, address, share).await {
            Ok((stream, server)) => {
                let client = Hello::fresh().map_err(AskError::Random)?;
                let asking = Asking {
                    kind,
                    config,
                    keys: ChannelKeys::derive(keys),
                    node,
                    session: Session { server, client },
                };
                return asking
                    .ask(stream, address, payload, (until, patience))
                    .await;
            }
            Err(what) => attempts.push(format!(
                "link {}, from {} to {address}: {what}",
                link.id.0, link.address
            )),
        }
    }
    Err(AskError::Unreachable {
        node: node.name.clone(),
        attempts,
    })
}

/// Connects over one link and waits for the agent's hello. The error describes the failure.
async fn greet(
    link: &LocalLink<'_>,
    address: SocketAddr,
    patience: Duration,
) -> Result<(TcpStream, Hello), String> {
    let waited = Show(Duration::from_millis(patience.as_millis() as u64));
    let local = SocketAddr::new(link.address, 0);
    let socket = socket::open(link.interface, local).map_err(|error| {
        let remedy = socket::remedy(&error);
        format!(
            "could not bind to {} on {}: {error}{remedy}",
            link.address, link.interface
        )
    })?;
    let mut stream = match timeout(patience, socket.connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Err(format!(
                "connection refused (agent not running, or a firewall rejects TCP port {})",
                address.port()
            ));
        }
        Ok(Err(error)) => {
            return Err(format!(
                "could not connect to TCP port {}: {error}: is the link down, or does a firewall \
                 reject it?",
                address.port()
            ));
        }
        Err(_) => {
            return Err(format!(
                "no connection within {waited}: if `heartbeat status` shows its heartbeats, a \
                 firewall drops TCP port {}; else the node or the link is down",
                address.port()
            ));
        }
    };
    match timeout(patience, Hello::read(&mut stream)).await {
        Ok(Ok(hello)) => Ok((stream, hello)),
        Ok(Err(FrameError::Io(error))) => Err(format!(
            "it closed the connection at once ({error}): it is busy, or its configuration lacks \
             our address; see its log"
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "connected, but its agent sent nothing for {waited}: is it stopped or overloaded?"
        )),
    }
}

/// A connection to a peer whose hello has arrived.
struct Asking<'a> {
    /// The kind of the request.
    kind: Kind,
    config: &'a Config,
    keys: ChannelKeys,
    node: &'a Node,
    session: Session,
}

impl Asking<'_> {
    async fn ask(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        payload: &[u8],
        (until, patience): (Instant, Duration),
    ) -> Result<Vec<u8>, AskError> {
        let unanswered = |what: String, remedy| AskError::Unanswered {
            node: self.node.name.clone(),
            address,
            what,
            remedy,
        };
        match timeout_at(until, self.exchange(&mut stream, payload)).await {
            Ok(Ok((Kind::Answer | Kind::SecretAnswer, answer))) => Ok(answer),
            Ok(Ok((_, reason))) => Err(AskError::Refused {
                node: self.node.name.clone(),
                reason: String::from_utf8_lossy(&reason).into_owned(),
            }),
            Ok(Err(FrameError::Io(error))) => Err(unanswered(
                format!("the connection ended without an answer ({error})"),
                match self.kind.is_secret() {
                    true => {
                        "do the keys and configurations differ, or is its release older? its log \
                         says more"
                    }
                    false => {
                        "do the keys and configurations differ? its log says more; \
                         see `heartbeat status` before repeating the command"
                    }
                },
            )),
            Ok(Err(error)) => Err(unanswered(
                format!("its answer was rejected: {error}"),
                "it may have carried out the command: see `heartbeat status` before repeating it",
            )),
            Err(_) => Err(unanswered(
                format!("it did not answer within {}", Show(patience)),
                "it may have carried out the command: see `heartbeat status` before repeating it",
            )),
        }
    }

    async fn exchange(
        &self,
        stream: &mut TcpStream,
        payload: &[u8],
    ) -> Result<(Kind, Vec<u8>), FrameError> {
        let key = self.keys.active();
        let (local, cluster) = (self.config.local().id, self.config.cluster_id);
        let there = Route {
            cluster,
            source: local,
            destination: self.node.id,
        };
        let back = Route {
            cluster,
            source: self.node.id,
            destination: local,
        };
        let mut request = self.session.client.as_bytes().to_vec();
        request.extend(self.session.seal(key, self.kind, there, payload));
        stream.write_all(&request).await?;
        let answers = match self.kind.is_secret() {
            true => Kind::SecretAnswer,
            false => Kind::Answer,
        };
        let kinds = [answers, Kind::Refusal];
        let (kind, _, answer) = self.session.read(stream, &self.keys, &kinds, back).await?;
        Ok((kind, answer))
    }
}
