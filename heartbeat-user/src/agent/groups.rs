//! The control task's records of groups and resources on this node and on the others. The sources
//! are the resource manager, the peers' reports and the operators' decisions.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, NodeId},
};
use heartbeat_core::{
    group::GroupEvent,
    index::{GroupIndex, ResourceIndex},
    index_vec::{ByGroup, IndexVec},
    report::{self, GroupReport},
    resource::{GroupState, Outcome, ResourceState},
};
use heartbeat_sys::files::atomic_file::Writer;

use super::remains::Remains;
use crate::{
    config::{Config, Group, Resource, ResourceKind, Role},
    control::protocol::{self, EventKind, FailedAction, FailingCheck},
    decision_store::{Decision, DecisionStore, Proposal, Subject},
    messages::{ResourceEvent, ResourceRef},
    peering,
    resource_manager::Wish,
    wall_clock,
};

/// The number of failed actions that are kept, and the kept length of each output: all of them must
/// fit into one report.
const FAILURES_KEPT: usize = 32;
const OUTPUT_KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Groups {
    config: Arc<Config>,
    own: ByGroup<LocalGroup>,
    failures: VecDeque<FailedAction>,
    /// Whether this node's agent stops.
    stopping: bool,
    /// The failing health checks of this node.
    failing: Vec<FailingCheck>,
    /// The nodes whose heartbeats this node refuses.
    refused: Vec<protocol::RefusedNode>,
    /// This node's keys.
    keys: Option<protocol::Keys>,
    peers: HashMap<NodeId, protocol::Report>,
    /// The peers whose new report could not be fetched, and the time of the first failure.
    unanswered: HashMap<NodeId, Boottime>,
    remains: Remains,
    decisions: DecisionStore,
    /// The report that peers may fetch from this node.
    published: protocol::Report,
}

/// A group on this node.
#[derive(Clone, Debug, Default)]
struct LocalGroup {
    /// Whether all of the group has been probed, and nothing of it runs that should not.
    ready: bool,
    running: bool,
    barred: bool,
    blocked: bool,
    /// Whether an interface of the group is broken, according to the core.
    broken: bool,
    resources: IndexVec<ResourceIndex, (Option<ResourceState>, u32)>,
}

impl Groups {
    pub(super) fn open(config: Arc<Config>, incarnation: Incarnation, writer: Writer) -> Self {
        let own = config.groups.iter().map(|group| LocalGroup {
            resources: vec![(None, 0); group.resources.len()].into(),
            ..LocalGroup::default()
        });
        Self {
            own: own.collect(),
            failures: VecDeque::new(),
            stopping: false,
            failing: Vec::new(),
            refused: Vec::new(),
            keys: None,
            peers: HashMap::new(),
            unanswered: HashMap::new(),
            remains: Remains::default(),
            decisions: DecisionStore::open(&config.state_dir(), writer),
            published: protocol::Report {
                incarnation: incarnation.0,
                ..protocol::Report::default()
            },
            config,
        }
    }

    /// Returns the store of the operators' decisions, if its file could not be read.
    pub(super) fn lost_decisions(&self) -> Option<&DecisionStore> {
        Some(&self.decisions).filter(|decisions| decisions.is_lost())
    }

    /// Switches to a changed configuration. Earlier groups keep their indices.
    pub(super) fn replan(&mut self, config: Arc<Config>) {
        self.own
            .resize_with(config.groups.len(), LocalGroup::default);
        for (own, group) in self.own.iter_mut().zip(&config.groups) {
            own.resources
                .resize_with(group.resources.len(), || (None, 0));
        }
        self.peers.retain(|node, _| config.node(*node).is_some());
        // A new resource begins without failures. The failures of a resource that could not be
        // stopped stay for the operator.
        let kept: HashSet<&str> = resources(&config)
            .filter(|(_, resource)| {
                let before = resources(&self.config).find(|(_, old)| old.name == resource.name);
                let blocked =
                    |group: GroupIndex| self.own.get(group).is_some_and(|own| own.blocked);
                before.is_some_and(|(group, old)| old.is_same(resource) || blocked(group))
            })
            .map(|(_, resource)| resource.name.as_str())
            .collect();
        self.failures
            .retain(|failure| kept.contains(failure.resource.as_str()));
        drop(kept);
        self.unanswered
            .retain(|node, _| config.node(*node).is_some());
        let kept = |name: &str| {
            config
                .group_named(name)
                .is_some_and(|group| !group.is_removed())
        };
        self.remains.keep(|node| config.node(node).is_some(), kept);
        self.config = config;
    }

