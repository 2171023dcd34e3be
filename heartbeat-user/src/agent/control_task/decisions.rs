//! Applies the operators' decisions to this node, and logs each once.

use heartbeat_common::wire::NodeId;
use heartbeat_core::{group::Note, index::ResourceIndex, index_vec::IndexVec};

use super::ControlTask;
use crate::{
    agent::view,
    clock,
    control::protocol::EventKind,
    decision_store::Subject,
    messages::{Directive, ResourceCommand, ResourceRef},
};

/// The operators' decisions on a group that have been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) maintained: bool,
    pub(super) stopped: bool,
    pub(super) resources_stopped: IndexVec<ResourceIndex, bool>,
}

impl ControlTask<'_> {
    /// Applies the decisions of operators, made here or on another node.
    pub(super) fn apply_decisions(&mut self) {
        let view = view::lock(&self.view);
        let mut told = Vec::new();
        let mut tell = |by: Option<NodeId>, what: String| {
            let node = by.and_then(|by| self.config.node(by));
            let node = node.map(|node| node.name.clone());
            let decided = EventKind::Decided { node, what };
            // A decision on all groups is logged once.
            if !told.contains(&decided) {
                told.push(decided);
            }
        };
        self.applied
            .resize_with(self.config.served_groups().len(), Applied::default);
        for (index, group) in self.config.served_groups().iter_enumerated() {
            let wanted = Applied {
                maintained: view.groups.is_maintained(group),
                stopped: view.groups.is_stopped(group),
                resources_stopped: group
                    .resources
                    .iter()
                    .map(|resource| view.groups.is_resource_stopped(resource))
                    .collect(),
            };
            let old = std::mem::replace(&mut self.applied[index], wanted.clone());
            let note = |note| self.directives.send(Directive::Note { group: index, note });
            if old.maintained != wanted.maintained {
                let on = wanted.maintained;
                note(Note::Maintained(on));
                self.commands
                    .send(ResourceCommand::Maintain { group: index, on });
                let (by, of) = match view.groups.maintenance_by(group) {
                    Some((Subject::Maintenance, by)) => (Some(by), "all groups".to_owned()),
                    by => (by.map(|(_, by)| by), format!("group {}", group.name)),
                };
                let on = if on { "on" } else { "off" };
                tell(by, format!("maintenance mode {on} for {of}"));
            }
            if old.stopped != wanted.stopped {
                note(Note::Disabled(wanted.stopped));
                let subject = Subject::GroupStopped(group.name.clone());
                let by = view.groups.decided_on(&subject);
                tell(by, resource_command(!wanted.stopped, &group.name));
            }
            for (resource, is) in wanted.resources_stopped.iter_enumerated() {
                let was = old.resources_stopped.get(resource).copied();
                if was.unwrap_or_default() == *is {
                    continue;
                }
                let reference = ResourceRef {
                    group: index,
                    resource,
                };
                let enabled = !is;
                self.commands
                    .send(ResourceCommand::Enable { reference, enabled });
                let name = &group.resources[resource].name;
                let by = view
                    .groups
                    .decided_on(&Subject::ResourceStopped(name.clone()));
                tell(by, resource_command(enabled, name));
            }
        }
        drop(view);
        for decided in told {
            self.note(clock::now(), decided);
        }
        self.publish();
    }
}

/// Returns the command that starts or stops a group or a resource.
fn resource_command(start: bool, name: &str) -> String {
    let verb = if start { "start" } else { "stop" };
    format!("resource {verb} {name}")
}
