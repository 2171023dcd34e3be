//! Slow peers, and many connections.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::{AskError, B, Net, OLD, PATIENCE, ask, keys, until_it_greets};
use crate::peering::{ANSWER_PATIENCE, server::MAX_CONNECTIONS};

#[tokio::test]
async fn silent_and_slow_clients_are_disconnected() {
    let net = Net::new(40, 1);
    let _agent = net.agent(&keys(OLD), 0).await;
    let (mut silent, _) = until_it_greets(net.address(0, super::A).ip(), net.address(0, B)).await;
    let (slow, _) = until_it_greets(net.address(0, super::A).ip(), net.address(0, B)).await;
    let start = Instant::now();
    let (mut slow, mut drip) = slow.into_split();
    let dripping = tokio::spawn(async move {
        while drip.write_all(b"H").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut byte = [0; 1];
    for read in [silent.read(&mut byte).await, slow.read(&mut byte).await] {
        assert!(!matches!(read, Ok(1..)), "{read:?}");
    }
    assert!(start.elapsed() < PATIENCE);
    tokio::time::timeout(PATIENCE, dripping)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn client_gives_up_on_an_agent_without_an_answer() {
    let net = Net::new(41, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let config = net.config("a");
    // Longer than a busy machine needs for the request, shorter than the server waits.
    let patience = ANSWER_PATIENCE / 5;
    let (answer, held) = tokio::join!(ask(&config, &keys, B, b"x", patience), agent.next());
    let shown = answer.unwrap_err().to_string();
    assert!(shown.contains("it did not answer within 1s"), "{shown}");
    assert!(
        shown.contains("it may have carried out the command"),
        "{shown}"
    );
    drop(held);
    // A client that waits longer gets the server's refusal.
    let (answer, _held) = tokio::join!(net.ask_b(&keys, b"x"), async {
        let held = agent.next().await;
        let late = ANSWER_PATIENCE + PATIENCE;
        let mut answer = held.answer;
        tokio::time::timeout(late, answer.closed()).await.unwrap();
    });
    let shown = answer.unwrap_err().to_string();
    assert!(
        shown.contains("its agent is busy since 5 s and may still carry it out"),
        "{shown}"
    );
}

#[tokio::test]
async fn dropped_request_and_oversized_answer_are_reported() {
    let net = Net::new(42, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), async {
        drop(agent.next().await);
    });
    let error = answer.unwrap_err();
    assert!(matches!(error, AskError::Refused { .. }), "{error}");
    assert!(
        error.to_string().contains("its agent is stopping"),
        "{error}"
    );
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), async {
        let answer = agent.next().await.answer;
        answer
            .send(vec![0; crate::peering::MAX_PAYLOAD + 1])
            .unwrap();
    });
    let shown = answer.unwrap_err().to_string();
    assert!(
        shown.contains("the answer of 65537 bytes is too long"),
        "{shown}"
    );
}

#[tokio::test]
async fn idle_connections_do_not_block_others() {
    let net = Net::new(43, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let mut idle = Vec::new();
    for _ in 0..3 * MAX_CONNECTIONS {
        let (stream, _) = until_it_greets(net.address(0, super::A).ip(), net.address(0, B)).await;
        idle.push(stream);
    }
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
}

#[tokio::test]
async fn authenticated_connection_is_not_closed_for_a_new_one() {
    let net = Net::new(44, 1);
    let keys = keys(OLD);
    let mut agent = net.agent(&keys, 0).await;
    let mut asking = JoinSet::new();
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let (config, keys) = (net.config("a"), keys.clone());
        asking.spawn(async move { ask(&config, &keys, B, b"x", PATIENCE).await });
        held.push(agent.next().await);
    }
    let error = net.ask_b(&keys, b"one more").await.unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, AskError::Unreachable { .. }), "{shown}");
    assert!(
        shown.contains("it closed the connection at once"),
        "{shown}"
    );
    for asked in held {
        asked.answer.send(asked.payload).unwrap();
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), b"x");
    }
    let (answer, ()) = tokio::join!(net.ask_b(&keys, b"x"), agent.answer_one());
    assert_eq!(answer.unwrap(), b"1 asked x");
}
