//! The links on which this node is cut off, and the nodes that reach the network of a group's
//! addresses.
//!
//! Heartbeats decide about "cut off": no peer replies on a link, while peers reply on other links.
//! Peers report the same of themselves. A switch that failed for all nodes therefore differs from a
//! port that failed for one.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, LinkSet, NodeId},
};

use super::{Cluster, Command, groups::report};
use crate::{
    group::Group,
    index::GroupIndex,
    index_vec::{ByGroup, IndexVec},
    link::{LinkDetector, LinkState},
    network::AddressNetwork,
    peer::Peer,
    reach::{Condition, Distance, Reach},
};

/// One of this node's links.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Port {
    pub(super) condition: Condition,
    /// The arrival of the last reply from any peer on this link.
    pub(super) last_reply_at: Option<Boottime>,
    /// The time since which peers have replied on other links, and none on this one.
    lags_since: Option<Boottime>,
}

impl Port {
    /// Whether the last reply on any link came later than the last on this one by more than this.
    fn is_behind(&self, newest: Option<Boottime>, by: Duration) -> bool {
        let later = |at: Boottime| newest.is_some_and(|newest| newest.since(at) > by);
        self.last_reply_at.is_none_or(later)
    }

    /// Whether this link had replies lately, or its silence is already known. After a long silence
    /// on all links, the first replies do not come on all links at the same moment.
    fn was_receiving(&self, now: Boottime, timeout: Duration) -> bool {
        self.condition.faulty_since().is_some() || is_fresh(self.last_reply_at, now, timeout * 2)
    }

    /// Whether no peer has replied on this link for long, while one did on another link. This also
    /// covers a link on which no probe leaves, so that its detectors declare no peer down. After a
    /// stall or a start, replies do not come on all links at the same moment.
    fn lags(&mut self, newest: Option<Boottime>, now: Boottime, timeout: Duration) -> bool {
        let behind =
            is_fresh(newest, now, timeout) && !is_fresh(self.last_reply_at, now, timeout * 2);
        self.lags_since = behind.then(|| self.lags_since.unwrap_or(now));
        self.lags_since
            .is_some_and(|since| now.since(since) >= timeout * 2)
    }
}

fn is_fresh(last_reply: Option<Boottime>, now: Boottime, timeout: Duration) -> bool {
    last_reply.is_some_and(|at| now.since(at) <= timeout)
}

impl AddressNetwork {
    /// This node's reach, and the beginning of its fault.
    fn own(
        &self,
        groups: &ByGroup<Group>,
        links: &IndexVec<LinkId, Port>,
    ) -> (Reach, Option<Boottime>) {
        let members = self.members.iter().filter_map(|member| groups.get(*member));
        let members = members.map(Group::condition);
        let links = links.iter_enumerated();
        let links = links.filter(|(link, _)| self.links.has(*link));
        let all = members.chain(links.map(|(_, port)| port.condition));
        all.fold((Reach::Whole, None), |(worst, since), condition| {
            let both = since.into_iter().chain(condition.faulty_since());
            (worst.max(condition.reach()), both.min())
        })
    }
}

impl Cluster {
    /// Sets the links whose interfaces are missing, switched off or without carrier. The interfaces
    /// of all other links work.
    pub fn set_broken(&mut self, links: LinkSet) {
        self.own.broken = links;
    }

    /// The links on which this node is cut off, which its heartbeats carry too.
    pub fn cut_off(&self) -> LinkSet {
        let links = self.reach.links.iter_enumerated();
        let faulty = links.filter(|(_, port)| port.condition.reach() > Reach::Whole);
        faulty.fold(LinkSet::default(), |all, (link, _)| {
            all.and(LinkSet::of(link))
        })
    }

    /// Judges each link by its replies and its interface.
    pub(super) fn judge_links(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let newest = self
            .reach
            .links
            .iter()
            .filter_map(|port| port.last_reply_at)
            .max();
        for link in self.reach.links.indices() {
            let found_down = self.is_found_down(link);
            let timeout = self.timing.timeout;
            let port = &mut self.reach.links[link];
            let lags = port.lags(newest, now, timeout);
            let elsewhere = port.is_behind(newest, timeout / 2) && is_fresh(newest, now, timeout);
            let fell_silent = found_down && elsewhere && port.was_receiving(now, timeout);
            let seen = match self.own.broken.has(link) {
                true => Reach::Broken,
                false if lags || fell_silent => Reach::Silent,
                false => Reach::Whole,
            };
            let before = port.condition.reach();
            port.condition.observe(seen, now);
            let reach = port.condition.reach();
            if reach != before {
                out.push(Command::Reach { link, reach });
            }
        }
    }

    /// Whether every peer that ever replied on a link is down there.
    fn is_found_down(&self, link: LinkId) -> bool {
        let links = self.peers.iter();
        let links = links.filter_map(|peer| peer.links.get(link));
        let mut states = links
            .map(LinkDetector::state)
            .filter(|state| *state != LinkState::Unknown)
            .peekable();
        states.peek().is_some() && states.all(|state| state == LinkState::Down)
    }

    /// Updates the condition of the interfaces with the groups' addresses.
    pub(super) fn check_interfaces(&mut self, now: Boottime, out: &mut Vec<Command>) {
        for (index, group) in self.groups.iter_mut_enumerated() {
            group.check_interfaces(now, &mut self.scratch);
            report(index, &mut self.scratch, out);
        }
    }

    /// Compares the nodes' reach for each group.
    pub(super) fn measure(&mut self, now: Boottime) {
        // A node without any reply loses its leases, and could not release one.
        let newest = self
            .reach
            .links
            .iter()
            .filter_map(|port| port.last_reply_at)
            .max();
        let far = is_fresh(newest, now, self.timing.timeout) && self.is_troubled();
        for index in self.groups.indices() {
            self.reach.distances[index] = match far {
                true => self.distance(index),
                false => Distance {
                    carries_probes: self.reach.networks[index].carries_probes,
                    ..Distance::default()
                },
            };
        }
    }

    /// Whether any node is cut off from a network, as far as this node knows.
    fn is_troubled(&self) -> bool {
        let whole = |condition: Condition| condition == Condition::Whole;
        let broken = |peer: &Peer| peer.report.groups.iter().any(|group| group.broken);
        !self
            .reach
            .links
            .iter()
            .map(|port| port.condition)
            .all(whole)
            || !self.groups.iter().map(Group::condition).all(whole)
            || self
                .peers
                .iter()
                .any(|peer| !peer.last_reply.cut_off.is_empty() || broken(peer))
    }

    fn distance(&self, index: GroupIndex) -> Distance {
        let (network, group) = (&self.reach.networks[index], &self.groups[index]);
        let (own, faulty_since) = network.own(&self.groups, &self.reach.links);
        let view = self.view();
        let able = |node: &NodeId| {
            let peer = self.peers.iter().find(|peer| peer.node == *node);
            let (reported, reach) = match peer {
                Some(peer) => (peer.reported(index), network.of_peer(peer)),
                None => (group.reported_here(), own),
            };
            let ineligibility = view.ineligibility(&group.plan, index, *node, reported);
            ineligibility.is_none().then_some(reach)
        };
        let best = group.plan.ranked.iter().filter_map(able).min();
        Distance {
            own,
            faulty_since,
            best: best.unwrap_or(Reach::Broken),
            carries_probes: network.carries_probes,
        }
    }
}
