//! On which links this node is cut off, and which nodes reach the network of a group's addresses.
//!
//! "Cut off" is judged by heartbeats: nobody is heard on a link, while peers are heard on others.
//! Peers say the same of themselves, so a switch that failed for all of them is told from a port
//! that failed for one.

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
    peer::Peer,
    reach::{Condition, Distance, Reach},
    road::Road,
};

/// One of this node's links.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Port {
    pub(super) condition: Condition,
    /// When the last reply from anybody came by it.
    pub(super) heard_at: Option<Boottime>,
    /// Since when others have been heard elsewhere, and nobody here.
    lags_since: Option<Boottime>,
}

impl Port {
    /// Whether the last reply by any link came so much later than the last by this one.
    fn is_behind(&self, newest: Option<Boottime>, by: Duration) -> bool {
        let later = |at: Boottime| newest.is_some_and(|newest| newest.since(at) > by);
        self.heard_at.is_none_or(later)
    }

    /// Whether silence here is new, or known already. Where nobody was heard for long, anywhere,
    /// those who come do not come by all links at the same moment.
    fn was_heard(&self, now: Boottime, timeout: Duration) -> bool {
        self.condition.faulty_since().is_some() || is_fresh(self.heard_at, now, timeout * 2)
    }

    /// Whether nobody has been heard here for long, while somebody was elsewhere: also where no
    /// probe leaves, so that nobody is found down. After a stall, or a start, replies do not come
    /// by all links at the same moment.
    fn lags(&mut self, newest: Option<Boottime>, now: Boottime, timeout: Duration) -> bool {
        let behind = is_fresh(newest, now, timeout) && !is_fresh(self.heard_at, now, timeout * 2);
        self.lags_since = behind.then(|| self.lags_since.unwrap_or(now));
        self.lags_since
            .is_some_and(|since| now.since(since) >= timeout * 2)
    }
}

fn is_fresh(heard: Option<Boottime>, now: Boottime, timeout: Duration) -> bool {
    heard.is_some_and(|at| now.since(at) <= timeout)
}

impl Road {
    /// How far this node reaches, and since when it no longer does.
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
    /// The interfaces of these links are missing, switched off or without carrier; those of all
    /// others are not.
    pub fn set_broken(&mut self, links: LinkSet) {
        self.own.broken = links;
    }

    /// The links on which this node is cut off, which it tells its peers too.
    pub fn cut_off(&self) -> LinkSet {
        let links = self.reach.links.iter_enumerated();
        let faulty = links.filter(|(_, port)| port.condition.reach() > Reach::Whole);
        faulty.fold(LinkSet::default(), |all, (link, _)| {
            all.and(LinkSet::of(link))
        })
    }

    /// Looks at what is heard on each link.
    pub(super) fn judge_links(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let newest = self
            .reach
            .links
            .iter()
            .filter_map(|port| port.heard_at)
            .max();
        for link in self.reach.links.indices() {
            let found_down = self.is_found_down(link);
            let timeout = self.timing.timeout;
            let port = &mut self.reach.links[link];
            let lags = port.lags(newest, now, timeout);
            let elsewhere = port.is_behind(newest, timeout / 2) && is_fresh(newest, now, timeout);
            let fell_silent = found_down && elsewhere && port.was_heard(now, timeout);
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

    /// Whether every peer that was heard on a link is found down there.
    fn is_found_down(&self, link: LinkId) -> bool {
        let links = self.peers.iter();
        let links = links.filter_map(|peer| peer.links.get(link));
        let mut states = links
            .map(LinkDetector::state)
            .filter(|state| *state != LinkState::Unknown)
            .peekable();
        states.peek().is_some() && states.all(|state| state == LinkState::Down)
    }

    /// Looks at the interfaces of the groups' addresses.
    pub(super) fn look_at_interfaces(&mut self, now: Boottime, out: &mut Vec<Command>) {
        for (index, group) in self.groups.iter_mut_enumerated() {
            group.look_at_interfaces(now, &mut self.scratch);
            report(index, &mut self.scratch, out);
        }
    }

    /// Compares how far the nodes reach for each group.
    pub(super) fn measure(&mut self, now: Boottime) {
        // A node that hears nobody at all loses its leases, and could release none.
        let newest = self
            .reach
            .links
            .iter()
            .filter_map(|port| port.heard_at)
            .max();
        let far = is_fresh(newest, now, self.timing.timeout) && self.is_troubled();
        for index in self.groups.indices() {
            self.reach.distances[index] = match far {
                true => self.distance(index),
                false => Distance {
                    heard_on: self.reach.roads[index].heard_on,
                    ..Distance::default()
                },
            };
        }
    }

    /// Whether any node is cut off from anything, as far as is known.
    fn is_troubled(&self) -> bool {
        let whole = |condition: Condition| condition == Condition::Whole;
        let broken = |peer: &Peer| peer.report.groups.iter().any(|said| said.broken);
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
                .any(|peer| !peer.said.cut_off.is_empty() || broken(peer))
    }

    fn distance(&self, index: GroupIndex) -> Distance {
        let (road, group) = (&self.reach.roads[index], &self.groups[index]);
        let (own, faulty_since) = road.own(&self.groups, &self.reach.links);
        let view = self.view();
        let able = |node: &NodeId| {
            let peer = self.peers.iter().find(|peer| peer.node == *node);
            let (reported, reach) = match peer {
                Some(peer) => (peer.reported(index), road.of_peer(peer)),
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
            heard_on: road.heard_on,
        }
    }
}
