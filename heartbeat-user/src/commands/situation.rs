//! Converts a status into the input of the core's placement.

use std::collections::HashSet;

use heartbeat_common::wire::{Health, NodeId, NodeState};
use heartbeat_core::{
    index::GroupIndex,
    index_vec::ByGroup,
    peer::PeerState,
    placement::{Ineligibility, Layout, NodeView, Ranked, predict::Situation},
};

use crate::{
    config::{Config, Role},
    control::protocol::{Group, Node, Status},
    pulse,
};

/// The values that a [`Situation`] borrows.
pub(super) struct Seen<'a> {
    config: &'a Config,
    status: &'a Status,
    layout: Layout,
    nodes: Vec<NodeView>,
    pub(super) owners: ByGroup<Option<NodeId>>,
    /// Number of voters alive.
    pub(super) alive: usize,
}

impl<'a> Seen<'a> {
    /// Builds the cluster of `status`, as if the nodes in `fail` had failed too.
    pub(super) fn new(config: &'a Config, status: &'a Status, fail: &[String]) -> Self {
        let layout = pulse::whole_layout(config);
        let failed: HashSet<&str> = fail.iter().map(String::as_str).collect();
        let lives = |node: &&Node| node.state != "down" && !failed.contains(node.name.as_str());
        let shown = status.nodes.iter().filter(lives);
        let view = |shown: &Node| {
            let node = config.node_named(&shown.name)?;
            let view = NodeView::new(node.id, layout.capacity(node.id));
            let health = Health(shown.health);
            let stalled = shown.local && status.pulse.local_stalls.local_stall;
            let ineligibility =
                Ineligibility::of_peer(state(&shown.state), node_state(&shown.agent), health);
            Some(NodeView {
                ineligibility: ineligibility.or(stalled.then_some(Ineligibility::LocalStall)),
                health,
                load: shown.load.unwrap_or(0),
                ..view
            })
        };
        let members = shown.clone().filter(|node| {
            let node = config.node_named(&node.name);
            node.is_some_and(|node| node.role == Role::Member)
        });
        let alive = shown.clone().filter(|node| node.state != "unknown").count();
        let quorate = alive > config.nodes.len() / 2;
        let nodes = members.filter_map(view).map(|view| NodeView {
            // Without a majority no node may acquire anything.
            ineligibility: view
                .ineligibility
                .or((!quorate).then_some(Ineligibility::Starting)),
            ..view
        });
        let owner = |group: &crate::config::Group| {
            let owner = shown_in(status, &group.name)?.owner.as_deref()?;
            Some(config.node_named(owner)?.id)
        };
        Self {
            owners: config.groups.iter().map(owner).collect(),
            nodes: nodes.collect(),
            alive,
            config,
            status,
            layout,
        }
    }

    /// Returns the final owner of each group.
    pub(super) fn settle(&self) -> ByGroup<Option<NodeId>> {
        self.situated(|situation| situation.settle(&self.owners))
    }

    /// Ranks the nodes for one group, the best first; nodes that are down come last.
    pub(super) fn rank(&self, group: GroupIndex) -> Vec<Ranked> {
        self.situated(|situation| situation.rank(group, &self.owners))
    }

    pub(super) fn shown(&self, group: GroupIndex) -> Option<&'a Group> {
        shown_in(self.status, &self.config.groups[group].name)
    }

    /// Whether a node is cut off from a group's addresses while another live node is not.
    fn is_cut_off(&self, group: GroupIndex, node: NodeId) -> bool {
        let cut_off = |node: NodeId| {
            let shown = self.shown(group).zip(self.config.node(node));
            shown.is_some_and(|(shown, node)| shown.cut_off.contains(&node.name))
        };
        let well = self
            .nodes
            .iter()
            .filter(|view| view.ineligibility.is_none());
        let mut ranked = well.filter(|view| self.layout.groups[group].ranked.contains(&view.node));
        cut_off(node) && ranked.any(|view| !cut_off(view.node))
    }

    fn situated<R>(&self, read: impl FnOnce(&Situation<'_>) -> R) -> R {
        let situation = Situation {
            layout: &self.layout,
            nodes: &self.nodes,
            barred: &|group, node| {
                let shown = self.shown(group);
                let barred = shown.map(|shown| shown.barred.iter().chain(&shown.blocked));
                let name = self.config.node(node).map(|node| &node.name);
                barred.is_some_and(|mut barred| barred.any(|barred| Some(barred) == name))
            },
            cut_off: &|group, node| self.is_cut_off(group, node),
            stopped: &|group| self.shown(group).is_some_and(|shown| shown.stopped),
            // Any group that would leave without a failure has had the time to do so.
            movable: &|_| false,
        };
        read(&situation)
    }
}

fn shown_in<'a>(status: &'a Status, group: &str) -> Option<&'a Group> {
    status.groups.iter().find(|shown| shown.name == group)
}

fn state(name: &str) -> PeerState {
    let mut all = PeerState::ALL.into_iter();
    all.find(|state| state.name() == name).unwrap_or_default()
}

fn node_state(name: &str) -> NodeState {
    let mut all = NodeState::ALL.into_iter();
    all.find(|state| state.name() == name).unwrap_or_default()
}
