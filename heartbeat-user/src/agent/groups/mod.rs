//! The control task's records of groups and resources on this node and on the others. The sources
//! are the resource manager, the peers' reports and the operators' decisions.

mod decisions;
mod local;
mod peers;
mod publish;
mod status;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, NodeId},
};
use heartbeat_core::{index::GroupIndex, index_vec::ByGroup};
use heartbeat_sys::files::atomic_file::Writer;

use self::local::LocalGroup;
use super::remains::Remains;
use crate::{
    config::{Config, Resource, ResourceKind},
    control::protocol::{self, FailedAction, FailingCheck},
    decision_store::DecisionStore,
    messages::ResourceRef,
};

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

impl Groups {
    pub(super) fn open(config: Arc<Config>, incarnation: Incarnation, writer: Writer) -> Self {
        let own = config.groups.iter().map(LocalGroup::new);
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

    fn resource(&self, reference: ResourceRef) -> &Resource {
        &self.config.groups[reference.group].resources[reference.resource]
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

fn is_address(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Vip(_))
}

#[cfg(test)]
mod tests {
    use heartbeat_core::{
        index::ResourceIndex,
        resource::{Action, Outcome},
    };

    use super::*;
    use crate::{clock, messages::ResourceEvent};

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
