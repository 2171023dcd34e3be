//! The listener to which HAProxy's `agent-check` connects for the weight of a node.
//!
//! A client sends a node's name and a newline (`agent-send "b\n"`), and gets one line: `up 75%`,
//! `up 0%` or `down #reason`. The load comes from the node's heartbeats, so the listener sends no
//! request to that node. Without sufficient data the client gets no line, and HAProxy leaves the
//! weight as it is (HAProxy Configuration Manual, section 5.2, `agent-check`).

use std::{sync::Arc, time::Duration};

use heartbeat_common::wire::NodeState;
use heartbeat_core::peer::PeerState;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{
    listener::Service,
    view::{self, Shared},
};
use crate::{clock, control::protocol::Node};

/// The longest question, in bytes. No node name is longer.
const MAX_QUESTION: u64 = 256;
/// The smallest weight of a node that may get new work, in percent: HAProxy gives no work to weight
/// 0.
const LEAST: u16 = 1;

/// The answers to agent checks, from the view of the control task.
#[derive(Clone, Debug)]
pub(super) struct AgentCheck(Shared);

impl AgentCheck {
    pub(super) fn new(view: &Shared) -> Self {
        Self(Arc::clone(view))
    }
}

impl Service for AgentCheck {
    const SUBJECT: &'static str = "HAProxy's agent checks";
    /// The time for a client to send its question and to read the answer.
    const TIME_LIMIT: Duration = Duration::from_secs(2);

    async fn serve(self, stream: TcpStream) {
        // A client that has disconnected needs no answer.
        let _ = serve_client(stream, &self.0).await;
    }
}

async fn serve_client(mut stream: TcpStream, view: &Shared) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut question = String::new();
    BufReader::new(reader.take(MAX_QUESTION))
        .read_line(&mut question)
        .await?;
    let answer = {
        let view = view::lock(view);
        let node = view.node_named(question.trim(), clock::now());
        node.filter(|_| view.is_quorate())
            .and_then(|node| answer(&node))
    };
    match answer {
        Some(answer) => writer.write_all(format!("{answer}\n").as_bytes()).await,
        None => Ok(()),
    }
}

/// Returns this node's answer about `node`; `None` if the heartbeats do not give enough data.
///
/// The answer never contains `ready` or `drain`: these would undo a decision of HAProxy's operator.
fn answer(node: &Node) -> Option<String> {
    if node.witness {
        return None;
    }
    let is = |state: PeerState| node.state == state.name();
    if is(PeerState::Down) {
        return Some("down #the node does not answer heartbeats".to_owned());
    }
    if is(PeerState::Unhealthy) {
        return Some(format!("down #{} failed", node.failing.join(", ")));
    }
    let gives_up = [NodeState::Standby, NodeState::Draining];
    if is(PeerState::Draining) || gives_up.iter().any(|state| node.agent == state.name()) {
        return Some("up 0%".to_owned());
    }
    if !is(PeerState::Up) && !is(PeerState::Suspect) {
        return None;
    }
    node.load.map(|load| format!("up {}%", weight(load)))
}

/// Returns the weight in percent for a node of this load (per mille).
fn weight(load: u16) -> u16 {
    (100 - load.min(1_000) / 10).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: PeerState, agent: NodeState, load: Option<u16>) -> Node {
        Node {
            name: "b".to_owned(),
            id: 2,
            local: false,
            witness: false,
            state: state.name().to_owned(),
            agent: agent.name().to_owned(),
            config: 0,
            config_version: None,
            key: None,
            same_keys: None,
            unanswered_ns: None,
            refused_by: Vec::new(),
            abstains: None,
            groups: 0,
            load,
            health: 0,
            complaint: None,
            failing: vec!["api".to_owned()],
            pulse_age_us: None,
            control_age_us: None,
            reason_age_us: None,
            links: Vec::new(),
        }
    }

    #[test]
    fn answer_follows_state_and_load_of_the_node() {
        use NodeState::{Active, Draining as Drains, Responder, Standby};
        use PeerState::{AgentStalled, Down, Draining, Suspect, Unhealthy, Unknown, Up};
        let cases = [
            (Up, Active, Some(0), Some("up 100%")),
            (Up, Active, Some(254), Some("up 75%")),
            (Suspect, Active, Some(500), Some("up 50%")),
            (Up, Active, Some(1_000), Some("up 1%")),
            (Up, Standby, Some(10), Some("up 0%")),
            (Draining, Drains, Some(10), Some("up 0%")),
            (Unhealthy, Active, Some(10), Some("down #api failed")),
            (
                Down,
                Active,
                Some(10),
                Some("down #the node does not answer heartbeats"),
            ),
            // The load of these nodes is unknown.
            (Up, Responder, None, None),
            (AgentStalled, Active, Some(10), None),
            (Unknown, Active, Some(10), None),
        ];
        for (state, agent, load, wanted) in cases {
            let given = answer(&node(state, agent, load));
            assert_eq!(given.as_deref(), wanted, "{state:?} {agent:?} {load:?}");
        }
        let witness = Node {
            witness: true,
            ..node(Up, Active, Some(0))
        };
        assert_eq!(answer(&witness), None);
    }

    #[test]
    fn weight_falls_with_the_load_and_never_reaches_zero() {
        let weights: Vec<_> = (0..=u16::MAX).map(weight).collect();
        assert!(weights.is_sorted_by(|a, b| a >= b));
        assert_eq!((weights[0], weights[1_000], weights[65_535]), (100, 1, 1));
    }
}
