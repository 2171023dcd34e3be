//! The channel over loopback: nodes a, b and c with an address of 127.0.0.0/8 each.

mod adversary;
mod bounds;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{AskError, PeerAsked, ask, frame::Hello, serve, socket};
use crate::config::{Config, key::Keys};
use heartbeat_common::wire::NodeId;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const OLD: &str = "1 000102030405060708090a0b0c0d0e0f\n";
const NEW: &str = "2 f0e1d2c3b4a5968778695a4b3c2d1e0f\n";
/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn keys(text: &str) -> Keys {
    Keys::parse(text, Path::new("/k")).unwrap()
}

/// A configuration that does not change.
fn steady(config: Config) -> watch::Receiver<Arc<Config>> {
    watch::channel(Arc::new(config)).1
}

/// A cluster per test: the tests run in parallel.
struct Net {
    /// Third byte of all its addresses.
    number: u8,
    port: u16,
    links: u8,
}

impl Net {
    fn new(number: u8, links: u8) -> Self {
        let probe = StdListener::bind((Ipv4Addr::new(127, 77, number, 2), 0)).unwrap();
        Self {
            number,
            port: probe.local_addr().unwrap().port(),
            links,
        }
    }

    /// Node `id` has the address 127.77.number.id on link 0 and 127.78.number.id on link 1.
    fn address(&self, link: u8, id: NodeId) -> SocketAddr {
        let ip = Ipv4Addr::new(127, 77 + link, self.number, id.0 as u8);
        SocketAddr::new(ip.into(), self.port)
    }

    /// Returns the configuration for node `name`.
    fn config(&self, name: &str) -> Config {
        let mut text = format!("[cluster]\nname = \"test\"\nport = {}\n", self.port);
        for link in 0..self.links {
            text.push_str(&format!("[[link]]\ninterface = \"eth{link}\"\n"));
        }
        for (node, id) in [("a", A), ("b", B), ("c", C)] {
            let addresses: Vec<String> = (0..self.links)
                .map(|link| format!("\"10.{link}.0.{}\"", id.0))
                .collect();
            let (addresses, id) = (addresses.join(", "), id.0);
            text.push_str(&format!(
                "[[node]]\nname = \"{node}\"\nid = {id}\naddresses = [{addresses}]\n"
            ));
        }
        let mut config = Config::parse(&text, Path::new("hb.toml"), Some(name), name).unwrap();
        // A file may not name addresses of loopback, nor the same interface twice.
        for node in &mut config.nodes {
            node.interfaces.fill("lo".to_owned());
            for (link, address) in (0..).zip(&mut node.addresses) {
                *address = self.address(link, node.id).ip();
            }
        }
        config
    }

    /// Starts an agent on node b that accepts `keys`, and waits until it sends its hello on link
    /// `link`.
    async fn agent(&self, keys: &Keys, link: u8) -> Agent {
        let (sender, asked) = mpsc::channel(64);
        let (taken, keys) = watch::channel(Arc::new(keys.clone()));
        let server = tokio::spawn(serve(steady(self.config("b")), keys, sender));
        let agent = Agent {
            taken,
            asked,
            server: server.abort_handle(),
        };
        until_it_greets(self.address(link, A).ip(), self.address(link, B)).await;
        agent
    }

    async fn ask_b(&self, keys: &Keys, payload: &[u8]) -> Result<Vec<u8>, AskError> {
        ask(&self.config("a"), keys, B, payload, PATIENCE).await
    }
}

/// An agent's channel. Dropping this value ends it.
struct Agent {
    taken: watch::Sender<Arc<Keys>>,
    asked: mpsc::Receiver<PeerAsked>,
    server: AbortHandle,
}

