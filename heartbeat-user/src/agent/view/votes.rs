//! The voting state of each node: which votes count, and which acceptors abstain.

use std::time::Duration;

use heartbeat_common::{time::Boottime, wire::NodeId};

use super::View;
use crate::{
    agent::{
        abstentions,
        voters::{Absence, Voter},
    },
    clock,
    config::Node,
    control::protocol,
};

impl View {
    /// Returns the remaining abstention of this node's acceptor.
    pub(in crate::agent) fn own_abstention(&self, now: Boottime) -> Option<protocol::Abstention> {
        abstentions::abstention(self.slots.votes_from(), false, now)
    }

    /// Returns the remaining abstention of an answering node's acceptor.
    pub(super) fn abstention(&self, node: NodeId, now: Boottime) -> Option<protocol::Abstention> {
        if node == self.config.local().id {
            return self.own_abstention(now);
        }
        let known = self.abstentions.of(node, self.config.max_lease, now);
        known.filter(|_| self.lives(node))
    }

    /// Records the remaining abstention of a peer from its report, which has just arrived.
    pub(in crate::agent) fn abstains(&mut self, node: NodeId, for_ns: u64) {
        let left = Duration::from_nanos(for_ns).min(self.config.max_lease);
        self.abstentions.reported(node, left, clock::now());
    }

    /// Returns the voting state of all nodes. A peer without an answer since `asked` counts as
    /// absent.
    pub(in crate::agent) fn voters(&self, now: Boottime, asked: Boottime) -> Vec<Voter> {
        let voter = |node: &Node| Voter {
            node: node.id,
            name: node.name.clone(),
            absence: self.absence(node.id, asked),
            abstains: self.abstention(node.id, now),
        };
        self.config.nodes.iter().map(voter).collect()
    }

    /// Returns the reason why the vote of a node does not count, if any, apart from an abstention.
    fn absence(&self, node: NodeId, asked: Boottime) -> Option<Absence> {
        let peer = self.config.peer_index(node)?;
        let answered_at = Boottime::from_nanos(self.latest(peer).last_reply_at);
        match () {
            () if !self.lives(node) => Some(Absence::Down),
            () if self.groups.is_stopping(node) => Some(Absence::Stopping),
            () if answered_at < asked => Some(Absence::Silent),
            () => None,
        }
    }

    /// Returns whether a live peer has not answered since `asked`.
    pub(in crate::agent) fn is_any_silent_since(&self, asked: Boottime) -> bool {
        let mut peers = self.config.peers();
        peers.any(|peer| self.absence(peer.id, asked) == Some(Absence::Silent))
    }
}
