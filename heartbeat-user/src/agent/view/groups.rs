//! The status of each group: its lease, where it runs, and where it may still run.

use heartbeat_common::{
    time::Boottime,
    wire::{LinkSet, NodeId, NodeState},
};
use heartbeat_core::{index::GroupIndex, peer::PeerState};

use super::View;
use crate::{
    config::{Group, ResourceKind},
    control::protocol,
};

impl View {
    /// Returns the nodes that do not reach the network of a group's addresses, as far as known.
    pub(in crate::agent) fn cut_off(&self, group: &Group, broken: &[String]) -> Vec<String> {
        let links = self.links_of(group);
        let silent = |node: &NodeId| {
            let peer = self.peers.position(|peer| peer.node == *node);
            let owned = match peer {
                Some(peer) if self.peers[peer].state.is_alive() => self.latest(peer).owned(),
                Some(_) => return false,
                None => self.local.read().owned(),
            };
            owned.cut_off().meets(links)
        };
        let nodes = group.rank.iter();
        let named = nodes.map(|node| (node, self.name(*node)));
        let named = named.filter(|(node, name)| broken.contains(name) || silent(node));
        named.map(|(_, name)| name).collect()
    }

    /// Returns the links whose interfaces carry a group's addresses.
    fn links_of(&self, group: &Group) -> LinkSet {
        let vips = self.config.vips.iter_enumerated();
        let vips = vips.filter(|(index, _)| group.has_address(*index));
        let interfaces: Vec<&str> = vips.map(|(_, vip)| vip.interface.as_str()).collect();
        let links = self.config.local_links();
        let links = links.filter(|link| interfaces.contains(&link.interface));
        links.fold(LinkSet::default(), |all, link| {
            all.and(LinkSet::of(link.id))
        })
    }

    pub(super) fn group(&self, index: GroupIndex, group: &Group, now: Boottime) -> protocol::Group {
        let claim = self.claim(group.id, now);
        let lives = |node| {
            let peer = self.peers.iter().find(|peer| peer.node == node);
            peer.is_some_and(|peer| peer.state != PeerState::Down)
        };
        let described = self
            .groups
            .describe(index, claim.owner, lives, |node| self.name(node));
        let remains = self.groups.remains(group).into_iter();
        let remains = remains.filter(|(node, _)| claim.owner != Some(*node));
        let unreported = claim
            .owner
            .is_some_and(|owner| self.unanswered(owner, now).is_some());
        // Addresses need only a lease, and the heartbeats carry the lease.
        let addresses = group
            .resources
            .iter()
            .all(|one| matches!(one.kind, ResourceKind::Vip(_)));
        protocol::Group {
            lease: claim.lease,
            votes: claim.votes,
            unreported,
            running: described.running || unreported && addresses,
            remains: remains
                .map(|(node, since)| self.remains(node, since, now))
                .collect(),
            cut_off: self.cut_off(group, &described.cut_off),
            lacking: self.lacking(group),
            ..described
        }
    }

    /// Returns the nodes with an agent whose configurations lack the group, as far as known.
    fn lacking(&self, group: &Group) -> Vec<String> {
        let lacking = self.groups.lacking(group, |node| self.is_awake(node));
        lacking.into_iter().map(|node| self.name(node)).collect()
    }

    fn remains(&self, node: NodeId, since: Boottime, now: Boottime) -> protocol::Remains {
        protocol::Remains {
            node: self.name(node),
            cause: self.why_unknown(node).to_owned(),
            for_ns: now.since(since).as_nanos() as u64,
        }
    }

    /// Returns why the resources that run on a peer are unknown.
    pub(super) fn why_unknown(&self, node: NodeId) -> &'static str {
        let peer = self.peers.position(|peer| peer.node == node);
        match peer.map(|peer| (self.peers[peer].state, self.latest(peer).state)) {
            None | Some((PeerState::Down | PeerState::Unknown, _)) => "unreachable",
            Some((PeerState::AgentStalled, state)) if state == NodeState::Responder as u16 => {
                "agent dead"
            }
            Some((PeerState::AgentStalled, _)) => "agent dead or stalled",
            Some(_) => "not probed yet",
        }
    }
}
