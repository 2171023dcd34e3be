//! Fetches the reports of peers: a heartbeat announces a new report, and the channel between agents
//! transfers it.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow, bail};
use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_core::{index::PeerIndex, index_vec::IndexVec};
use tokio::sync::mpsc::UnboundedSender;

use super::outdated;
use crate::{
    clock,
    config::{Config, key::Keys},
    control::protocol::{FailedAction, Report, Request, Response},
    dataplane::PeerRows,
    logging, peering,
};

/// The wait before the next request to a peer after a failed one.
const RETRY: Duration = Duration::from_millis(250);
/// The time between two requests to a peer that probes this node and does not answer its probes.
const DOUBT: Duration = Duration::from_secs(2);
/// The time limit for a peer's answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The number of peers with a request in flight. Each needs a connection, and all peers have new
/// reports after a start.
const AT_ONCE: usize = 32;

/// A peer's report, or the error of the attempt.
pub(super) type Fetched = (NodeId, Result<Box<Report>>);

#[derive(Debug)]
pub(super) struct Exchange {
    config: Arc<Config>,
    keys: Arc<Keys>,
    rows: PeerRows,
    /// In the order of the configuration.
    peers: IndexVec<PeerIndex, Peer>,
    /// The first peer to request from if not all can be served at once, so that every peer gets its
    /// turn.
    first: PeerIndex,
    fetched: UnboundedSender<Fetched>,
}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    asking: bool,
    not_before: Boottime,
    /// The time of the last request that no heartbeat had announced.
    doubted_at: Boottime,
    /// Whether the last attempt failed. A failure is logged once.
    failing: bool,
}

impl Peer {
    fn new(node: NodeId) -> Self {
        Self {
            node,
            asking: false,
            not_before: Boottime::default(),
            doubted_at: Boottime::default(),
            failing: false,
        }
    }
}

impl Exchange {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Arc<Keys>,
        rows: PeerRows,
        fetched: UnboundedSender<Fetched>,
    ) -> Self {
        let peers = config.peers().map(|peer| Peer::new(peer.id));
        Self {
            peers: peers.collect(),
            first: PeerIndex(0),
            config,
            keys,
            rows,
            fetched,
        }
    }

    /// Fetches from the peers of this configuration from now on. Results for removed peers are
    /// discarded.
    pub(super) fn reform(&mut self, config: Arc<Config>, rows: PeerRows) {
        let mut old = std::mem::take(&mut self.peers).into_vec();
        let peer = |node| match old.iter().position(|peer| peer.node == node) {
            Some(at) => old.swap_remove(at),
            None => Peer::new(node),
        };
        self.peers = config.peers().map(|peer| peer.id).map(peer).collect();
        (self.config, self.rows, self.first) = (config, rows, PeerIndex(0));
    }

    /// Uses these keys for requests from now on.
    pub(super) fn rekey(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
    }

    /// Requests the reports of all peers that have a new one. `known` returns the report number and
    /// incarnation that this node has of a peer.
    pub(super) fn poll(&mut self, known: impl Fn(NodeId) -> (u32, u64)) {
        let now = clock::now();
        let links = self.config.links.len();
        let has_news = |index: PeerIndex| {
            let (row, peer) = (self.rows.latest(index, links), &self.peers[index]);
            let news = row.report != 0 && (row.report, row.incarnation) != known(peer.node);
            // The peer may refuse this node's heartbeats: only the peer's report can tell.
            let doubts = now.since(peer.doubted_at) >= DOUBT
                && outdated::asks_and_answers_not(&row, &self.config, now);
            (news || doubts) && now >= peer.not_before
        };
        for index in turns(&self.peers, self.first, has_news) {
            let peer = &mut self.peers[index];
            peer.asking = true;
            peer.doubted_at = now;
            self.first = PeerIndex(index.0 + 1);
            let (config, keys) = (Arc::clone(&self.config), Arc::clone(&self.keys));
            let (node, fetched) = (peer.node, self.fetched.clone());
            tokio::spawn(async move {
                let report = fetch(&config, &keys, node).await;
                let _ = fetched.send((node, report));
            });
        }
    }

    /// Handles the end of an attempt. Returns the report, if the attempt succeeded.
    pub(super) fn ended(&mut self, (node, result): Fetched) -> Option<(NodeId, Report)> {
        let index = self.peers.position(|peer| peer.node == node)?;
        let row = self.rows.latest(index, self.config.links.len());
        let silence = clock::now().since(Boottime::from_nanos(row.last_reply_at));
        // A peer that stopped answering meanwhile is logged as such elsewhere.
        let is_heard = silence <= self.config.timeout * 2;
        let peer = &mut self.peers[index];
        peer.asking = false;
        match result {
            Ok(report) => {
                peer.failing = false;
                Some((node, *report))
            }
            Err(error) => {
                peer.not_before = clock::now().after(RETRY);
                if is_heard && !std::mem::replace(&mut peer.failing, true) {
                    let (name, port) = (self.config.node(node), self.config.port);
                    let name = name.map_or("", |node| &node.name);
                    log::warn!(
                        "no status report from node {name} (id {}), whose heartbeats arrive: TCP \
                         port {port} is closed (agent not running, or a firewall between the \
                         nodes); commands do not reach it, and the state of its resources is \
                         unknown: {error:#}",
                        node.0
                    );
                }
                None
            }
        }
    }
}

