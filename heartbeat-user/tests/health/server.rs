//! Checks of servers, against our own ones on the loopback.

use std::{net::SocketAddr, time::Duration};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, HttpTarget},
    health::State,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    task::AbortHandle,
};

use crate::support::{Node, check};

const QUICK: Duration = Duration::from_millis(300);

/// Returns an address without a listener, reserved so that no other program listens there.
fn reserved() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn get(address: SocketAddr, path: &str) -> HealthCheck {
    check(HealthKind::Http(HttpTarget {
        address,
        host: address.to_string(),
        path: path.to_owned(),
    }))
}

/// Answers every request as its path says: with a status, or not at all.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let len = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            assert!(request.starts_with("GET /") && request.contains("host: 127.0.0.1:"));
            let answer = match path {
                "/garbage" => "what?\r\n\r\n".to_owned(),
                "/close" => String::new(),
                "/hang" => {
                    let _ = stream.read(&mut [0; 1]).await;
                    return;
                }
                status => format!("HTTP/1.1 {} x\r\nContent-Length: 9\r\n\r\n", &status[1..]),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

async fn server() -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener)).abort_handle())
}

#[tokio::test]
async fn port_passes_while_a_server_listens() {
    let (socket, address) = reserved();
    let mut node = Node::new(&[check(HealthKind::Tcp(address))]);
    let turn = node.turns(false).await;
    assert!(turn.message.contains(&address.to_string()), "{turn:?}");
    let listener = socket.listen(64).unwrap();
    node.turns(true).await;
    drop(listener);
    node.turns(false).await;
}

#[tokio::test]
async fn full_listener_queue_fails_at_the_timeout() {
    let (socket, address) = reserved();
    // The server accepts nothing: the first connections fill its queue, and the next one waits.
    let _listener = socket.listen(0).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let crowd_member = tokio::net::TcpStream::connect(address);
        if let Ok(member) = tokio::time::timeout(QUICK, crowd_member).await {
            crowd.push(member.unwrap());
        }
    }
    let mut node = Node::new(&[HealthCheck {
        timeout: QUICK,
        ..check(HealthKind::Tcp(address))
    }]);
    let turn = node.turns(false).await;
    assert!(turn.message.contains("longer than 300ms"), "{turn:?}");
}

#[tokio::test]
async fn http_status_passes_up_to_399() {
    let (address, _server) = server().await;
    for (path, well, word) in [
        ("/200", true, "200"),
        ("/204", true, "204"),
        ("/302", true, "302"),
        ("/399", true, "399"),
        ("/400", false, "400"),
        ("/404", false, "404"),
        ("/503", false, "503"),
        ("/garbage", false, "does not answer"),
        ("/close", false, "does not answer"),
    ] {
        let node = Node::new(&[get(address, path)]);
        node.is(if well { State::Well } else { State::Failing })
            .await;
        let status = node.status();
        assert!(status.message.contains(word), "{path}: {status:?}");
        let bad = Health::of(0, true);
        assert_eq!(
            node.health(),
            if well { Health::default() } else { bad },
            "{path}"
        );
    }
}

#[tokio::test]
async fn silent_server_fails_at_the_timeout_without_delaying_others() {
    let (address, _server) = server().await;
    let hangs = HealthCheck {
        timeout: QUICK,
        ..get(address, "/hang")
    };
    let other = HealthCheck {
        name: "other".to_owned(),
        ..get(address, "/200")
    };
    let mut node = Node::new(&[hangs, other]);
    let turn = node.turns(false).await;
    assert!(
        turn.number == 0 && turn.message.contains("longer than 300ms"),
        "{turn:?}"
    );
    assert_eq!(node.checks.snapshot()[1].state, State::Well);
}

#[tokio::test]
async fn returning_server_passes_again() {
    let (socket, address) = reserved();
    let mut node = Node::new(&[get(address, "/200")]);
    node.turns(false).await;
    tokio::spawn(serve(socket.listen(64).unwrap()));
    node.turns(true).await;
}
