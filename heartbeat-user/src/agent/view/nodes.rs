//! The status of each node and of its links.

use std::sync::atomic::Ordering::Relaxed;

use heartbeat_common::{
    time::Boottime,
    wire::{Health, LinkId, NodeId, NodeState},
};
use heartbeat_core::{
    index::{PeerIndex, RowNumber},
    link::LinkState,
    peer::PeerState,
};

use super::View;
use crate::{
    agent::refusals::ethernet,
    clock,
    config::{Node, Role},
    control::protocol,
};

impl View {
    /// Returns the status entry of the node called `name`.
    pub(in crate::agent) fn node_named(&self, name: &str, now: Boottime) -> Option<protocol::Node> {
        let node = self.config.nodes.iter().find(|node| node.name == name)?;
        Some(self.node(node, now))
    }

    pub(super) fn node(&self, node: &Node, now: Boottime) -> protocol::Node {
        let peer = self.peers.position(|peer| peer.node == node.id);
        let links = node.addresses.iter().zip(&node.interfaces).enumerate();
        let links = links.map(|(index, (address, interface))| {
            let link = LinkId(index as u8);
            let own = self.interfaces.get(interface).filter(|_| peer.is_none());
            let outage = self.outage_of_link(link, now);
            let attachment = own.and_then(|own| own.attachment.as_ref());
            protocol::Link {
                link: link.0,
                interface: interface.clone(),
                address: address.to_string(),
                xdp_mode: attachment.map(|now| now.how.name().to_owned()),
                xdp_fallback: attachment.and_then(|now| now.fallback.clone()),
                problem: own.and_then(|own| own.problem.clone()),
                // The last known state of the link is out of date.
                state: peer.map(|peer| match outage {
                    Some(_) => LinkState::Unknown.name().to_owned(),
                    None => self.peers[peer].links[link].name().to_owned(),
                }),
                own_outage: outage,
                peer: peer.map(|peer| self.peer_link(peer, link, now)),
            }
        });
        let row = peer.map(|peer| self.latest(peer));
        let (state, agent, config, groups, health) = match peer.zip(row) {
            None => {
                let health = self.vitals.health();
                let owned = self.stats.groups.iter();
                let owned = owned.filter(|group| group.open_until.load(Relaxed) > now.as_nanos());
                let owned = u16::try_from(owned.count()).unwrap_or(u16::MAX);
                let state = match self.state {
                    _ if health.is_fatal() => PeerState::Unhealthy,
                    NodeState::Draining => PeerState::Draining,
                    _ => PeerState::Up,
                };
                let state = state.name();
                (state, self.state, self.digest(), owned, health)
            }
            Some((peer, row)) => {
                let said =
                    u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire);
                let state = match self.is_alone(now) {
                    true => PeerState::Unknown,
                    false => self.peers[peer].state,
                };
                let state = state.name();
                let health = Health(row.health);
                (
                    state,
                    said,
                    self.digest_of(&row),
                    row.owned().groups(),
                    health,
                )
            }
        };
        let row = row.filter(|row| row.incarnation != 0);
        let keys = self.keys_of(node.id);
        let failing = self.failing(node.id, health);
        let complaint = match peer {
            None => self.vitals.complaint(),
            Some(_) => self.groups.complaint(node.id),
        };
        protocol::Node {
            name: node.name.clone(),
            id: node.id.0,
            local: peer.is_none(),
            witness: node.role == Role::Witness,
            state: state.to_owned(),
            agent: agent.name().to_owned(),
            config,
            config_version: match peer {
                None => Some(self.config.version),
                Some(peer) => {
                    Some(self.latest(peer).config_version).filter(|version| *version != 0)
                }
            },
            key: keys.and_then(|(_, seals)| seals),
            same_keys: keys.map(|(mark, _)| mark == self.keys.mark()),
            unanswered_ns: self.unanswered(node.id, now),
            refused_by: self.refused_by(node.id),
            abstains: self.abstention(node.id, now),
            groups,
            load: match peer {
                None => self.vitals.load(),
                Some(_) => row.map(|row| row.load),
            },
            health: health.0,
            complaint: complaint.filter(|_| !failing.is_empty()),
            failing,
            pulse_age_us: row.map(|row| row.pulse_age_us),
            control_age_us: row.map(|row| row.control_age_us),
            reason_age_us: row.map(|row| row.control_age_us),
            links: links.collect(),
        }
    }

    /// Returns the nodes that refuse the heartbeats of `node` as outdated, as far as known.
    fn refused_by(&self, node: NodeId) -> Vec<String> {
        let lives = |by: &NodeId| *by != node && self.lives_or_asks(*by);
        let others = self.groups.refusing(node).filter(lives);
        let local = self.config.local().id;
        let own = self.groups.refuses(node).then_some(local);
        let mut all: Vec<NodeId> = others.chain(own).collect();
        all.sort_unstable();
        all.into_iter().map(|by| self.name(by)).collect()
    }

    /// Returns whether a peer answers, or at least sends probes.
    fn lives_or_asks(&self, node: NodeId) -> bool {
        let asks = |peer: PeerIndex| {
            let row = self.latest(peer);
            clock::now().since(Boottime::from_nanos(row.last_asked_at)) < self.config.timeout * 2
        };
        let peer = self.peers.position(|peer| peer.node == node);
        self.lives(node) || peer.is_some_and(asks)
    }

    /// Returns the fault of one of this node's own links, if the link carries no traffic.
    fn outage_of_link(&self, link: LinkId, now: Boottime) -> Option<protocol::Outage> {
        let own = self.config.local_links().nth(link.0.into())?;
        let view = self.interfaces.get(own.interface)?;
        (!view.signal.is_up()).then(|| protocol::Outage {
            signal: view.signal.name().to_owned(),
            age_ns: now.since(view.since).as_nanos() as u64,
        })
    }

    /// Returns whether none of this node's own links carries traffic: the state of all peers is
    /// then unknown.
    fn is_alone(&self, now: Boottime) -> bool {
        let mut links = (0..self.config.links.len() as u8).map(LinkId);
        links.all(|link| self.outage_of_link(link, now).is_some())
    }

    fn peer_link(&self, peer: PeerIndex, link: LinkId, now: Boottime) -> protocol::PeerLink {
        let number = RowNumber::first_of(peer, self.config.links.len()).on(link);
        let row = self.rows.row(number);
        let last_reply = (row.last_reply_at != 0).then(|| Boottime::from_nanos(row.last_reply_at));
        protocol::PeerLink {
            rtt_ns: row.rtt_ns,
            loss: self.losses.of(number, &row),
            last_reply_age_ns: last_reply.map(|at| now.since(at).as_nanos() as u64),
            probes: row.probes_left,
            replies: row.replies,
            late_replies: row.late_replies,
            answered: row.answered,
            deadlines: row.deadlines,
            bad_tags: row.bad_tags,
            bad_macs: row.bad_tags,
            unknown_keys: row.unknown_keys,
            refused_from: (row.refused_at != 0).then(|| ethernet(row.refused_from)),
        }
    }

    /// Returns the time for which a peer whose heartbeats arrive has not answered over TCP.
    pub(super) fn unanswered(&self, node: NodeId, now: Boottime) -> Option<u64> {
        let peer = self.peers.iter().find(|peer| peer.node == node)?;
        let answers = peer.state.is_alive() && peer.state != PeerState::AgentStalled;
        let since = self.groups.unanswered_since(node).filter(|_| answers)?;
        Some(now.since(since).as_nanos() as u64)
    }
}
