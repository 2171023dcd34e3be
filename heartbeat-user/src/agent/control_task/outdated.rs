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
    pub(super) fn check_outdated(&mut self, now: Boottime) {
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
    pub(super) fn handle_refusals(&mut self, peer: NodeId, report: &Report) {
        let local = self.config.local().id;
        let received = report.received_from_refused(local.0);
        if !self.outdated.peer_reported(peer, received) {
            return;
        }
        let (node, by) = (self.name(local), self.name(peer));
        self.note(clock::now(), EventKind::Outdated { node, by });
        let own = self.identity.incarnation.0;
        let Some(received) = received.and_then(|received| outdated::to_exceed(own, received))
        else {
            return;
        };
        let dir = self.config.state_dir();
        drop(self.operator.writer.run(move || match incarnation::exceed(&dir, received) {
            Ok(()) => log::warn!(
                "the next incarnation of this node will exceed the one that other nodes have \
                 received: restart the agent"
            ),
            Err(error) => log::error!(
                "other nodes may refuse the heartbeats of the next agent, too, unless the clock is \
                 corrected before its start: {error:#}"
            ),
        }));
    }

    fn name(&self, node: NodeId) -> String {
        let known = self.config.node(node);
        known.map_or_else(|| node.0.to_string(), |node| node.name.clone())
    }
}