/// Returns the peers to request from now: as many as there are free places, beginning with the
/// index `first`.
fn turns(
    peers: &IndexVec<PeerIndex, Peer>,
    first: PeerIndex,
    has_news: impl Fn(PeerIndex) -> bool,
) -> Vec<PeerIndex> {
    let asking = peers.iter().filter(|peer| peer.asking).count();
    // The list may have had more peers when `first` was set.
    let first = first.0.min(peers.len());
    let in_turn = (first..peers.len()).chain(0..first).map(PeerIndex);
    in_turn
        .filter(|index| !peers[*index].asking && has_news(*index))
        .take(AT_ONCE.saturating_sub(asking))
        .collect()
}

async fn fetch(config: &Config, keys: &Keys, node: NodeId) -> Result<Box<Report>> {
    let request = serde_json::to_vec(&Request::Report)?;
    let answer = peering::ask(config, keys, node, &request, PATIENCE).await?;
    // Both errors quote the peer.
    let answer = serde_json::from_slice(&answer).map_err(|error| {
        let error = logging::one_line(error.to_string().as_bytes());
        anyhow!("its answer is not understood: {error}")
    })?;
    match answer {
        Response::Report(report) => Ok(Box::new(cleaned(*report))),
        Response::Error { message } => bail!(logging::one_line(message.as_bytes())),
        _ => bail!("its answer is not a report"),
    }
}

/// Removes control sequences from a peer's texts. This node shows them in logs, terminals and its
/// status.
fn cleaned(mut report: Report) -> Report {
    let line = |text: &mut String| *text = logging::one_line(text.as_bytes());
    let lines = |text: &mut String| *text = logging::clean(text);
    for group in &mut report.groups {
        line(&mut group.name);
        for resource in &mut group.resources {
            line(&mut resource.name);
            line(&mut resource.state);
        }
    }
    for check in &mut report.failing {
        line(&mut check.name);
        lines(&mut check.message);
    }
    for failure in &mut report.failures {
        let FailedAction {
            node,
            resource,
            action,
            outcome,
            at,
            message,
            ..
        } = failure;
        let texts = [node, resource, action, outcome, at];
        texts.into_iter().for_each(line);
        lines(message);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{FailingCheck, GroupReport, ResourceReport};

    #[test]
    fn report_of_a_peer_has_no_control_characters_left() {
        let bad = || "a\x1b[2J\n<0>b\r".to_owned();
        let report = Report {
            groups: vec![GroupReport {
                name: bad(),
                resources: vec![ResourceReport {
                    name: bad(),
                    state: bad(),
                    failures: 1,
                }],
                ..GroupReport::default()
            }],
            failing: vec![FailingCheck {
                name: bad(),
                message: bad(),
            }],
            failures: vec![FailedAction {
                node: bad(),
                resource: bad(),
                action: bad(),
                outcome: bad(),
                code: None,
                at_unix_ns: 0,
                at: bad(),
                message: bad(),
            }],
            ..Report::default()
        };
        // serde escapes the remaining control characters, each as `\\u00XX`, `\\r` or `\\n`.
        let before = serde_json::to_string(&report).unwrap();
        assert_eq!(before.matches("\\u001b").count(), 11);
        let text = serde_json::to_string(&cleaned(report)).unwrap();
        assert!(
            !text.contains("\\u001b") && !text.contains("\"\\r"),
            "{text}"
        );
        // The two messages may have several lines.
        assert_eq!(text.matches("\\n<0>b").count(), 11);
        assert_eq!(text.matches("\\\\n<0>b").count(), 9, "{text}");
    }

    #[test]
    fn few_are_asked_at_once_and_all_get_their_turn() {
        let mut peers: IndexVec<PeerIndex, Peer> = (1..=80).map(NodeId).map(Peer::new).collect();
        let mut first = PeerIndex(0);
        let mut asked = Vec::new();
        while asked.len() < 2 * peers.len() {
            let now = turns(&peers, first, |_| true);
            assert!((1..=AT_ONCE).contains(&now.len()));
            for index in &now {
                peers[*index].asking = true;
                first = PeerIndex(index.0 + 1);
            }
            assert!(
                turns(&peers, first, |_| true).is_empty(),
                "there is no place"
            );
            // All of these requests failed, and all peers still have a new report.
            for index in &now {
                peers[*index].asking = false;
            }
            asked.extend(now);
        }
        for index in peers.indices() {
            assert!(asked.iter().filter(|other| **other == index).count() >= 2);
        }
        let behind = PeerIndex(80);
        assert_eq!(
            turns(&peers, behind, |index| index == PeerIndex(7)),
            [PeerIndex(7)]
        );
        // Some peers were removed since `first` was set.
        peers.truncate(3);
        assert_eq!(turns(&peers, behind, |_| true), [0, 1, 2].map(PeerIndex));
    }
}
