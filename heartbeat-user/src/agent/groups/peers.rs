//! The reports of the peers, and what remains of a peer whose agent was lost.

use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_core::{
    report::{self, GroupReport},
    resource::ResourceState,
};

use super::{Groups, is_address};
use crate::{
    config::{Group, Resource, Role},
    control::protocol,
};

impl Groups {
    /// Returns whether a peer's last report says that its agent stops.
    pub(in crate::agent) fn is_stopping(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|report| report.stopping)
    }

    /// Returns the peers that refuse the heartbeats of `node`, as far as known, without this node.
    pub(in crate::agent) fn refusing(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let peers = self.peers.iter();
        let refusing =
            peers.filter(move |(_, report)| report.received_from_refused(node.0).is_some());
        refusing.map(|(peer, _)| *peer)
    }

    /// Returns the keys of a peer, from its report.
    pub(in crate::agent) fn keys(&self, peer: NodeId) -> Option<&protocol::Keys> {
        self.peers.get(&peer)?.keys.as_ref()
    }

    /// Returns the names of a peer's failing checks, from its report.
    pub(in crate::agent) fn failing(&self, peer: NodeId) -> Option<Vec<String>> {
        let failing = &self.peers.get(&peer)?.failing;
        Some(failing.iter().map(|check| check.name.clone()).collect())
    }

    /// Returns the message of a peer's first failing check.
    pub(in crate::agent) fn complaint(&self, peer: NodeId) -> Option<String> {
        let failing = self.peers.get(&peer)?.failing.first()?;
        Some(failing.message.clone())
    }

    /// Returns the number and the incarnation of a peer's latest report on this node.
    pub(in crate::agent) fn known(&self, peer: NodeId) -> (u32, u64) {
        let report = self.peers.get(&peer);
        report.map_or((0, 0), |report| (report.number, report.incarnation))
    }

    /// Records a peer's report. Returns the part for the core, and whether the report brought new
    /// decisions of operators.
    pub(in crate::agent) fn reported(
        &mut self,
        peer: NodeId,
        report: protocol::Report,
    ) -> (report::GroupReports, bool) {
        // A witness votes, and decides nothing.
        let witness = self
            .config
            .node(peer)
            .is_none_or(|node| node.role == Role::Witness);
        let decided = !witness && self.decisions.merge(&report.decisions);
        let core = self.for_core(&report);
        self.remains.returned(peer, |group| {
            let said = report.group(group);
            said.is_some_and(|said| !said.settling)
        });
        self.unanswered.remove(&peer);
        self.peers.insert(peer, report);
        (core, decided)
    }

    /// Returns the parts of all peers' reports for the core, after its groups have changed.
    pub(in crate::agent) fn core_reports(&self) -> Vec<(NodeId, report::GroupReports)> {
        let peers = self.peers.iter();
        peers
            .map(|(peer, report)| (*peer, self.for_core(report)))
            .collect()
    }

    /// Returns the nodes that have not reported this group, among those that `count`.
    pub(in crate::agent) fn lacking(
        &self,
        group: &Group,
        counts: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let lacks = |node: &&NodeId| {
            let report = self.peers.get(node);
            counts(**node) && report.is_some_and(|report| report.group(&group.name).is_none())
        };
        group.rank.iter().filter(lacks).copied().collect()
    }

    /// Returns the part of a report about the configured groups.
    fn for_core(&self, report: &protocol::Report) -> report::GroupReports {
        let of = |group: &Group| {
            let said = report.group(&group.name);
            let absent = GroupReport {
                unknown: true,
                ..GroupReport::default()
            };
            said.map_or(absent, |said| GroupReport {
                unknown: false,
                settling: said.settling,
                barred: said.barred || said.blocked,
                running: said.running,
                broken: said.broken,
            })
        };
        report::GroupReports {
            number: report.number,
            incarnation: report.incarnation,
            groups: self.config.groups.iter().map(of).collect(),
        }
    }

    /// Records that a peer's new report could not be fetched.
    pub(in crate::agent) fn unanswered(&mut self, peer: NodeId, at: Boottime) {
        self.unanswered.entry(peer).or_insert(at);
    }

    /// Returns the time since which a peer's new report could not be fetched, if any.
    pub(in crate::agent) fn unanswered_since(&self, peer: NodeId) -> Option<Boottime> {
        self.unanswered.get(&peer).copied()
    }

    /// Returns the nodes on which the group may still run, and the times since which this is
    /// unknown.
    pub(in crate::agent) fn remains(&self, group: &Group) -> Vec<(NodeId, Boottime)> {
        self.remains.of(&group.name)
    }

    /// Records the loss of a peer's agent. The reported states of its resources are out of date,
    /// its failures are not.
    ///
    /// Returns the groups that may still run there: those that its report or `owns` names.
    pub(in crate::agent) fn agent_lost(
        &mut self,
        peer: NodeId,
        at: Boottime,
        owns: impl Fn(&Group) -> bool,
    ) -> Vec<String> {
        self.unanswered.remove(&peer);
        let said = self.peers.get(&peer);
        // The peer's kernel itself drops the traffic of an address without a lease.
        let ran = |group: &&Group| {
            let said = said.and_then(|report| report.group(&group.name));
            let active = |resource: &&Resource| {
                !is_address(resource) && said.is_some_and(|said| said.is_active(&resource.name))
            };
            !group.is_removed()
                && (group.resources.iter().any(|resource| active(&resource))
                    || owns(group) && !group.resources.iter().all(is_address))
        };
        let groups = self.config.groups.iter().filter(ran);
        let groups: Vec<String> = groups.map(|group| group.name.clone()).collect();
        let fresh = self.remains.lose(peer, at, groups);
        self.forget_states(peer);
        fresh
    }

    fn forget_states(&mut self, peer: NodeId) {
        let Some(report) = self.peers.get_mut(&peer) else {
            return;
        };
        // The number 0 makes this node fetch the report again after the peer's return, even if
        // nothing has changed there.
        report.number = 0;
        for group in &mut report.groups {
            (group.running, group.blocked) = (false, false);
            for resource in &mut group.resources {
                ResourceState::Unknown
                    .name()
                    .clone_into(&mut resource.state);
            }
        }
    }

    /// Returns whether a peer has probed this group, according to its report.
    pub(in crate::agent) fn is_settled_at(&self, peer: NodeId, group: &str) -> bool {
        let report = self.peers.get(&peer);
        let said = report.and_then(|report| report.group(group));
        said.is_some_and(|said| !said.settling)
    }

    /// Returns whether `peer` is known to have all decisions of this node.
    pub(in crate::agent) fn has_decisions_of(&self, peer: NodeId) -> bool {
        let report = self.peers.get(&peer);
        report.is_some_and(|report| report.decisions.include(&self.decisions.all()))
    }
}
