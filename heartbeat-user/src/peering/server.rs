//! The server's side: receives the peers' requests.
//!
//! The server accepts connections from the peers' addresses only, and trusts nothing before its tag
//! is verified. An unauthenticated connection costs no more memory than a head. No peer can hold a
//! connection for ever, nor keep others out with idle ones.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use heartbeat_common::wire::{ClusterId, LinkId, NodeId};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    ANSWER_PATIENCE, PeerAsked, SECRET_ANSWER_PATIENCE,
    frame::{FrameError, Hello, Kind, Route, Session},
    keys::{ChannelKey, ChannelKeys},
    socket,
};
use crate::{
    config::{Config, Node, key::Keys},
    logging::rate_limit::RateLimit,
};

/// Time that a peer has to send its request, and again to receive the answer.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(2);
/// Limit for open connections, over all links.
pub(super) const MAX_CONNECTIONS: usize = 32;
/// Interval of the attempts to open a link's listener.
const RETRY: Duration = Duration::from_secs(2);

/// This node's end of a link.
struct LinkEnd {
    id: LinkId,
    interface: String,
    address: SocketAddr,
}

#[derive(Clone)]
struct Peer {
    id: NodeId,
    /// The name for messages.
    name: String,
}

/// The state that all connections share.
struct Server {
    cluster: ClusterId,
    local: NodeId,
    /// The present configuration.
    config: watch::Receiver<Arc<Config>>,
    /// The present keys.
    keys: watch::Receiver<Arc<Keys>>,
    asked: mpsc::Sender<PeerAsked>,
    rate_limit: RateLimit<About>,
}

/// The subject of a warning. There are few more than there are nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Peer(NodeId),
    /// All senders that are no peer.
    Strangers,
    /// A shortage on this host.
    Ourselves,
}

/// A connection, and the peer with its source address.
type Accepted = (TcpStream, Peer);

/// Answers the peers on all links, until the future is dropped. Requests are sent to `asked`. A
/// connection uses the peers and the keys of the time of its begin.
pub fn serve(
    config: watch::Receiver<Arc<Config>>,
    keys: watch::Receiver<Arc<Keys>>,
    asked: mpsc::Sender<PeerAsked>,
) -> impl Future<Output = ()> + Send + use<> {
    let now = Arc::clone(&config.borrow());
    let links: Vec<LinkEnd> = link_ends(&now).collect();
    let server = Arc::new(Server {
        cluster: now.cluster_id,
        local: now.local().id,
        config,
        keys,
        asked,
        rate_limit: RateLimit::default(),
    });
    async move {
        // Both sets abort their tasks when this future is dropped.
        let mut listeners = JoinSet::new();
        let mut connections = Connections::default();
        let (sender, mut accepted) = mpsc::channel(1);
        for link in links {
            listeners.spawn(listen(link, Arc::clone(&server), sender.clone()));
        }
        drop(sender);
        loop {
            tokio::select! {
                next = accepted.recv() => match next {
                    Some((stream, peer)) => connections.admit(stream, peer, &server),
                    // The listeners never end.
                    None => return,
                },
                Some(_) = connections.tasks.join_next() => {}
            }
        }
    }
}

fn link_ends(config: &Config) -> impl Iterator<Item = LinkEnd> {
    config.local_links().map(|link| LinkEnd {
        id: link.id,
        interface: link.interface.to_owned(),
        address: SocketAddr::new(link.address, config.port),
    })
}

/// Returns the peer with this address on a link.
fn peer_at(config: &Config, link: LinkId, address: IpAddr) -> Option<Peer> {
    let has = |node: &&Node| node.addresses.get(usize::from(link.0)) == Some(&address);
    let node = config.peers().find(has)?;
    Some(Peer {
        id: node.id,
        name: node.name.clone(),
    })
}

/// Accepts the peers' connections on one link. Never ends.
async fn listen(link: LinkEnd, server: Arc<Server>, accepted: mpsc::Sender<Accepted>) {
    loop {
        let index = socket::index(&link.interface);
        let listener = open(&link).await;
        listen_on(&listener, index, &link, &server, &accepted).await;
        log::info!(
            "interface {} is a new device: accepting commands from peers there again",
            link.interface
        );
    }
}

/// Accepts connections on one listener, until the link's interface name belongs to another index:
/// the socket is bound to the earlier interface.
async fn listen_on(
    listener: &TcpListener,
    index: Option<u32>,
    link: &LinkEnd,
    server: &Arc<Server>,
    accepted: &mpsc::Sender<Accepted>,
) {
    let mut polls = tokio::time::interval(RETRY);
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            _ = polls.tick() => match socket::index(&link.interface) {
                Some(now) if Some(now) != index => return,
                _ => continue,
            },
        };
        let (stream, source) = match connection {
            Ok(connection) => connection,
            Err(error) => {
                server.rate_limit.warn(About::Ourselves, || {
                    format!("could not accept a peer's connection: {error}")
                });
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = peer_at(&server.config.borrow(), link.id, source.ip());
        if let Some(peer) = peer {
            // The send fails only while the whole server is being dropped.
            let _ = accepted.send((stream, peer)).await;
        } else {
            server.rate_limit.warn(About::Strangers, || {
                format!(
                    "refused a connection from {source} on link {}: no node has this address there",
                    link.id.0
                )
            });
        }
    }
}

