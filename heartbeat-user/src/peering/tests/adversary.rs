//! Attackers on the wire without a key: foreign addresses, and replayed, tampered, reflected and
//! truncated bytes. Also a peer with the key that lies.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{A, AskError, B, C, Net, OLD, connect, keys, until_it_greets};
use crate::peering::{
    frame::{HELLO_LEN, Hello, Kind, Route, Session},
    keys::ChannelKeys,
};
use heartbeat_common::wire::{ClusterId, NodeId};

/// Start of the frame's payload: after the head and its tag.
const PAYLOAD_AT: usize = 32;

/// The bytes of both sides as they passed.
struct Recorded {
    client: Vec<u8>,
    server: Vec<u8>,
}

/// A change to passing bytes.
type Change = fn(&mut Vec<u8>);

/// The changes of the attacker in the middle.
#[derive(Clone, Copy)]
struct Meddling {
    request: Change,
    answer: Change,
}

const NONE: Meddling = Meddling {
    request: |_| {},
    answer: |_| {},
};

/// Sends node a's request to b through an attacker, who has a's address towards b, and b's towards
/// a.
async fn through_the_middle(
    net: &Net,
    payload: &[u8],
    meddling: Meddling,
) -> (Result<Vec<u8>, AskError>, Recorded) {
    let keys = keys(OLD);
    let middle: IpAddr = format!("127.77.{}.66", net.number).parse().unwrap();
    let listener = TcpListener::bind((middle, net.port)).await.unwrap();
    let mut config = net.config("a");
    config.nodes[1].addresses[0] = middle;
    let asking = super::ask(&config, &keys, B, payload, super::PATIENCE);
    let relay = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let address = net.address(0, A).ip();
        let mut server = connect(address, net.address(0, B)).await.unwrap();
        let mut hello = [0; HELLO_LEN];
        server.read_exact(&mut hello).await.unwrap();
        client.write_all(&hello).await.unwrap();
        let mut request = vec![0; HELLO_LEN + PAYLOAD_AT + payload.len() + 16];
        client.read_exact(&mut request).await.unwrap();
        (meddling.request)(&mut request);
        server.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        // A reset ends the stream, too.
        let _ = server.read_to_end(&mut answer).await;
        (meddling.answer)(&mut answer);
        client.write_all(&answer).await.unwrap();
        Recorded {
            client: request,
            server: [&hello[..], &answer].concat(),
        }
    };
    tokio::join!(asking, relay)
}

/// Reads until the other side closes the connection.
async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    let end = stream.read_to_end(&mut came);
    // A connection with unread bytes usually ends by a reset.
    let _ = tokio::time::timeout(super::PATIENCE, end)
        .await
        .expect("the connection stays open");
    came
}

#[tokio::test]
async fn replayed_exchange_is_rejected() {
    let net = Net::new(20, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let asking = through_the_middle(&net, b"standby c", NONE);
    let ((answer, recorded), ()) = tokio::join!(asking, agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked standby c");
    // Replay to the server, from the same address.
    let (mut stream, _) = until_it_greets(net.address(0, A).ip(), net.address(0, B)).await;
    stream.write_all(&recorded.client).await.unwrap();
    assert_eq!(until_closed(stream).await, b"");
    agent.assert_nothing_was_asked();
    drop(agent);
    // Replay to the client, in place of the server.
    let start = Instant::now();
    let listener = loop {
        match TcpListener::bind(net.address(0, B)).await {
            Ok(listener) => break listener,
            Err(error) => assert!(start.elapsed() < super::PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let keys = keys(OLD);
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"standby c"), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&recorded.server).await.unwrap();
        until_closed(stream).await;
    });
    let shown = answer.unwrap_err().to_string();
    assert!(
        shown.contains("its answer was rejected: bad authentication tag"),
        "{shown}"
    );
}

#[tokio::test]
async fn tampered_request_is_rejected() {
    let net = Net::new(21, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let meddlings: [Change; 5] = [
        // In this order: the client's challenge, the destination, the length, the payload, the last
        // byte.
        |request| request[HELLO_LEN - 1] ^= 1,
        |request| request[HELLO_LEN + 11] ^= 1,
        |request| request[HELLO_LEN + 12..][..4].fill(0xff),
        |request| request[HELLO_LEN + PAYLOAD_AT] ^= 1,
        |request| *request.last_mut().unwrap() ^= 0x80,
    ];
    for request in meddlings {
        let meddling = Meddling { request, ..NONE };
        let (answer, recorded) = through_the_middle(&net, b"standby c", meddling).await;
        let shown = answer.unwrap_err().to_string();
        assert!(
            shown.contains("the connection ended without an answer"),
            "{shown}"
        );
        assert_eq!(recorded.server.len(), HELLO_LEN);
        agent.assert_nothing_was_asked();
    }
}

#[tokio::test]
async fn tampered_answer_is_rejected() {
    let net = Net::new(22, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let meddlings: [(Change, &str); 4] = [
        (|answer| answer[0] ^= 1, "bad authentication tag"),
        (|answer| answer[PAYLOAD_AT] ^= 1, "bad authentication tag"),
        (|answer| answer[12..16].fill(0xff), "bad authentication tag"),
        (
            |answer| answer.truncate(answer.len() - 1),
            "without an answer",
        ),
    ];
    for (answer, expected) in meddlings {
        let meddling = Meddling { answer, ..NONE };
        let asking = through_the_middle(&net, b"x", meddling);
        let ((answer, _), ()) = tokio::join!(asking, agent.answer_one());
        let shown = answer.unwrap_err().to_string();
        assert!(shown.contains(expected), "{shown}");
        assert!(shown.contains("heartbeat status"), "{shown}");
    }
}

#[tokio::test]
async fn reflected_request_is_rejected() {
    let net = Net::new(23, 1);
    let keys = keys(OLD);
    let listener = TcpListener::bind(net.address(0, B)).await.unwrap();
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let hello = Hello::fresh().unwrap();
        stream.write_all(hello.as_bytes()).await.unwrap();
        let mut request = [0; HELLO_LEN + PAYLOAD_AT + 1 + 16];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&request[HELLO_LEN..]).await.unwrap();
        until_closed(stream).await;
    });
    let shown = answer.unwrap_err().to_string();
    assert!(shown.contains("kind 1 came out of order"), "{shown}");
}

