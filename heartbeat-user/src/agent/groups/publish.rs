//! The report that peers may fetch from this node.

use heartbeat_common::wire::NodeId;

use super::{Groups, local::OUTPUT_KEPT};
use crate::{
    control::protocol::{self, FailingCheck},
    peering,
};

impl Groups {
    /// Makes a new report, if it differs from the published one. Returns its number.
    pub(in crate::agent) fn publish(&mut self) -> Option<u32> {
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

    pub(in crate::agent) fn published(&self) -> &protocol::Report {
        &self.published
    }

    /// Sets the failing health checks of this node.
    pub(in crate::agent) fn fail(&mut self, failing: Vec<FailingCheck>) {
        let cut = |check: FailingCheck| FailingCheck {
            message: check.message.chars().take(OUTPUT_KEPT).collect(),
            ..check
        };
        self.failing = failing.into_iter().map(cut).collect();
    }

    /// Notes that this node's agent stops.
    pub(in crate::agent) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Sets the nodes whose heartbeats this node refuses.
    pub(in crate::agent) fn refuse(&mut self, refused: Vec<protocol::RefusedNode>) {
        self.refused = refused;
    }

    /// Returns whether this node refuses the heartbeats of `node`.
    pub(in crate::agent) fn refuses(&self, node: NodeId) -> bool {
        self.refused.iter().any(|refused| refused.node == node.0)
    }

    /// Sets the keys of this node.
    pub(in crate::agent) fn rekey(&mut self, keys: protocol::Keys) {
        self.keys = Some(keys);
    }
}

/// Returns whether the report exceeds an answer to a peer, with some room for the enclosing
/// message.
fn is_too_long(report: &protocol::Report) -> bool {
    let text = serde_json::to_vec(report);
    text.is_ok_and(|text| text.len() > peering::MAX_PAYLOAD - 1_024)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heartbeat_common::wire::Incarnation;
    use heartbeat_core::resource::{Action, ExitCode, Outcome, ResourceState};
    use heartbeat_sys::files::atomic_file::Writer;

    use super::*;
    use crate::{
        clock,
        config::Config,
        messages::{ResourceEvent, ResourceRef},
    };

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
}
