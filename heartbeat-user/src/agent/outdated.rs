//! Peers whose heartbeats this node's kernel refuses, since they are of an older incarnation than
//! was heard before.
//!
//! A node whose clock was set back and whose state directory is lost begins a life with an
//! incarnation below its last one. Its peers' kernels take its probes for replays and answer none,
//! but they go on asking, and its answers name its incarnation. So each peer can tell, and tells in
//! its report. That node fetches the report although no answer announces it, and writes down what
//! its next incarnation has to exceed.

use std::{collections::BTreeMap, time::Duration};

use heartbeat_common::{
    index::RowNumber,
    maps::PeerRow,
    time::Boottime,
    wire::{LinkId, NodeId},
};

use crate::{config::Config, control::protocol::RefusedNode, dataplane::PeerRows};

/// Between two looks. A node is named after two in a row: right after an ordinary restart its first
/// probe may come before its first answer.
const LOOK: Duration = Duration::from_secs(1);

/// An incarnation is the wall clock in nanoseconds, so a greater one is of a broken node.
const LATEST: u64 = i64::MAX as u64;

#[derive(Debug, Default)]
pub(super) struct Outdated {
    looked: Boottime,
    /// The nodes that the last look found, and the incarnations that were heard of them.
    seen: BTreeMap<NodeId, u64>,
    refused: BTreeMap<NodeId, u64>,
    /// The peers that refuse this node's own heartbeats, as they reported.
    refusing: Vec<NodeId>,
}

impl Outdated {
    /// Reads the rows, unless that was done lately. Returns the nodes that are refused from now on,
    /// if others are than before.
    pub(super) fn check(
        &mut self,
        config: &Config,
        rows: &PeerRows,
        now: Boottime,
    ) -> Option<Vec<NodeId>> {
        if now.since(self.looked) < LOOK {
            return None;
        }
        self.looked = now;
        let links = config.links.len();
        let found = config.peers_enumerated().filter_map(|(index, peer)| {
            let first = RowNumber::first_of(index, links);
            let links = (0..).map(LinkId).take(links);
            let mut rows = links.map(|link| rows.row(first.on(link)));
            let heard = rows.find_map(|row| refused(&row, now))?;
            Some((peer.id, heard))
        });
        self.take(found.collect())
    }

    /// Takes in what a look found.
    fn take(&mut self, found: BTreeMap<NodeId, u64>) -> Option<Vec<NodeId>> {
        let before = std::mem::replace(&mut self.seen, found);
        let again =
            |(node, heard): (&NodeId, &u64)| before.contains_key(node).then_some((*node, *heard));
        let refused: BTreeMap<_, _> = self.seen.iter().filter_map(again).collect();
        if refused == self.refused {
            return None;
        }
        let known = std::mem::replace(&mut self.refused, refused);
        let new = self.refused.keys().filter(|node| !known.contains_key(node));
        Some(new.copied().collect())
    }

    /// The nodes that are refused, as the report has them.
    pub(super) fn report(&self) -> Vec<RefusedNode> {
        let refused = self.refused.iter();
        refused
            .map(|(node, heard)| RefusedNode {
                node: node.0,
                heard: *heard,
            })
            .collect()
    }

    /// A peer reported that it refuses this node's heartbeats, of which it heard the incarnation
    /// `heard`, or that it does not. Returns whether it does from now on.
    pub(super) fn told(&mut self, peer: NodeId, heard: Option<u64>) -> bool {
        let known = self.refusing.contains(&peer);
        match heard {
            Some(_) if !known => self.refusing.push(peer),
            None if known => self.refusing.retain(|other| *other != peer),
            _ => {}
        }
        heard.is_some() && !known
    }
}

/// The incarnation that this node's next one has to exceed, if what a peer heard can be true.
pub(super) fn to_exceed(own: u64, heard: u64) -> Option<u64> {
    (own < heard && heard < LATEST).then_some(heard)
}

/// The incarnation that was heard of the peer of this row, where what it says now is older.
fn refused(row: &PeerRow, now: Boottime) -> Option<u64> {
    let answers =
        row.last_reply_at != 0 && now.since(Boottime::from_nanos(row.last_reply_at)) < LOOK;
    (answers && row.incarnation != 0 && row.incarnation < row.asked_incarnation)
        .then_some(row.asked_incarnation)
}

/// Whether the peer of this row asks this node, and has not answered it for long, as far as the
/// probes that left show.
pub(super) fn asks_and_answers_not(row: &PeerRow, config: &Config, now: Boottime) -> bool {
    let age = |at: u64| now.since(Boottime::from_nanos(at));
    let probes = u32::try_from(row.probes_left).unwrap_or(u32::MAX);
    row.last_asked_at != 0
        && age(row.last_asked_at) < config.timeout * 2
        && age(row.last_reply_at) > LOOK
        && config.interval.saturating_mul(probes) > LOOK
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);

    fn row(incarnation: u64, heard: u64) -> PeerRow {
        PeerRow {
            last_reply_at: 5_000_000_000,
            incarnation,
            asked_incarnation: heard,
            ..PeerRow::default()
        }
    }

    #[test]
    fn row_of_older_incarnation_than_heard_is_refused_while_its_kernel_answers() {
        let now = Boottime::from_nanos(5_500_000_000);
        for (row, expected) in [
            (row(7, 9), Some(9)),
            (row(9, 9), None),
            // It began anew, and its first probe is on its way.
            (row(11, 9), None),
            // No agent.
            (row(0, 9), None),
        ] {
            assert_eq!(refused(&row, now), expected);
        }
        assert_eq!(refused(&row(7, 9), now.after(LOOK)), None, "it is silent");
    }

    #[test]
    fn node_is_named_after_two_looks_in_a_row_and_once() {
        let mut outdated = Outdated::default();
        let found = || BTreeMap::from([(NODE, 9)]);
        assert_eq!(outdated.take(found()), None);
        assert_eq!(outdated.take(BTreeMap::new()), None, "it was a restart");
        assert_eq!(outdated.take(found()), None);
        assert_eq!(outdated.take(found()), Some(vec![NODE]));
        assert_eq!(outdated.take(found()), None);
        assert_eq!(outdated.report(), [RefusedNode { node: 2, heard: 9 }]);
        assert_eq!(outdated.take(BTreeMap::new()), Some(Vec::new()));
        assert_eq!(outdated.report(), []);
    }

    #[test]
    fn refusal_by_a_peer_is_told_once_until_it_ends() {
        let mut outdated = Outdated::default();
        assert!(!outdated.told(NODE, None));
        assert!(outdated.told(NODE, Some(9)));
        assert!(!outdated.told(NODE, Some(9)));
        assert!(!outdated.told(NODE, None));
        assert!(outdated.told(NODE, Some(9)));
    }

    #[test]
    fn next_incarnation_is_to_exceed_only_what_a_clock_can_have_shown() {
        assert_eq!(to_exceed(7, 9), Some(9));
        assert_eq!(to_exceed(9, 9), None);
        assert_eq!(to_exceed(7, u64::MAX), None);
    }
}
