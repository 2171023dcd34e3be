//! Changes of the cluster's nodes: the peers, and the nodes whose votes count.

use heartbeat_common::time::Boottime;

use super::{Cluster, Command, Member};
use crate::{
    group::{Group, Serving},
    index::{AcceptorIndex, PeerIndex, RowNumber},
    index_vec::IndexVec,
    membership::{Membership, Voters},
    peer::Peer,
    proposer::{MajorityConfig, Proposer},
};

/// New peers, each with a row for each link.
pub(super) fn peers(members: Vec<Member>, links: usize) -> IndexVec<PeerIndex, Peer> {
    let members = (0..).map(PeerIndex).zip(members);
    let peers = members.map(|(index, Member { node, witness })| {
        Peer::new(node, witness, RowNumber::first_of(index, links), links)
    });
    peers.collect()
}

impl Cluster {
    /// Replaces the peers, in the order of their rows, and the membership. A peer that existed
    /// before keeps its state.
    pub fn reform(&mut self, peers: Vec<Member>, links: usize, membership: Membership) {
        let new = self::peers(peers, links);
        let mut old = std::mem::replace(&mut self.peers, new);
        let mut former = vec![Some(AcceptorIndex::OWN)];
        for peer in &mut self.peers {
            let at = old.position(|old| old.node == peer.node);
            former.push(at.map(AcceptorIndex::of_peer));
            if let Some(at) = at {
                let first_row = peer.first_row;
                std::mem::swap(peer, &mut old[at]);
                peer.first_row = first_row;
            }
        }
        self.membership = membership;
        self.count_voting_nodes();
        let majority_config = self.majority_config();
        for group in &mut self.groups {
            group.renumber_acceptors(&former, majority_config.clone());
        }
    }

    /// The nodes whose votes count, and the list by which this node votes.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The nodes whose majority counts. Without a list for claims, the acceptor's list.
    pub fn voters(&self) -> &Voters {
        let membership = &self.membership;
        membership.claiming().unwrap_or(membership.list())
    }

    /// The acceptors that count now: this node's has index 0, and those of the peers follow.
    pub(super) fn majority_config(&self) -> MajorityConfig {
        match self.membership.claiming() {
            Some(voters) => self.majority_of(voters),
            // No list allows a claim.
            None => MajorityConfig {
                counts: vec![false; self.peers.len() + 1],
                voters: self.membership.list().nodes.len(),
            },
        }
    }

    /// Updates the set of voting nodes, among which each step counts the live ones. The caller must
    /// have changed peers or membership.
    pub(super) fn count_voting_nodes(&mut self) {
        self.quorum.voting = self.majority_of(self.voters()).counts;
    }

    fn majority_of(&self, voters: &Voters) -> MajorityConfig {
        let peers = self.peers.iter().map(|peer| peer.node);
        let all = std::iter::once(self.local).chain(peers);
        MajorityConfig {
            counts: all.map(|node| voters.has(node)).collect(),
            voters: voters.nodes.len(),
        }
    }

    /// Switches the claims to the acceptor's list, as soon as that is safe and costs no owner its
    /// majority.
    pub(super) fn settle(&mut self, now: Boottime, out: &mut Vec<Command>) {
        if self.membership.is_settled() {
            return;
        }
        for peer in &self.peers {
            let Some(at) = peer.last_reply.at.filter(|_| peer.state.is_alive()) else {
                continue;
            };
            self.membership
                .observe(peer.node, peer.last_reply.voter_set, at);
        }
        if !self.membership.may_settle(now) || self.is_any_node_behind() {
            return;
        }
        let majority_config = self.majority_of(self.membership.list());
        // An address without a lease now loses nothing by the switch.
        let stays = |proposer: &Proposer| {
            proposer.lease_end() <= now || proposer.lease_end_by(&majority_config) > now
        };
        let goes_on = |group: &Group| {
            group.serving() != Serving::Started
                || group.open_until() <= now
                || group.proposer().lease_end_by(&majority_config) > now
                    && group.proposers().all(stays)
        };
        if !self.groups.iter().all(goes_on) {
            return;
        }
        self.membership.settle();
        self.count_voting_nodes();
        for group in &mut self.groups {
            group.set_majority_config(majority_config.clone());
        }
        let version = self.membership.list().version;
        out.push(Command::Settled { version });
    }

    /// Whether a live node does not vote on claims by the new list yet.
    fn is_any_node_behind(&self) -> bool {
        let list = self.membership.list();
        let behind = |peer: &Peer| {
            peer.state.is_alive()
                && list.has(peer.node)
                && peer.last_reply.voter_set.version < list.version
        };
        self.membership.claiming().is_some()
            && !self.membership.is_in_use()
            && self.peers.iter().any(behind)
    }
}
