//! Fetches the reports of peers: a heartbeat says that there is a new one, the channel between agents
//! brings it.

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

/// How long to wait before a peer that could not be asked is asked again.
const RETRY: Duration = Duration::from_millis(250);
/// How often a peer is asked that asks this node and answers it not.
const DOUBT: Duration = Duration::from_secs(2);
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Peers that are asked at the same time: each takes a connection, and after a start all have news.
const AT_ONCE: usize = 32;

/// A peer's report, or why there is none.
pub(super) type Fetched = (NodeId, Result<Box<Report>>);

#[derive(Debug)]
pub(super) struct Exchange {
    config: Arc<Config>,
    keys: Arc<Keys>,
    rows: PeerRows,
    /// In the order of the configuration.
    peers: IndexVec<PeerIndex, Peer>,
    /// Who is asked first if not all can be: all get their turn.
    first: PeerIndex,
    fetched: UnboundedSender<Fetched>,
}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    asking: bool,
    not_before: Boottime,
    /// When it was last asked although no answer of it announced a report.
    doubted_at: Boottime,
    /// Whether the last attempt failed: that is said once.
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

    /// Asks the peers of this configuration from now on. What was asked of others meanwhile is not waited for.
    pub(super) fn reform(&mut self, config: Arc<Config>, rows: PeerRows) {
        let mut old = std::mem::take(&mut self.peers).into_vec();
        let peer = |node| match old.iter().position(|peer| peer.node == node) {
            Some(at) => old.swap_remove(at),
            None => Peer::new(node),
        };
        self.peers = config.peers().map(|peer| peer.id).map(peer).collect();
        (self.config, self.rows, self.first) = (config, rows, PeerIndex(0));
    }

    /// Asks with these keys from now on.
    pub(super) fn rekey(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
    }

    /// Asks whoever has something new. `known` tells what this node has of a peer.
    pub(super) fn poll(&mut self, known: impl Fn(NodeId) -> (u32, u64)) {
        let now = clock::now();
        let links = self.config.links.len();
        let has_news = |index: PeerIndex| {
            let (row, peer) = (self.rows.latest(index, links), &self.peers[index]);
            let news = row.report != 0 && (row.report, row.incarnation) != known(peer.node);
            // It may refuse this node's heartbeats: only its report can say so.
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

    /// An attempt has ended. Returns the report, if it brought one.
    pub(super) fn ended(&mut self, (node, result): Fetched) -> Option<(NodeId, Report)> {
        let index = self.peers.position(|peer| peer.node == node)?;
        let row = self.rows.latest(index, self.config.links.len());
        let silence = clock::now().since(Boottime::from_nanos(row.last_reply_at));
        // One that fell silent meanwhile is told of as such.
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
                        "no status report from node {name} (id {}), whose heartbeats arrive: TCP port {port} is \
                         closed (agent not running, or a firewall between the nodes); commands do not reach it, and \
                         the state of its resources is unknown: {error:#}",
                        node.0
                    );
                }
                None
            }
        }
    }
}

/// Who is asked now, of those with news: as many as there are places free, the one with the number `first` first.
fn turns(
    peers: &IndexVec<PeerIndex, Peer>,
    first: PeerIndex,
    has_news: impl Fn(PeerIndex) -> bool,
) -> Vec<PeerIndex> {
    let asking = peers.iter().filter(|peer| peer.asking).count();
    // There may have been more peers when it was their turn.
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
    // Either error quotes the peer.
    let answer = serde_json::from_slice(&answer).map_err(|error| {
        let error = logging::one_line(error.to_string().as_bytes());
        anyhow!("its answer is not understood: {error}")
    })?;
    match answer {
        Response::Report(report) => Ok(Box::new(cleaned(*report))),
        Response::Error { message } => bail!(logging::one_line(message.as_bytes())),
        _ => bail!("it answered something else"),
    }
}

/// A peer's words, without what a log or a terminal would take for an order. They are shown on this
/// node, and by programs that read its status.
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
        // serde escapes what is left: each control character as `\\u00XX`, `\\r` or `\\n`.
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
            // None of them could be asked, and all still have news.
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
        // Others went since it was their turn.
        peers.truncate(3);
        assert_eq!(turns(&peers, behind, |_| true), [0, 1, 2].map(PeerIndex));
    }
}
