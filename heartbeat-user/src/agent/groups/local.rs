//! The groups on this node: their states from the events of the resource manager, and their failed
//! actions.

use heartbeat_common::wire::NodeId;
use heartbeat_core::{
    group::GroupEvent,
    index::{GroupIndex, ResourceIndex},
    index_vec::IndexVec,
    resource::{GroupState, Outcome, ResourceState},
};

use super::{Groups, is_address, is_configured};
use crate::{
    config::Group,
    control::protocol::{self, EventKind, FailedAction},
    messages::{ResourceEvent, ResourceRef},
    wall_clock,
};

/// The number of failed actions that are kept, and the kept length of each output: all of them must
/// fit into one report.
const FAILURES_KEPT: usize = 32;
pub(super) const OUTPUT_KEPT: usize = 1024;

/// A group on this node.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalGroup {
    /// Whether all of the group has been probed, and nothing of it runs that should not.
    ready: bool,
    running: bool,
    barred: bool,
    pub(super) blocked: bool,
    /// Whether an interface of the group is broken, according to the core.
    broken: bool,
    pub(super) resources: IndexVec<ResourceIndex, (Option<ResourceState>, u32)>,
}

impl Groups {
    /// Records an event of the resource manager and returns its log event.
    pub(in crate::agent) fn resource_event(&mut self, event: &ResourceEvent) -> Option<EventKind> {
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
    pub(in crate::agent) fn changed(
        &mut self,
        index: GroupIndex,
        state: GroupState,
    ) -> Option<EventKind> {
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
    pub(in crate::agent) fn named(&self, index: GroupIndex, event: GroupEvent) -> EventKind {
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
    pub(in crate::agent) fn is_blocked_here(&self, group: &Group) -> bool {
        let groups = self.config.groups.iter().zip(&self.own);
        let mut own = groups.filter(|(known, _)| known.id == group.id);
        own.any(|(_, own)| own.blocked)
    }

    /// Removes the failed actions of these resources on this node.
    pub(in crate::agent) fn forget(&mut self, resources: &[ResourceRef]) {
        let names: Vec<_> = resources
            .iter()
            .map(|reference| self.resource(*reference).name.clone())
            .collect();
        self.failures
            .retain(|failure| !names.contains(&failure.resource));
    }
}

impl LocalGroup {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            resources: vec![(None, 0); group.resources.len()].into(),
            ..Self::default()
        }
    }

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

    pub(super) fn report(&self, group: &Group) -> protocol::GroupReport {
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