    /// Records an event of the resource manager and returns its log event.
    pub(super) fn resource_event(&mut self, event: &ResourceEvent) -> Option<EventKind> {
        // The event may be about an earlier version of the group.
        match event {
            ResourceEvent::State { reference, .. }
                if self.own[reference.group].resources.len() <= reference.resource.0 =>
            {
                return None;
            }
            ResourceEvent::Failed { resource, .. } if !is_configured(&self.config, resource) => {
                return None;
            }
            _ => {}
        }
        match event {
            ResourceEvent::State {
                reference,
                state,
                failures,
                note,
            } => {
                let own = &mut self.own[reference.group].resources[reference.resource];
                let before = std::mem::replace(own, (Some(*state), *failures));
                if *failures == 0 && before.1 > 0 {
                    let name = self.resource(*reference).name.clone();
                    self.failures.retain(|failure| failure.resource != name);
                }
                let quiet = before.0 == Some(*state) || *state == ResourceState::Unknown;
                let first = before.0.is_none() && *state == ResourceState::Stopped;
                // Addresses have events of their own.
                let reported = is_address(self.resource(*reference))
                    && !matches!(state, ResourceState::Failed | ResourceState::Blocked);
                (!quiet && !first && !reported).then(|| EventKind::Resource {
                    resource: self.resource(*reference).name.clone(),
                    state: state.name().to_owned(),
                    note: note.clone(),
                })
            }
            ResourceEvent::Failed {
                reference: _,
                resource,
                action,
                outcome,
                at,
                message,
            } => {
                let at_unix_ns = wall_clock::unix_ns(*at);
                let failure = FailedAction {
                    node: self.config.local().name.clone(),
                    resource: resource.clone(),
                    action: action.name().to_owned(),
                    outcome: outcome.to_string(),
                    code: match outcome {
                        Outcome::Exited(code) => Some(code.0),
                        _ => None,
                    },
                    at_unix_ns,
                    at: wall_clock::rfc3339(at_unix_ns).to_string(),
                    message: message.chars().take(OUTPUT_KEPT).collect(),
                };
                let what = EventKind::ResourceFailed {
                    resource: failure.resource.clone(),
                    action: failure.action.clone(),
                    outcome: failure.outcome.clone(),
                    message: failure.message.clone(),
                };
                if self.failures.len() == FAILURES_KEPT {
                    self.failures.pop_front();
                }
                self.failures.push_back(failure);
                Some(what)
            }
            ResourceEvent::Group { group, state } => self.changed(*group, *state),
            ResourceEvent::Vip { .. } => None,
        }
    }

    /// Records a change of a group on this node and returns its log event.
    pub(super) fn changed(&mut self, index: GroupIndex, state: GroupState) -> Option<EventKind> {
        self.own[index].note(state);
        let group = &self.config.groups[index];
        // Addresses have events of their own.
        let quiet = match state {
            GroupState::Ready => true,
            GroupState::Started | GroupState::Incomplete | GroupState::Stopped => {
                group.resources.iter().all(is_address)
            }
            _ => false,
        };
        (!quiet).then(|| self.named(index, GroupEvent::State(state)))
    }

    /// Returns the log event of a group on this node, with names in place of indices.
    pub(super) fn named(&self, index: GroupIndex, event: GroupEvent) -> EventKind {
        let group = &self.config.groups[index];
        let node = |node: NodeId| {
            let node = self.config.node(node);
            node.map_or_else(String::new, |node| node.name.clone())
        };
        let resource = |resource: ResourceIndex| {
            // The index may be from an earlier version of the group.
            let resource = group.resources.get(resource);
            resource.map_or_else(String::new, |resource| resource.name.clone())
        };
        EventKind::Group {
            group: group.name.clone(),
            event: event.named(node, resource),
        }
    }

