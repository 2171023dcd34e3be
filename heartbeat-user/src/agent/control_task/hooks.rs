//! Runs the hooks: derives hook events and variables from reports.

use heartbeat_common::{time::Boottime, wire::NodeId};
use heartbeat_core::{index::GroupIndex, peer::PeerState};

use super::ControlTask;
use crate::{
    agent::view,
    clock,
    config::HookEvent,
    control::protocol::{EventKind, VipEvent},
    health::Turn,
    hooks::{Ended, Hooks, Variables},
    messages::ResourceEvent,
    wall_clock,
};

impl ControlTask<'_> {
    pub(super) fn peer_hooks(&mut self, node: NodeId, to: PeerState, at: Boottime, hooks: &Hooks) {
        use PeerState::{AgentStalled, Down, Draining, Suspect, Unhealthy, Up};
        if to == Suspect {
            // Suspicion fires no hook. The next state is compared with the one before the
            // suspicion.
            return;
        }
        let from = self.hook_states.insert(node, to).unwrap_or_default();
        if from == to {
            return;
        }
        let gone = matches!(from, Down | AgentStalled);
        let events: &[HookEvent] = match (from, to) {
            (_, Down) if !gone => &[HookEvent::PeerDown],
            (_, AgentStalled) if !gone => &[HookEvent::PeerDown, HookEvent::PeerStalled],
            (_, AgentStalled) => &[HookEvent::PeerStalled],
            (_, Unhealthy) => &[HookEvent::PeerUnhealthy],
            (_, Draining) => &[HookEvent::PeerDraining],
            (_, Up) => &[HookEvent::PeerUp],
            _ => return,
        };
        let mut variables = self.common_variables(at);
        let name = self.config.node(node).map(|node| node.name.clone());
        variables.push(("HEARTBEAT_PEER", name.unwrap_or_default()));
        variables.push(("HEARTBEAT_PEER_ID", node.0.to_string()));
        variables.push(("HEARTBEAT_PEER_STATE", to.name().to_owned()));
        let (load, failing) = view::lock(&self.view).load_and_failing(node);
        variables.push(("HEARTBEAT_PEER_LOAD", load.to_string()));
        variables.push(("HEARTBEAT_PEER_FAILING", failing.join(",")));
        for event in events {
            hooks.fire(*event, &variables);
        }
    }

    pub(super) fn health_hooks(&self, turn: &Turn, hooks: &Hooks) {
        let mut variables = self.common_variables(clock::now());
        let state = if turn.well { "well" } else { "failing" };
        variables.push(("HEARTBEAT_CHECK", turn.name.clone()));
        variables.push(("HEARTBEAT_CHECK_STATE", state.to_owned()));
        variables.push(("HEARTBEAT_CHECK_FAILURE", turn.meaning.to_string()));
        variables.push(("HEARTBEAT_MESSAGE", turn.message.clone()));
        hooks.fire(HookEvent::Health, &variables);
    }

    pub(super) fn rebalance_hooks(
        &self,
        group: GroupIndex,
        to: NodeId,
        at: Boottime,
        hooks: &Hooks,
    ) {
        let mut variables = self.common_variables(at);
        let to = self.config.node(to).map(|node| node.name.clone());
        variables.push(("HEARTBEAT_GROUP", self.config.groups[group].name.clone()));
        variables.push(("HEARTBEAT_TO", to.unwrap_or_default()));
        hooks.fire(HookEvent::Rebalance, &variables);
    }

    pub(super) fn vip_hooks(&self, event: &ResourceEvent, hooks: &Hooks) {
        let (event, vip, at) = match *event {
            ResourceEvent::Vip {
                vip,
                event: VipEvent::Takeover { announced_ns, .. },
            } => (HookEvent::Takeover, vip, announced_ns),
            ResourceEvent::Vip {
                vip,
                event: VipEvent::Release { address_ns, .. },
            } => (HookEvent::Release, vip, address_ns),
            _ => return,
        };
        let vip = &self.config.vips[vip];
        let mut variables = self.common_variables(Boottime::from_nanos(at));
        variables.push(("HEARTBEAT_VIP", vip.name.clone()));
        variables.push(("HEARTBEAT_ADDRESS", vip.address.to_string()));
        variables.push(("HEARTBEAT_INTERFACE", vip.interface.clone()));
        hooks.fire(event, &variables);
    }

    fn common_variables(&self, at: Boottime) -> Variables {
        vec![
            ("HEARTBEAT_CLUSTER", self.config.cluster.clone()),
            ("HEARTBEAT_INSTANCE", self.config.instance.clone()),
            ("HEARTBEAT_NODE", self.config.local().name.clone()),
            ("HEARTBEAT_AT_NS", at.as_nanos().to_string()),
            ("HEARTBEAT_AT_UNIX_NS", wall_clock::unix_ns(at).to_string()),
            (
                "HEARTBEAT_LOAD",
                view::lock(&self.view)
                    .vitals
                    .load()
                    .unwrap_or_default()
                    .to_string(),
            ),
        ]
    }

    pub(super) fn hook_ended(&mut self, ended: Ended) {
        let Ended {
            on,
            exec,
            status,
            message,
        } = ended;
        let on = on.as_str().to_owned();
        self.note(
            clock::now(),
            EventKind::Hook {
                on,
                exec,
                status,
                message,
            },
        );
    }
}
