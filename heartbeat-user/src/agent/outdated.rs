//! Peers whose heartbeats this node's kernel refuses, because they carry an older incarnation than
//! an earlier one.
//!
//! A node whose clock was set back and whose state directory is lost starts with an incarnation
//! below its last one. Its peers' kernels drop its probes as replays and do not answer them. The
//! peers continue to probe, and its answers carry its incarnation. So each peer can detect the
//! case, and names the node in its report. That node fetches the report although no answer
//! announces it, and records the incarnation that its next one has to exceed.

use std::{collections::BTreeMap, time::Duration};

use heartbeat_common::{
    index::RowNumber,
    maps::PeerRow,
    time::Boottime,
    wire::{LinkId, NodeId},
};

use crate::{config::Config, control::protocol::RefusedNode, dataplane::PeerRows};

/// The time between two checks. A node is named after two positive checks in a row: right after an
/// ordinary restart its first probe may arrive before its first answer.
const PERIOD: Duration = Duration::from_secs(1);

/// The greatest plausible incarnation, which is the wall clock in nanoseconds. A greater one comes
/// from a broken node.
const LATEST: u64 = i64::MAX as u64;

#[derive(Debug, Default)]
pub(super) struct Outdated {
    checked_at: Boottime,
    /// The nodes that the last check found, and the incarnations that they used before.
    seen: BTreeMap<NodeId, u64>,
    refused: BTreeMap<NodeId, u64>,
    /// The peers that refuse this node's own heartbeats, according to their reports.
    refusing: Vec<NodeId>,
}

impl Outdated {
    /// Reads the rows if a check is due. Returns the newly refused nodes, if the set of refused
    /// nodes has changed.
    pub(super) fn check(
        &mut self,
        config: &Config,
        rows: &PeerRows,
        now: Boottime,
    ) -> Option<Vec<NodeId>> {
        if now.since(self.checked_at) < PERIOD {
            return None;
        }
        self.checked_at = now;
        let links = config.links.len();
        let found = config.peers_enumerated().filter_map(|(index, peer)| {
            let first = RowNumber::first_of(index, links);
            let links = (0..).map(LinkId).take(links);
            let mut rows = links.map(|link| rows.row(first.on(link)));
            let received = rows.find_map(|row| refused(&row, now))?;
            Some((peer.id, received))
        });
        self.take(found.collect())
    }

    /// Records the result of a check.
    fn take(&mut self, found: BTreeMap<NodeId, u64>) -> Option<Vec<NodeId>> {
        let before = std::mem::replace(&mut self.seen, found);
        let again = |(node, received): (&NodeId, &u64)| {
            before.contains_key(node).then_some((*node, *received))
        };
        let refused: BTreeMap<_, _> = self.seen.iter().filter_map(again).collect();
        if refused == self.refused {
            return None;
        }
        let known = std::mem::replace(&mut self.refused, refused);
        let new = self.refused.keys().filter(|node| !known.contains_key(node));
        Some(new.copied().collect())
    }

    /// Returns the refused nodes in the form of the report.
    pub(super) fn report(&self) -> Vec<RefusedNode> {
        let refused = self.refused.iter();
        refused
            .map(|(node, received)| RefusedNode {
                node: node.0,
                received: *received,
            })
            .collect()
    }

    /// Records a peer's report on this node's heartbeats.
    ///
    /// `received` is the incarnation of this node that the peer had received, if it refuses the
    /// present one. Returns whether the refusal is new.
    pub(super) fn peer_reported(&mut self, peer: NodeId, received: Option<u64>) -> bool {
        let known = self.refusing.contains(&peer);
        match received {
            Some(_) if !known => self.refusing.push(peer),
            None if known => self.refusing.retain(|other| *other != peer),
            _ => {}
        }
        received.is_some() && !known
    }
}

/// Returns the incarnation that this node's next one has to exceed, if the peer's value is
/// plausible.
pub(super) fn to_exceed(own: u64, received: u64) -> Option<u64> {
    (own < received && received < LATEST).then_some(received)
}

/// Returns the latest incarnation in probes of this row's peer, if its answers carry an older one.
fn refused(row: &PeerRow, now: Boottime) -> Option<u64> {
    let answers =
        row.last_reply_at != 0 && now.since(Boottime::from_nanos(row.last_reply_at)) < PERIOD;
    (answers && row.incarnation != 0 && row.incarnation < row.asked_incarnation)
        .then_some(row.asked_incarnation)
}

/// Returns whether this row's peer probes this node and has not answered it for long, judged by the
/// sent probes.
pub(super) fn asks_and_answers_not(row: &PeerRow, config: &Config, now: Boottime) -> bool {
    let age = |at: u64| now.since(Boottime::from_nanos(at));
    let probes = u32::try_from(row.probes_left).unwrap_or(u32::MAX);
    row.last_asked_at != 0
        && age(row.last_asked_at) < config.timeout * 2
        && age(row.last_reply_at) > PERIOD
        && config.interval.saturating_mul(probes) > PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);

    fn row(incarnation: u64, received: u64) -> PeerRow {
        PeerRow {
            last_reply_at: 5_000_000_000,
            incarnation,
            asked_incarnation: received,
            ..PeerRow::default()
        }
    }

    #[test]
    fn row_of_an_older_incarnation_is_refused_while_its_kernel_answers() {
        let now = Boottime::from_nanos(5_500_000_000);
        for (row, expected) in [
            (row(7, 9), Some(9)),
            (row(9, 9), None),
            // The peer has restarted, and its first probe is in flight.
            (row(11, 9), None),
            // The peer has no agent.
            (row(0, 9), None),
        ] {
            assert_eq!(refused(&row, now), expected);
        }
        assert_eq!(refused(&row(7, 9), now.after(PERIOD)), None, "it is silent");
    }

    #[test]
    fn node_is_named_once_after_two_checks_in_a_row() {
        let mut outdated = Outdated::default();
        let found = || BTreeMap::from([(NODE, 9)]);
        assert_eq!(outdated.take(found()), None);
        assert_eq!(outdated.take(BTreeMap::new()), None, "it was a restart");
        assert_eq!(outdated.take(found()), None);
        assert_eq!(outdated.take(found()), Some(vec![NODE]));
        assert_eq!(outdated.take(found()), None);
        assert_eq!(
            outdated.report(),
            [RefusedNode {
                node: 2,
                received: 9
            }]
        );
        assert_eq!(outdated.take(BTreeMap::new()), Some(Vec::new()));
        assert_eq!(outdated.report(), []);
    }

    #[test]
    fn refusal_by_a_peer_is_reported_once_until_it_ends() {
        let mut outdated = Outdated::default();
        assert!(!outdated.peer_reported(NODE, None));
        assert!(outdated.peer_reported(NODE, Some(9)));
        assert!(!outdated.peer_reported(NODE, Some(9)));
        assert!(!outdated.peer_reported(NODE, None));
        assert!(outdated.peer_reported(NODE, Some(9)));
    }

    #[test]
    fn next_incarnation_exceeds_only_plausible_values() {
        assert_eq!(to_exceed(7, 9), Some(9));
        assert_eq!(to_exceed(9, 9), None);
        assert_eq!(to_exceed(7, u64::MAX), None);
    }
}
