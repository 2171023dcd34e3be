//! Logs heartbeats that are refused as outdated: those of peers, and this node's own.

use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_sys::files::incarnation;

use super::ControlTask;
use crate::{
    agent::{outdated, view},
    clock,
    control::protocol::{EventKind, Report},
};

impl ControlTask<'_> {
    /// Checks whether this node refuses heartbeats of peers as outdated.
    pub(super) fn look_for_outdated(&mut self, now: Boottime) {
        let rows = self.refusals.rows();
        let Some(new) = self.outdated.check(&self.config, rows, now) else {
            return;
        };
        let by = self.config.local().name.clone();
        for node in new {
            let node = self.name(node);
            let by = by.clone();
            self.note(now, EventKind::Outdated { node, by });
        }
        let refused = self.outdated.report();
        view::lock(&self.view).groups.refuse(refused);
        self.publish();
    }

    /// Handles a peer's report that may list this node's heartbeats as refused.
    pub(super) fn told_of_refusals(&mut self, peer: NodeId, report: &Report) {
        let local = self.config.local().id;
        let heard = report.heard_of_refused(local.0);
        if !self.outdated.told(peer, heard) {
            return;
        }
        let (node, by) = (self.name(local), self.name(peer));
        self.note(clock::now(), EventKind::Outdated { node, by });
        let own = self.identity.incarnation.0;
        let Some(heard) = heard.and_then(|heard| outdated::to_exceed(own, heard)) else {
            return;
        };
        let dir = self.config.state_dir();
        drop(self.operator.writer.run(move || match incarnation::exceed(&dir, heard) {
            Ok(()) => log::warn!(
                "the next start of the agent here begins beyond what other nodes have heard of this one: restart it"
            ),
            Err(error) => log::error!(
                "the next start of the agent here may be refused as well, unless the clock is right by then: {error:#}"
            ),
        }));
    }

    fn name(&self, node: NodeId) -> String {
        let known = self.config.node(node);
        known.map_or_else(|| node.0.to_string(), |node| node.name.clone())
    }
}
