//! The operators' decisions on groups and resources, over the defaults of the configuration.

use heartbeat_common::wire::NodeId;
use heartbeat_core::index_vec::ByGroup;

use super::Groups;
use crate::{
    config::{Group, Resource},
    decision_store::{Decision, DecisionStore, Proposal, Subject},
    resource_manager::Wish,
};

impl Groups {
    /// Returns the store of the operators' decisions, if its file could not be read.
    pub(in crate::agent) fn lost_decisions(&self) -> Option<&DecisionStore> {
        Some(&self.decisions).filter(|decisions| decisions.is_lost())
    }

    /// Starts writing an operator's decision. The decision is in force once it is on disk and
    /// settled.
    pub(in crate::agent) fn propose(&mut self, subject: Subject, value: bool) -> Proposal {
        self.decisions
            .propose(subject, value, self.config.local().id.0)
    }

    /// Puts a decision that is on disk in force.
    pub(in crate::agent) fn settle(&mut self, subject: Subject, decision: Decision) {
        self.decisions.settle(subject, decision);
    }

    /// Returns whether all groups are in maintenance mode.
    pub(in crate::agent) fn maintenance(&self) -> bool {
        let decided = self.decisions.get(&Subject::Maintenance);
        decided.unwrap_or(self.config.maintenance)
    }

    pub(in crate::agent) fn is_maintained(&self, group: &Group) -> bool {
        let subject = Subject::GroupMaintenance(group.name.clone());
        self.maintenance() || self.decisions.get(&subject).unwrap_or(group.maintenance)
    }

    /// Returns the decision that began or ended a group's maintenance mode; `None` if the mode
    /// follows the configuration.
    pub(in crate::agent) fn maintenance_by(&self, group: &Group) -> Option<(Subject, NodeId)> {
        let of = |subject: Subject| {
            let decision = self.decisions.decision(&subject)?;
            Some((decision, subject))
        };
        let own = of(Subject::GroupMaintenance(group.name.clone()));
        let latest = own.into_iter().chain(of(Subject::Maintenance)).max()?;
        Some((latest.1, NodeId(latest.0.by)))
    }

    /// Returns the node on which a decision was made.
    pub(in crate::agent) fn decided_on(&self, subject: &Subject) -> Option<NodeId> {
        self.decisions
            .decision(subject)
            .map(|decision| NodeId(decision.by))
    }

    pub(in crate::agent) fn is_stopped(&self, group: &Group) -> bool {
        let subject = Subject::GroupStopped(group.name.clone());
        self.decisions.get(&subject).unwrap_or(false)
    }

    pub(in crate::agent) fn is_resource_stopped(&self, resource: &Resource) -> bool {
        let subject = Subject::ResourceStopped(resource.name.clone());
        self.decisions.get(&subject).unwrap_or(false)
    }

    /// Returns the operators' wishes for the groups that this node may serve.
    pub(in crate::agent) fn wishes(&self) -> ByGroup<Wish> {
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
}
