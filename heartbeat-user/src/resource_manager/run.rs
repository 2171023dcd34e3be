//! One group on this node: its resources, the operators' decisions on them, and the messages of
//! their actions.

use std::sync::Arc;

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::AcquisitionTimeline,
    index::{ResourceIndex, VipIndex},
    index_vec::IndexVec,
    resource::{Action, GroupRun, Outcome, ResourceState},
};

use crate::config::{Group, Resource, ResourceKind};

/// The operators' decisions on a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The group is in maintenance mode.
    pub maintained: bool,
    /// Whether each resource may run.
    pub enabled: IndexVec<ResourceIndex, bool>,
}

/// The executor of a resource's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This thread, for the address with this index.
    Address(VipIndex),
    Other,
}

impl Kind {
    pub(super) fn of(resource: &Resource) -> Self {
        match resource.kind {
            ResourceKind::Vip(vip) => Self::Address(vip),
            _ => Self::Other,
        }
    }
}

/// One group.
pub(super) struct Run {
    pub(super) resources: IndexVec<ResourceIndex, Arc<Resource>>,
    /// The state machine of the group, once the plans of its resources are known.
    pub(super) engine: Option<GroupRun>,
    pub(super) kinds: IndexVec<ResourceIndex, Kind>,
    /// The last message of each resource.
    pub(super) messages: IndexVec<ResourceIndex, LastMessage>,
    /// The number of the pending action of each resource, if an executor carries it out.
    pub(super) pending: IndexVec<ResourceIndex, Option<u64>>,
    /// The last reported state of each resource.
    pub(super) reported: IndexVec<ResourceIndex, (ResourceState, u32)>,
    pub(super) watched: IndexVec<ResourceIndex, bool>,
    /// The operators' decisions on the resources.
    pub(super) enabled: IndexVec<ResourceIndex, bool>,
    pub(super) maintained: bool,
    /// The configuration no longer has the group.
    pub(super) removed: bool,
    /// The group should run here: this node holds the lease, or an earlier run of this node still
    /// does.
    pub(super) wanted: bool,
    /// The pulse waits for the report that the group has stopped.
    pub(super) stop_owed: bool,
    /// The changed group that follows once this one has stopped.
    pub(super) next: Option<Group>,
    pub(super) timeline: AcquisitionTimeline,
    /// The time at which the last command was decided.
    pub(super) decided: Boottime,
}

impl Run {
    pub(super) fn new(group: &Group, wanted: bool) -> Self {
        let count = group.resources.len();
        Self {
            kinds: group.resources.iter().map(Kind::of).collect(),
            resources: group.resources.iter().cloned().map(Arc::new).collect(),
            engine: None,
            messages: vec![LastMessage::default(); count].into(),
            pending: vec![None; count].into(),
            reported: vec![(ResourceState::Unknown, 0); count].into(),
            watched: vec![false; count].into(),
            enabled: vec![true; count].into(),
            maintained: false,
            removed: group.is_removed(),
            wanted,
            stop_owed: false,
            next: None,
            timeline: AcquisitionTimeline::default(),
            decided: Boottime::default(),
        }
    }
}

/// The last message about a resource, with its action: a failure is never reported with the message
/// of another action.
#[derive(Clone, Debug, Default)]
pub(super) struct LastMessage {
    /// `None` if a process ended by itself.
    pub(super) action: Option<Action>,
    pub(super) text: String,
}

impl LastMessage {
    /// Returns the message for an action with this outcome.
    pub(super) fn of(&self, action: Action, outcome: Outcome) -> String {
        let wanted = (outcome != Outcome::Died).then_some(action);
        match self.action == wanted {
            true => self.text.clone(),
            false => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_of_another_action_is_not_used() {
        let last = LastMessage {
            action: Some(Action::Start),
            text: "no space".to_owned(),
        };
        assert_eq!(last.of(Action::Start, Outcome::TimedOut), "no space");
        assert_eq!(last.of(Action::Stop, Outcome::TimedOut), "");
        assert_eq!(last.of(Action::Start, Outcome::Died), "");
    }
}
