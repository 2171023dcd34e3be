//! Pacemaker's cluster options: few have a counterpart, the others get a remark with the reason.

use std::collections::BTreeMap;

use super::remarks::{NO_FENCING, joint};
use crate::{
    emit::{Comment, Remark},
    model::{Attr, Model},
    place::Place,
    values,
};

#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) cluster_name: Option<Attr>,
    /// The place of the setting that the cluster is in maintenance.
    pub(super) maintenance: Option<Place>,
    /// The place of the setting that resources may run only where a location allows it.
    pub(super) opt_in: Option<Place>,
    /// The strategy of placement.
    pub(super) strategy: Option<Attr>,
    pub(super) comments: Vec<Comment>,
}

/// Topics of options.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Fencing,
    Itself,
    Engine,
}

impl Topic {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "stonith-enabled"
            | "stonith-action"
            | "stonith-timeout"
            | "stonith-watchdog-timeout"
            | "stonith-max-attempts"
            | "concurrent-fencing"
            | "startup-fencing"
            | "have-watchdog"
            | "fence-reaction"
            | "priority-fencing-delay"
            | "fencing-enabled"
            | "fencing-action"
            | "fencing-timeout"
            | "fencing-watchdog-timeout"
            | "fencing-max-attempts" => Self::Fencing,
            "dc-version"
            | "cluster-infrastructure"
            | "last-lrm-refresh"
            | "default-resource-failure-stickiness"
            | "expected-quorum-votes"
            | "dc-deadtime"
            | "election-timeout"
            | "shutdown-escalation"
            | "crmd-integration-timeout"
            | "join-integration-timeout"
            | "crmd-finalization-timeout"
            | "join-finalization-timeout"
            | "crmd-transition-delay"
            | "transition-delay"
            | "execution-timeout"
            | "pe-error-series-max"
            | "pe-warn-series-max"
            | "pe-input-series-max"
            | "cluster-ipc-limit"
            | "notification-agent"
            | "notification-recipient" => Self::Itself,
            "cluster-recheck-interval"
            | "batch-limit"
            | "migration-limit"
            | "cluster-delay"
            | "load-threshold"
            | "node-action-limit"
            | "stop-orphan-resources"
            | "stop-orphan-actions"
            | "remove-after-stop"
            | "enable-startup-probes"
            | "shutdown-lock"
            | "shutdown-lock-limit"
            | "node-health-strategy"
            | "node-health-base"
            | "node-health-green"
            | "node-health-yellow"
            | "node-health-red"
            | "node-pending-timeout" => Self::Engine,
            _ => return None,
        })
    }

    fn say(self) -> (&'static str, &'static str) {
        match self {
            Self::Fencing => NO_FENCING,
            Self::Itself => (
                "the setting concerns Pacemaker's own processes",
                "no action needed",
            ),
            Self::Engine => (
                "the setting tunes Pacemaker's transitions, which heartbeat does not have",
                "no action needed, unless the cluster depends on it",
            ),
        }
    }
}

pub(super) fn translate(model: &mut Model) -> Properties {
    let mut properties = Properties::default();
    let mut topics: BTreeMap<Topic, (Vec<String>, Vec<Place>)> = BTreeMap::new();
    for attr in std::mem::take(&mut model.properties).0 {
        // Versions before 1.1 used underscores.
        let name = attr.name.replace('_', "-");
        if let Some(topic) = Topic::of(&name) {
            let (names, places) = topics.entry(topic).or_default();
            names.push(format!("{name}={}", attr.value));
            places.push(attr.place);
            continue;
        }
        match name.as_str() {
            "cluster-name" => properties.cluster(attr),
            "maintenance-mode" => match values::truth(&attr.value) {
                Some(true) => properties.maintenance = Some(attr.place),
                _ => properties.note(&attr, "so it is here"),
            },
            "symmetric-cluster" => match values::truth(&attr.value) {
                Some(false) => {
                    properties.note(
                        &attr,
                        "each group has a location of -inf for each node that no location of it \
                         allows",
                    );
                    properties.opt_in = Some(attr.place);
                }
                _ => properties.note(
                    &attr,
                    "the same in heartbeat: a group may be on every \
                member",
                ),
            },
            "no-quorum-policy" => properties.quorum(attr),
            "placement-strategy" => {
                if attr.value == "default" {
                    properties.note(&attr, "capacities and demands are ignored");
                }
                properties.strategy = Some(attr);
            }
            "default-resource-stickiness" => model.rsc_defaults.0.push(Attr {
                name: "resource-stickiness".to_owned(),
                ..attr
            }),
            "is-managed-default" => model.rsc_defaults.0.push(Attr {
                name: "is-managed".to_owned(),
                ..attr
            }),
            "default-action-timeout" => model.op_defaults.0.push(Attr {
                name: "timeout".to_owned(),
                ..attr
            }),
            _ => properties.remark(attr),
        }
    }
    for (topic, (names, places)) in topics {
        let (reason, remedy) = topic.say();
        let subject = format!("property {}", names.join(", "));
        properties
            .comments
            .extend(joint(subject, places, reason, remedy));
    }
    properties
}

impl Properties {
    fn cluster(&mut self, attr: Attr) {
        self.comments.push(Comment::note(
            format!(
                "property cluster-name={} ({}): the cluster's name, if corosync names none",
                attr.value, attr.place
            ),
            &attr.place,
        ));
        self.cluster_name = Some(attr);
    }

    fn note(&mut self, attr: &Attr, what: &str) {
        self.comments.push(Comment::note(
            format!(
                "property {}={} ({}): {what}",
                attr.name, attr.value, attr.place
            ),
            &attr.place,
        ));
    }

    fn quorum(&mut self, attr: Attr) {
        if attr.value == "stop" {
            return self.note(
                &attr,
                "always so in heartbeat: without a majority the leases end, and the agent stops \
                 the resources",
            );
        }
        self.comments.push(
            Remark::new(
                &attr.place,
                format!("property no-quorum-policy={}", attr.value),
                "without a majority no node serves: the leases end, and the agent stops the \
                 resources; no setting changes this",
                "have enough voters: three tolerate the loss of one, five the loss of two",
            )
            .into(),
        );
    }

    fn remark(&mut self, attr: Attr) {
        let (reason, remedy) = match attr.name.replace('_', "-").as_str() {
            "start-failure-is-fatal" => (
                "heartbeat's reaction to a failed start is fixed, without a setting",
                "see migration_threshold in docs/heartbeat.toml.example",
            ),
            "stop-all-resources" => (
                "the file does not have the present state of resources",
                "set `maintenance = true` in [cluster] if the agents must touch no resource",
            ),
            "enable-acl" => (
                "only root may command the agent",
                "the control socket has the mode 0600; do not widen it",
            ),
            "rule" => (
                "heartbeat's settings have no rules",
                "write the settings that should always hold by hand",
            ),
            _ => (
                "heartbeat has no such setting",
                "check that nothing depends on it",
            ),
        };
        let subject = format!("property {}={}", attr.name, attr.value);
        self.comments
            .push(Remark::new(&attr.place, subject, reason, remedy).into());
    }
}