impl Agent {
    async fn next(&mut self) -> PeerAsked {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv());
        asked.await.expect("nothing was asked").unwrap()
    }

    /// Answers the next request with its sender and text.
    async fn answer_one(&mut self) {
        let PeerAsked {
            from,
            payload,
            answer,
            ..
        } = self.next().await;
        let said = format!("{} asked {}", from.0, String::from_utf8_lossy(&payload));
        answer.send(said.into_bytes()).unwrap();
    }

    fn assert_nothing_was_asked(&mut self) {
        assert!(self.asked.try_recv().is_err());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket::open("lo", SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Connects as soon as the agent at `to` sends its hello.
async fn until_it_greets(from: IpAddr, to: SocketAddr) -> (TcpStream, Hello) {
    let start = Instant::now();
    loop {
        if let Ok(mut stream) = connect(from, to).await
            && let Ok(hello) = Hello::read(&mut stream).await
        {
            return (stream, hello);
        }
        assert!(start.elapsed() < PATIENCE, "no agent at {to}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn request_reaches_the_agent_and_its_answer_returns() {
    let net = Net::new(1, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    for _ in 0..3 {
        let (answer, ()) = tokio::join!(net.ask_b(&keys, b"standby c"), agent.answer_one());
        assert_eq!(answer.unwrap(), b"1 asked standby c");
    }
    // The longest payload, and the shortest.
    let long = vec![b'x'; super::MAX_PAYLOAD];
    let (answer, ()) = tokio::join!(net.ask_b(&keys, &long), async {
        let asked = agent.next().await;
        assert!(asked.payload == long);
        asked.answer.send(asked.payload).unwrap();
    });
    assert!(answer.unwrap() == long);
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b""), async {
        agent.next().await.answer.send(Vec::new()).unwrap();
    });
    assert_eq!(answer.unwrap(), b"");
}

#[tokio::test]
async fn secret_request_and_its_answer_arrive_as_such() {
    let net = Net::new(13, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let config = net.config("a");
    let long = vec![b'x'; super::MAX_SECRET];
    let asking = super::ask_in_secret(&config, &keys, B, &long, PATIENCE);
    let (answer, ()) = tokio::join!(asking, async {
        let asked = agent.next().await;
        assert!(asked.secret && asked.payload == long);
        asked.answer.send(asked.payload).unwrap();
    });
    assert!(answer.unwrap() == long);
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), async {
        let asked = agent.next().await;
        assert!(!asked.secret);
        asked.answer.send(Vec::new()).unwrap();
    });
    answer.unwrap();
    let longer = vec![0; super::MAX_SECRET + 1];
    let answer = super::ask_in_secret(&config, &keys, B, &longer, PATIENCE).await;
    assert!(matches!(answer, Err(AskError::TooLong(..))));
}

#[tokio::test]
async fn both_keys_are_accepted_during_a_rotation() {
    let net = Net::new(2, 1);
    let mut agent = net.agent(&keys(&format!("{OLD}{NEW}")), 0).await;
    for client in [OLD, NEW, &format!("{NEW}{OLD}")] {
        let keys = keys(client);
        let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), agent.answer_one());
        assert_eq!(answer.unwrap(), b"1 asked x");
    }
}