    /// Returns whether this group could not be stopped on this node.
    pub(super) fn is_blocked_here(&self, group: &Group) -> bool {
        let groups = self.config.groups.iter().zip(&self.own);
        let mut own = groups.filter(|(known, _)| known.id == group.id);
        own.any(|(_, own)| own.blocked)
    }

    /// Returns the resources of a group that have not stopped on a node, as far as known.
    pub(super) fn left_at(&self, node: NodeId, index: GroupIndex) -> Vec<String> {
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

    fn resource(&self, reference: ResourceRef) -> &Resource {
        &self.config.groups[reference.group].resources[reference.resource]
    }

    /// Makes a new report, if it differs from the published one. Returns its number.
    pub(super) fn publish(&mut self) -> Option<u32> {
        let groups = self.config.served_groups().iter().zip(&self.own);
        let mut report = protocol::Report {
            number: self.published.number,
            incarnation: self.published.incarnation,
            groups: groups
                .filter(|(group, _)| !group.is_removed())
                .map(|(group, own)| own.report(group))
                .collect(),
            failing: self.failing.clone(),
            keys: self.keys.clone(),
            failures: self.failures.iter().cloned().collect(),
            decisions: self.decisions.all(),
            refused: self.refused.clone(),
            // The sender of the report fills in this time.
            abstains_ns: 0,
            stopping: self.stopping,
        };
        while !report.failures.is_empty() && is_too_long(&report) {
            report.failures.remove(0);
        }
        if report == self.published {
            return None;
        }
        let number = self.published.number + 1;
        self.published = protocol::Report { number, ..report };
        Some(number)
    }

    pub(super) fn published(&self) -> &protocol::Report {
        &self.published
    }

    /// Sets the failing health checks of this node.
    pub(super) fn fail(&mut self, failing: Vec<FailingCheck>) {
        let cut = |check: FailingCheck| FailingCheck {
            message: check.message.chars().take(OUTPUT_KEPT).collect(),
            ..check
        };
        self.failing = failing.into_iter().map(cut).collect();
    }

    /// Notes that this node's agent stops.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Returns whether a peer's last report says that its agent stops.
    pub(super) fn is_stopping(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|report| report.stopping)
    }

    /// Sets the nodes whose heartbeats this node refuses.
    pub(super) fn refuse(&mut self, refused: Vec<protocol::RefusedNode>) {
        self.refused = refused;
    }

    /// Returns the peers that refuse the heartbeats of `node`, as far as known, without this node.
    pub(super) fn refusing(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let peers = self.peers.iter();
        let refusing =
            peers.filter(move |(_, report)| report.received_from_refused(node.0).is_some());
        refusing.map(|(peer, _)| *peer)
    }

    /// Returns whether this node refuses the heartbeats of `node`.
    pub(super) fn refuses(&self, node: NodeId) -> bool {
        self.refused.iter().any(|refused| refused.node == node.0)
    }

    /// Sets the keys of this node.
    pub(super) fn rekey(&mut self, keys: protocol::Keys) {
        self.keys = Some(keys);
    }

    /// Returns the keys of a peer, from its report.
    pub(super) fn keys(&self, peer: NodeId) -> Option<&protocol::Keys> {
        self.peers.get(&peer)?.keys.as_ref()
    }

    /// Returns the names of a peer's failing checks, from its report.
    pub(super) fn failing(&self, peer: NodeId) -> Option<Vec<String>> {
        let failing = &self.peers.get(&peer)?.failing;
        Some(failing.iter().map(|check| check.name.clone()).collect())
    }

    /// Returns the message of a peer's first failing check.
    pub(super) fn complaint(&self, peer: NodeId) -> Option<String> {
        let failing = self.peers.get(&peer)?.failing.first()?;
        Some(failing.message.clone())
    }

    /// Returns the number and the incarnation of a peer's latest report on this node.
    pub(super) fn known(&self, peer: NodeId) -> (u32, u64) {
        let report = self.peers.get(&peer);
        report.map_or((0, 0), |report| (report.number, report.incarnation))
    }