/// Returns node b's bytes on a connection from a's address with an authentic `request`.
async fn sealed(net: &Net, kind: Kind, route: Route, payload: &[u8]) -> Vec<u8> {
    let (mut stream, server) = until_it_greets(net.address(0, A).ip(), net.address(0, B)).await;
    let client = Hello::fresh().unwrap();
    let keys = ChannelKeys::derive(&keys(OLD));
    let frame = Session { server, client }.seal(keys.active(), kind, route, payload);
    stream.write_all(client.as_bytes()).await.unwrap();
    stream.write_all(&frame).await.unwrap();
    until_closed(stream).await
}

#[tokio::test]
async fn peer_with_the_key_cannot_lie_about_its_identity() {
    let net = Net::new(24, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    let truth = Route {
        cluster: net.config("b").cluster_id,
        source: A,
        destination: B,
    };
    let lies = [
        Route { source: C, ..truth },
        Route { source: B, ..truth },
        Route {
            source: NodeId(9),
            ..truth
        },
        Route {
            destination: C,
            ..truth
        },
        Route {
            cluster: ClusterId(1),
            ..truth
        },
    ];
    for lie in lies {
        assert_eq!(sealed(&net, Kind::Request, lie, b"x").await, b"");
    }
    assert_eq!(sealed(&net, Kind::Answer, truth, b"x").await, b"");
    let long = vec![0; crate::peering::MAX_PAYLOAD + 1];
    assert_eq!(sealed(&net, Kind::Request, truth, &long).await, b"");
    agent.assert_nothing_was_asked();
    let asking = sealed(&net, Kind::Request, truth, b"x");
    let (answer, ()) = tokio::join!(asking, agent.answer_one());
    assert_ne!(answer, b"");
}

#[tokio::test]
async fn unknown_addresses_get_no_hello() {
    let net = Net::new(25, 1);
    let mut agent = net.agent(&keys(OLD), 0).await;
    // An unknown address, node b's own, and a peer's on another link.
    for stranger in [[127, 77, 25, 9], [127, 77, 25, 2], [127, 78, 25, 1]] {
        let stream = connect(stranger.into(), net.address(0, B)).await.unwrap();
        assert_eq!(until_closed(stream).await, b"");
    }
    agent.assert_nothing_was_asked();
}

#[tokio::test]
async fn truncated_request_is_dropped() {
    let net = Net::new(26, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let asking = through_the_middle(&net, b"x", NONE);
    let ((_, recorded), ()) = tokio::join!(asking, agent.answer_one());
    for length in 0..recorded.client.len() {
        let (mut stream, _) = until_it_greets(net.address(0, A).ip(), net.address(0, B)).await;
        stream.write_all(&recorded.client[..length]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(until_closed(stream).await, b"");
    }
    agent.assert_nothing_was_asked();
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
}