#[tokio::test]
async fn changed_keys_apply_from_the_next_connection() {
    let net = Net::new(12, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let (old, new) = (keys(OLD), keys(NEW));
    let (answer, ()) = tokio::join!(net.ask_b(&old, b"x"), async {
        // A request under the old key is answered under it, even after a key change in between.
        let asked = agent.next().await;
        agent.taken.send_replace(Arc::new(new.clone()));
        asked.answer.send(b"y".to_vec()).unwrap();
    });
    assert_eq!(answer.unwrap(), b"y");
    let (answer, ()) = tokio::join!(net.ask_b(&new, b"x"), agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
    net.ask_b(&old, b"x").await.unwrap_err();
}

#[tokio::test]
async fn different_key_is_refused_with_a_remedy() {
    let net = Net::new(3, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let same_id = "1 00000000000000000000000000000001";
    for client in [NEW, same_id] {
        let error = net.ask_b(&keys(client), b"x").await.unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, AskError::Unanswered { .. }), "{shown}");
        assert!(shown.contains("do the keys"), "{shown}");
        assert!(
            shown.contains("node b got the command at 127.77.3.2:"),
            "{shown}"
        );
    }
    agent.assert_nothing_was_asked();
}

#[tokio::test]
async fn dead_link_is_skipped() {
    let net = Net::new(4, 2);
    let keys = keys(OLD);
    // Another program has b's address on link 0 and sends nothing.
    let _mute = StdListener::bind(net.address(0, B)).unwrap();
    let mut agent = net.agent(&keys, 1).await;
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
}

#[tokio::test]
async fn listener_that_cannot_open_yet_opens_later() {
    let net = Net::new(5, 2);
    let keys = keys(OLD);
    let other = StdListener::bind(net.address(0, B)).unwrap();
    let _agent = net.agent(&keys, 1).await;
    drop(other);
    until_it_greets(net.address(0, A).ip(), net.address(0, B)).await;
}

#[tokio::test]
async fn error_has_the_failure_of_each_link() {
    let net = Net::new(6, 2);
    let _mute = StdListener::bind(net.address(1, B)).unwrap();
    let patience = Duration::from_millis(400);
    let config = net.config("a");
    let error = ask(&config, &keys(OLD), B, b"x", patience)
        .await
        .unwrap_err();
    let shown = error.to_string();
    let port = net.port;
    for piece in [
        "agent of node b not reached, the command was not sent\n",
        &format!(
            "link 0, from 127.77.6.1 to 127.77.6.2:{port}: connection refused (agent not running"
        ),
        &format!(
            "link 1, from 127.78.6.1 to 127.78.6.2:{port}: connected, but its agent sent nothing \
             for"
        ),
    ] {
        assert!(shown.contains(piece), "{shown}");
    }
    let mut config = net.config("a");
    config.nodes[0].addresses[0] = "192.0.2.1".parse().unwrap();
    config.nodes[0].interfaces[1] = "nowhere".to_owned();
    let error = ask(&config, &keys(OLD), B, b"x", patience)
        .await
        .unwrap_err();
    let shown = error.to_string();
    for piece in [
        "the address is not on this host",
        "this host has no such interface",
    ] {
        assert!(shown.contains(piece), "{shown}");
    }
}

#[tokio::test]
async fn request_to_self_or_an_unknown_node_fails() {
    let net = Net::new(7, 1);
    for id in [A, NodeId(9)] {
        let answer = ask(&net.config("a"), &keys(OLD), id, b"x", PATIENCE).await;
        assert!(matches!(answer, Err(AskError::NoSuchPeer(no)) if no == id));
    }
    let long = vec![0; super::MAX_PAYLOAD + 1];
    let answer = net.ask_b(&keys(OLD), &long).await;
    assert!(matches!(answer, Err(AskError::TooLong(..))));
}

#[tokio::test]
async fn ipv6_links_work() {
    let net = Net::new(8, 1);
    let keys = keys(OLD);
    // Loopback has one IPv6 address: all nodes share it, and only b listens.
    let on_ipv6 = |name| {
        let mut config = net.config(name);
        config.nodes.truncate(2);
        for node in &mut config.nodes {
            node.addresses[0] = "::1".parse().unwrap();
        }
        config
    };
    let (sender, asked) = mpsc::channel(1);
    let (taken, now) = watch::channel(Arc::new(keys.clone()));
    let server = tokio::spawn(serve(steady(on_ipv6("b")), now, sender));
    let mut agent = Agent {
        taken,
        asked,
        server: server.abort_handle(),
    };
    let loopback: IpAddr = "::1".parse().unwrap();
    until_it_greets(loopback, SocketAddr::new(loopback, net.port)).await;
    let config = on_ipv6("a");
    let asking = ask(&config, &keys, B, b"x", PATIENCE);
    let (answer, ()) = tokio::join!(asking, agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
}
