//! The nodes of the cluster as they come and go: which peers there are, and whose votes count.

use heartbeat_common::time::Boottime;

use super::{Cluster, Command, Member};
use crate::{
    group::{Group, Serving},
    index::{PeerIndex, RowNumber, Seat},
    index_vec::IndexVec,
    membership::{Membership, Voters},
    peer::Peer,
    proposer::{MajorityConfig, Proposer},
};

/// Peers of which nothing is known yet, each with a row for each link.
pub(super) fn peers(members: Vec<Member>, links: usize) -> IndexVec<PeerIndex, Peer> {
    let members = (0..).map(PeerIndex).zip(members);
    let peers = members.map(|(index, Member { node, witness })| {
        Peer::new(node, witness, RowNumber::first_of(index, links), links)
    });
    peers.collect()
}

impl Cluster {
    /// Goes on with these peers, in the order of their rows, and with this membership. Those that
    /// there were before keep what is known of them.
    pub fn reform(&mut self, peers: Vec<Member>, links: usize, membership: Membership) {
        let new = self::peers(peers, links);
        let mut old = std::mem::replace(&mut self.peers, new);
        let mut seats = vec![Some(Seat::OWN)];
        for peer in &mut self.peers {
            let at = old.position(|old| old.node == peer.node);
            seats.push(at.map(Seat::of_peer));
            if let Some(at) = at {
                let first_row = peer.first_row;
                std::mem::swap(peer, &mut old[at]);
                peer.first_row = first_row;
            }
        }
        self.membership = membership;
        self.count_electors();
        let majority_config = self.majority_config();
        for group in &mut self.groups {
            group.reseat(&seats, majority_config.clone());
        }
    }

    /// Whose votes count, and by which list this node votes.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The nodes whose majority counts, or would if there were one to go by.
    pub fn voters(&self) -> &Voters {
        let membership = &self.membership;
        membership.counted().unwrap_or(membership.list())
    }

    /// Which acceptors count now: this node's is number 0, then those of the peers.
    pub(super) fn majority_config(&self) -> MajorityConfig {
        match self.membership.counted() {
            Some(voters) => self.majority_of(voters),
            // There is no list by which anything could be held.
            None => MajorityConfig {
                counts: vec![false; self.peers.len() + 1],
                voters: self.membership.list().nodes.len(),
            },
        }
    }

    /// To be called when peers or membership have changed: each look counts those who live among
    /// them.
    pub(super) fn count_electors(&mut self) {
        self.quorum.electors = self.majority_of(self.voters()).counts;
    }

    fn majority_of(&self, voters: &Voters) -> MajorityConfig {
        let peers = self.peers.iter().map(|peer| peer.node);
        let all = std::iter::once(self.local).chain(peers);
        MajorityConfig {
            counts: all.map(|node| voters.has(node)).collect(),
            voters: voters.nodes.len(),
        }
    }

    /// Claims leases by the list that the acceptor goes by, as soon as that is safe and loses
    /// nobody a vote.
    pub(super) fn settle(&mut self, now: Boottime, out: &mut Vec<Command>) {
        if self.membership.is_settled() {
            return;
        }
        for peer in &self.peers {
            let Some(at) = peer.said.at.filter(|_| peer.state.is_alive()) else {
                continue;
            };
            self.membership.hear(peer.node, peer.said.voter_set, at);
        }
        if !self.membership.may_settle(now) || self.is_somebody_behind() {
            return;
        }
        let majority_config = self.majority_of(self.membership.list());
        // An address that is not held now loses nothing by it.
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
        self.count_electors();
        for group in &mut self.groups {
            group.set_majority_config(majority_config.clone());
        }
        let version = self.membership.list().version;
        out.push(Command::Settled { version });
    }

    /// Whether a node lives that does not vote on claims by the new list yet.
    fn is_somebody_behind(&self) -> bool {
        let list = self.membership.list();
        let behind = |peer: &Peer| {
            peer.state.is_alive()
                && list.has(peer.node)
                && peer.said.voter_set.version < list.version
        };
        self.membership.counted().is_some()
            && !self.membership.is_vouched()
            && self.peers.iter().any(behind)
    }
}