/// Opens a link's listener, and repeats that until it succeeds.
async fn open(link: &LinkEnd) -> TcpListener {
    let mut logged = None;
    loop {
        let opened =
            socket::open(&link.interface, link.address).and_then(|socket| socket.listen(64));
        let error = match opened {
            Ok(listener) => {
                log::debug!(
                    "accepting commands from peers on {} ({})",
                    link.address,
                    link.interface
                );
                return listener;
            }
            Err(error) => error,
        };
        // The failure is logged once, and again when its reason changes.
        if logged != Some(error.raw_os_error()) {
            log::warn!(
                "cannot accept commands from peers on link {}: could not listen on {} ({}): \
                 {error}{}; retrying every {} s",
                link.id.0,
                link.address,
                link.interface,
                socket::remedy(&error),
                RETRY.as_secs()
            );
            logged = Some(error.raw_os_error());
        }
        sleep(RETRY).await;
    }
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Ordered by age, the oldest first.
    open: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether an authentic request has arrived on it.
    proven: Arc<AtomicBool>,
}

impl Connections {
    /// Serves a new connection. If there are too many, the oldest unauthenticated one is closed.
    fn admit(&mut self, stream: TcpStream, peer: Peer, server: &Arc<Server>) {
        self.open
            .retain(|connection| !connection.task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS {
            let unproven = |open: &Connection| !open.proven.load(Ordering::Relaxed);
            let Some(oldest) = self.open.iter().position(unproven) else {
                server.rate_limit.warn(About::Ourselves, || {
                    format!(
                        "rejected a connection from node {}: {MAX_CONNECTIONS} requests of peers \
                         are waiting already",
                        peer.name
                    )
                });
                return;
            };
            if let Some(oldest) = self.open.remove(oldest) {
                oldest.task.abort();
            }
        }
        let proven = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn({
            let (server, proven) = (Arc::clone(server), Arc::clone(&proven));
            async move { server.converse(stream, &peer, &proven).await }
        });
        self.open.push_back(Connection { task, proven });
    }
}

impl Server {
    /// Handles one request and its answer.
    async fn converse(&self, mut stream: TcpStream, peer: &Peer, proven: &AtomicBool) {
        let taken = match timeout(TRANSFER_PATIENCE, self.take(&mut stream, peer.id)).await {
            Ok(taken) => taken,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let (session, key, asked, payload) = match taken {
            Ok(taken) => taken,
            // The peer or its link is gone. The peer repeats the request if it wants to.
            Err(FrameError::Io(error)) => {
                log::debug!(
                    "node {} closed its connection without a command: {error}",
                    peer.name
                );
                return;
            }
            Err(error) => {
                self.rate_limit.warn(About::Peer(peer.id), || {
                    format!("rejected a command from node {}: {error}", peer.name)
                });
                return;
            }
        };
        proven.store(true, Ordering::Relaxed);
        let answers = match asked {
            Kind::SecretRequest => Kind::SecretAnswer,
            _ => Kind::Answer,
        };
        let (kind, payload) = match self.answer(peer.id, answers, payload).await {
            Ok(answer) => (answers, answer),
            Err(why) => {
                self.rate_limit.warn(About::Ourselves, || {
                    format!("no answer to a command from node {}: {why}", peer.name)
                });
                (Kind::Refusal, why.into_bytes())
            }
        };
        let frame = session.seal(&key, kind, self.route_to(peer.id), &payload);
        let sent = timeout(TRANSFER_PATIENCE, async {
            stream.write_all(&frame).await?;
            stream.shutdown().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            log::debug!("node {} did not wait for its answer", peer.name);
        }
    }

    /// Receives a request. The answer uses the request's key, since the peer has that one for sure.
    async fn take(
        &self,
        stream: &mut TcpStream,
        peer: NodeId,
    ) -> Result<(Session, ChannelKey, Kind, Vec<u8>), FrameError> {
        let keys = ChannelKeys::derive(&self.keys.borrow());
        let server = Hello::fresh().map_err(io::Error::other)?;
        stream.write_all(server.as_bytes()).await?;
        let client = Hello::read(stream).await?;
        let session = Session { server, client };
        let route = Route {
            cluster: self.cluster,
            source: peer,
            destination: self.local,
        };
        let kinds = [Kind::Request, Kind::SecretRequest];
        let (kind, key, payload) = session.read(stream, &keys, &kinds, route).await?;
        Ok((session, key.clone(), kind, payload))
    }

    /// Passes a request on and waits for the answer, which must be of `kind`; the error is for the
    /// peer.
    async fn answer(&self, from: NodeId, kind: Kind, payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let (answer, answered) = oneshot::channel();
        let patience = match kind.is_secret() {
            true => SECRET_ANSWER_PATIENCE,
            false => ANSWER_PATIENCE,
        };
        let asked = PeerAsked {
            from,
            payload,
            secret: kind.is_secret(),
            answer,
        };
        let work = async {
            let stopping = "its agent is stopping";
            self.asked.send(asked).await.map_err(|_| stopping)?;
            answered.await.map_err(|_| stopping)
        };
        let answer = timeout(patience, work).await.map_err(|_| {
            format!(
                "its agent is busy since {} s and may still carry it out",
                patience.as_secs()
            )
        })??;
        if answer.len() > kind.limit() {
            return Err(format!(
                "it was carried out, but the answer of {} bytes is too long to send",
                answer.len()
            ));
        }
        Ok(answer)
    }

    fn route_to(&self, peer: NodeId) -> Route {
        Route {
            cluster: self.cluster,
            source: self.local,
            destination: peer,
        }
    }
}
