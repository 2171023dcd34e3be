//! The status of the groups on all nodes, and the failed actions of all nodes.

use heartbeat_common::wire::NodeId;
use heartbeat_core::index::GroupIndex;

use super::{Groups, is_configured};
use crate::control::protocol::{self, FailedAction};

impl Groups {
    /// Returns the resources of a group that have not stopped on a node, as far as known.
    pub(in crate::agent) fn left_at(&self, node: NodeId, index: GroupIndex) -> Vec<String> {
        let group = &self.config.groups[index];
        let report = match node == self.config.local().id {
            true => self.own.get(index).map(|own| own.report(group)),
            false => self
                .peers
                .get(&node)
                .and_then(|report| report.group(&group.name).cloned()),
        };
        let resources = report.into_iter().flat_map(|report| report.resources);
        let left = resources.filter(|said| !matches!(said.state.as_str(), "stopped" | "unknown"));
        left.map(|said| said.name).collect()
    }

    pub(in crate::agent) fn failures(&self) -> Vec<FailedAction> {
        // A peer may not yet have applied the removal of a resource.
        let others = self.peers.values().flat_map(|report| &report.failures);
        let others = others.filter(|failure| is_configured(&self.config, &failure.resource));
        let mut all: Vec<_> = self.failures.iter().chain(others).cloned().collect();
        all.sort_by_key(|failure| failure.at_unix_ns);
        all
    }

    /// Returns the status of the group with this index, without its lease. Reports of nodes that
    /// are not alive (`lives`) are ignored.
    pub(in crate::agent) fn describe(
        &self,
        index: GroupIndex,
        owner: Option<NodeId>,
        lives: impl Fn(NodeId) -> bool,
        name: impl Fn(NodeId) -> String,
    ) -> protocol::Group {
        let group = &self.config.groups[index];
        let local = self.config.local().id;
        let mut reports: Vec<(NodeId, protocol::GroupReport)> = Vec::new();
        if self.config.served_groups().get(index).is_some() {
            reports.push((local, self.own[index].report(group)));
        }
        for (peer, report) in self.peers.iter().filter(|(peer, _)| lives(**peer)) {
            let said = report.group(&group.name);
            reports.extend(said.map(|said| (*peer, said.clone())));
        }
        reports.sort_by_key(|(node, _)| node.0);
        let of_owner = reports.iter().find(|(node, _)| Some(*node) == owner);
        let resources = group.resources.iter().map(|resource| {
            let state = |said: &protocol::GroupReport| {
                let mut all = said.resources.iter();
                all.find(|said| said.name == resource.name).cloned()
            };
            // The owner's report counts. Without an owner, any report of an active resource does.
            let active = |said: &protocol::ResourceReport| {
                !matches!(said.state.as_str(), "stopped" | "unknown")
            };
            let anywhere = || {
                reports.iter().find_map(|(node, said)| {
                    let said = state(said).filter(active)?;
                    Some((*node, said))
                })
            };
            let at_owner = of_owner.and_then(|(node, said)| Some((*node, state(said)?)));
            let shown = at_owner.or_else(anywhere);
            protocol::Resource {
                name: resource.name.clone(),
                kind: resource.kind.to_string(),
                state: shown
                    .as_ref()
                    .map_or_else(|| "stopped".to_owned(), |(_, said)| said.state.clone()),
                failures: shown.as_ref().map_or(0, |(_, said)| said.failures),
                node: shown
                    .filter(|(_, said)| said.state != "stopped")
                    .map(|(node, _)| name(node)),
                stopped: self.is_resource_stopped(resource),
            }
        });
        let with = |test: fn(&protocol::GroupReport) -> bool| {
            let nodes = reports.iter().filter(move |(_, said)| test(said));
            nodes.map(|(node, _)| name(*node))
        };
        protocol::Group {
            name: group.name.clone(),
            id: group.id.0,
            owner: owner.map(&name),
            lease: None,
            votes: None,
            running: of_owner.is_some_and(|(_, said)| said.running),
            maintenance: self.is_maintained(group),
            stopped: self.is_stopped(group),
            barred: with(|said| said.barred).collect(),
            cut_off: with(|said| said.broken).collect(),
            blocked: with(|said| said.blocked).next(),
            unreported: false,
            lacking: Vec::new(),
            remains: Vec::new(),
            resources: resources.collect(),
        }
    }
}