    /// Records a peer's report. Returns the part for the core, and whether the report brought new
    /// decisions of operators.
    pub(super) fn reported(
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
    pub(super) fn core_reports(&self) -> Vec<(NodeId, report::GroupReports)> {
        let peers = self.peers.iter();
        peers
            .map(|(peer, report)| (*peer, self.for_core(report)))
            .collect()
    }

    /// Returns the nodes that have not reported this group, among those that `count`.
    pub(super) fn lacking(&self, group: &Group, counts: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
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
    pub(super) fn unanswered(&mut self, peer: NodeId, at: Boottime) {
        self.unanswered.entry(peer).or_insert(at);
    }

    /// Returns the time since which a peer's new report could not be fetched, if any.
    pub(super) fn unanswered_since(&self, peer: NodeId) -> Option<Boottime> {
        self.unanswered.get(&peer).copied()
    }

    /// Returns the nodes on which the group may still run, and the times since which this is
    /// unknown.
    pub(super) fn remains(&self, group: &Group) -> Vec<(NodeId, Boottime)> {
        self.remains.of(&group.name)
    }

    /// Records the loss of a peer's agent. The reported states of its resources are out of date,
    /// its failures are not.
    ///
    /// Returns the groups that may still run there: those that its report or `owns` names.
    pub(super) fn agent_lost(
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
    pub(super) fn is_settled_at(&self, peer: NodeId, group: &str) -> bool {
        let report = self.peers.get(&peer);
        let said = report.and_then(|report| report.group(group));
        said.is_some_and(|said| !said.settling)
    }

    /// Starts writing an operator's decision. The decision is in force once it is on disk and
    /// settled.
    pub(super) fn propose(&mut self, subject: Subject, value: bool) -> Proposal {
        self.decisions
            .propose(subject, value, self.config.local().id.0)
    }

    /// Puts a decision that is on disk in force.
    pub(super) fn settle(&mut self, subject: Subject, decision: Decision) {
        self.decisions.settle(subject, decision);
    }

    /// Returns whether `peer` is known to have all decisions of this node.
    pub(super) fn has_decisions_of(&self, peer: NodeId) -> bool {
        let report = self.peers.get(&peer);
        report.is_some_and(|report| report.decisions.include(&self.decisions.all()))
    }

    /// Returns whether all groups are in maintenance mode.
    pub(super) fn maintenance(&self) -> bool {
        let decided = self.decisions.get(&Subject::Maintenance);
        decided.unwrap_or(self.config.maintenance)
    }

    pub(super) fn is_maintained(&self, group: &Group) -> bool {
        let subject = Subject::GroupMaintenance(group.name.clone());
        self.maintenance() || self.decisions.get(&subject).unwrap_or(group.maintenance)
    }

    /// Returns the decision that began or ended a group's maintenance mode; `None` if the mode
    /// follows the configuration.
    pub(super) fn maintenance_by(&self, group: &Group) -> Option<(Subject, NodeId)> {
        let of = |subject: Subject| {
            let decision = self.decisions.decision(&subject)?;
            Some((decision, subject))
        };
        let own = of(Subject::GroupMaintenance(group.name.clone()));
        let latest = own.into_iter().chain(of(Subject::Maintenance)).max()?;
        Some((latest.1, NodeId(latest.0.by)))
    }

    /// Returns the node on which a decision was made.
    pub(super) fn decided_on(&self, subject: &Subject) -> Option<NodeId> {
        self.decisions
            .decision(subject)
            .map(|decision| NodeId(decision.by))
    }

    pub(super) fn is_stopped(&self, group: &Group) -> bool {
        let subject = Subject::GroupStopped(group.name.clone());
        self.decisions.get(&subject).unwrap_or(false)
    }

    pub(super) fn is_resource_stopped(&self, resource: &Resource) -> bool {
        let subject = Subject::ResourceStopped(resource.name.clone());
        self.decisions.get(&subject).unwrap_or(false)
    }

    /// Returns the operators' wishes for the groups that this node may serve.
    pub(super) fn wishes(&self) -> ByGroup<Wish> {
        let wish = |group: &Group| Wish {
            maintained: self.is_maintained(group),
            enabled: group
                .resources
                .iter()
                .map(|resource| !self.is_resource_stopped(resource))
                .collect(),
        };
        self.config.served_groups().iter().map(wish).collect()
    }

    /// Removes the failed actions of these resources on this node.
    pub(super) fn forget(&mut self, resources: &[ResourceRef]) {
        let names: Vec<_> = resources
            .iter()
            .map(|reference| self.resource(*reference).name.clone())
            .collect();
        self.failures
            .retain(|failure| !names.contains(&failure.resource));
    }

    pub(super) fn failures(&self) -> Vec<FailedAction> {
        // A peer may not yet have applied the removal of a resource.
        let others = self.peers.values().flat_map(|report| &report.failures);
        let others = others.filter(|failure| is_configured(&self.config, &failure.resource));
        let mut all: Vec<_> = self.failures.iter().chain(others).cloned().collect();
        all.sort_by_key(|failure| failure.at_unix_ns);
        all
    }

    /// Returns the status of the group with this index, without its lease. Reports of nodes that
    /// are not alive (`lives`) are ignored.
    pub(super) fn describe(
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

impl LocalGroup {
    /// Records a change of the group on this node.
    fn note(&mut self, state: GroupState) {
        match state {
            GroupState::Ready => self.ready = true,
            GroupState::Started => self.running = true,
            GroupState::Incomplete | GroupState::Stopped => self.running = false,
            GroupState::Barred { .. } => self.barred = true,
            GroupState::Fit => self.barred = false,
            GroupState::Blocked { .. } => self.blocked = true,
            GroupState::Unblocked => self.blocked = false,
            GroupState::Broken => self.broken = true,
            GroupState::Mended => self.broken = false,
        }
    }

    fn report(&self, group: &Group) -> protocol::GroupReport {
        // Stopped resources without failures are left out: a report has to fit into one answer.
        let resources = group.resources.iter().zip(&self.resources);
        let resources = resources.filter(|(_, own)| **own != (Some(ResourceState::Stopped), 0));
        protocol::GroupReport {
            name: group.name.clone(),
            settling: !self.ready,
            running: self.running,
            barred: self.barred,
            blocked: self.blocked,
            broken: self.broken,
            resources: resources
                .map(|(resource, (state, failures))| protocol::ResourceReport {
                    name: resource.name.clone(),
                    state: state.unwrap_or(ResourceState::Unknown).name().to_owned(),
                    failures: *failures,
                })
                .collect(),
        }
    }
}

/// Returns all resources, each with the index of its group, except those of removed groups.
fn resources(config: &Config) -> impl Iterator<Item = (GroupIndex, &Resource)> {
    let groups = config.groups.iter_enumerated();
    let groups = groups.filter(|(_, group)| !group.is_removed());
    groups.flat_map(|(index, group)| group.resources.iter().map(move |one| (index, one)))
}

fn is_configured(config: &Config, resource: &str) -> bool {
    resources(config).any(|(_, one)| one.name == resource)
}

/// Returns whether the report exceeds an answer to a peer, with some room for the enclosing
/// message.
fn is_too_long(report: &protocol::Report) -> bool {
    let text = serde_json::to_vec(report);
    text.is_ok_and(|text| text.len() > peering::MAX_PAYLOAD - 1_024)
}

fn is_address(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Vip(_))
}

#[cfg(test)]
mod tests {
    use heartbeat_core::resource::{Action, ExitCode};

    use super::*;
    use crate::clock;

    /// Returns a configuration with the greatest number of groups, each with some resources.
    fn many(dir: &std::path::Path) -> Config {
        let mut text = format!("[cluster]\nname = \"x\"\n[paths]\nstate = {dir:?}\n");
        text += "[[link]]\ninterface = \"eth0\"\n";
        for id in 1..=3 {
            text +=
                &format!("[[node]]\nname = \"n{id}\"\nid = {id}\naddresses = [\"10.0.0.{id}\"]\n");
        }
        for group in 0..crate::config::MAX_GROUPS {
            text += &format!("[[group]]\nname = \"group-{group}\"\n");
            for resource in 0..6 {
                text += &format!(
                    "[[group.resource]]\nname = \"resource-{group}-{resource}\"\ntype = \"exec\"\n\
                     run = [\"/bin/true\"]\n"
                );
            }
        }
        Config::parse(&text, "x.toml".as_ref(), Some("n1"), "n1").expect("a good configuration")
    }

    #[test]
    fn report_fits_into_one_answer_and_is_made_once() {
        let dir = std::env::temp_dir().join(format!("heartbeat-report-{}", std::process::id()));
        let config = Arc::new(many(&dir));
        let mut groups = Groups::open(
            Arc::clone(&config),
            Incarnation(7),
            Writer::start().expect("a thread"),
        );
        for (group, plan) in config.groups.iter_enumerated() {
            for resource in plan.resources.indices() {
                let reference = ResourceRef { group, resource };
                groups.resource_event(&ResourceEvent::State {
                    reference,
                    state: ResourceState::Started,
                    failures: 1,
                    note: String::new(),
                });
                groups.resource_event(&ResourceEvent::Failed {
                    reference,
                    resource: config.groups[group].resources[resource].name.clone(),
                    action: Action::Monitor,
                    outcome: Outcome::Exited(ExitCode::GENERIC_ERROR),
                    at: clock::now(),
                    message: "\u{1}".repeat(10_000),
                });
            }
        }
        assert_eq!(groups.publish(), Some(1));
        let answer = protocol::Response::Report(Box::new(groups.published().clone()));
        let length = serde_json::to_vec(&answer).expect("JSON").len();
        assert!(length <= peering::MAX_PAYLOAD, "{length} bytes");
        assert_eq!(groups.published().groups[63].resources.len(), 6);
        assert!(!groups.published().failures.is_empty());
        assert_eq!(groups.publish(), None, "nothing is new");
    }

    /// Returns a configuration of two groups with a program each.
    fn few(dir: &std::path::Path, one: &str, two: &str) -> Arc<Config> {
        let mut text = format!("[cluster]\nname = \"x\"\n[paths]\nstate = {dir:?}\n");
        text += "[[link]]\ninterface = \"eth0\"\n";
        for id in 1..=3 {
            text +=
                &format!("[[node]]\nname = \"n{id}\"\nid = {id}\naddresses = [\"10.0.0.{id}\"]\n");
        }
        for (name, more) in [("one", one), ("two", two)] {
            text +=
                &format!("[[group]]\nname = \"{name}s\"\n[[group.resource]]\nname = \"{name}\"\n");
            text += &format!("type = \"exec\"\nrun = [\"/bin/true\"]\n{more}\n");
        }
        let config = Config::parse(&text, "x.toml".as_ref(), Some("n1"), "n1");
        Arc::new(config.expect("a good configuration"))
    }

    #[test]
    fn failures_go_with_a_resource_that_is_changed_or_gone() {
        let dir = std::env::temp_dir().join(format!("heartbeat-failures-{}", std::process::id()));
        let mut groups = Groups::open(
            few(&dir, "", ""),
            Incarnation(7),
            Writer::start().expect("a thread"),
        );
        let failed = |resource: &str| ResourceEvent::Failed {
            reference: ResourceRef {
                group: GroupIndex(0),
                resource: ResourceIndex(0),
            },
            resource: resource.to_owned(),
            action: Action::Stop,
            outcome: Outcome::TimedOut,
            at: clock::now(),
            message: String::new(),
        };
        let names = |groups: &Groups| -> Vec<String> {
            let failures = groups.failures();
            failures
                .into_iter()
                .map(|failure| failure.resource)
                .collect()
        };
        for resource in ["one", "two"] {
            assert!(groups.resource_event(&failed(resource)).is_some());
        }
        // A late event of an earlier configuration.
        assert_eq!(groups.resource_event(&failed("three")), None);
        assert_eq!(names(&groups), ["one", "two"]);
        // The report of a peer that still has the removed resource.
        let other = protocol::Report {
            failures: vec![FailedAction {
                resource: "three".to_owned(),
                ..groups.failures()[0].clone()
            }],
            ..protocol::Report::default()
        };
        groups.reported(NodeId(2), other);
        assert_eq!(names(&groups), ["one", "two"]);
        // Other timeouts change nothing; another user makes it another resource.
        groups.replan(few(&dir, "user = \"daemon\"", "stop_timeout = \"3s\""));
        assert_eq!(names(&groups), ["two"]);
        // A resource that could not be stopped may still run in its old form.
        groups.own[GroupIndex(1)].blocked = true;
        groups.replan(few(&dir, "", "user = \"daemon\""));
        assert_eq!(names(&groups), ["two"]);
    }
}
