//! One look at all groups: what is seen of them and of the nodes, then each of them in turn.

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};

use super::{Cluster, Command, Intent, Slots, moves};
use crate::{
    group::{Group, GroupCommand, GroupContext, LocalNode, Serving},
    peer::Peer,
    placement::{Bar, NodeView, View, keep_room},
    report::Reported,
};

impl Cluster {
    /// What stands against this node, whatever the group.
    fn own_bar(&self) -> Option<Bar> {
        if self.hangs {
            Some(Bar::Stalled)
        } else if self.deaf_since.is_some() {
            Some(Bar::Deaf)
        } else {
            Bar::of_node(self.state, self.health)
        }
    }

    pub(super) fn view_nodes(&mut self, now: Boottime) {
        let own = (self.local, self.own_bar(), self.health, self.load);
        let peers = self.peers.iter().map(|peer| {
            let bar = peer.bar(now, &self.timing);
            (peer.node, bar, peer.said.health, peer.said.load)
        });
        for (node, bar, health, load) in peers.chain([own]) {
            with_node(&mut self.nodes, node, |view| {
                (view.bar, view.health, view.load) = (bar, health, load);
            });
        }
    }

    pub(super) fn step_groups(&mut self, now: Boottime, slots: &dyn Slots, out: &mut Vec<Command>) {
        self.look_at_interfaces(now, out);
        self.measure(now);
        let watches = self.watches(now);
        let bar = self.own_bar();
        let empties = self.intent == Intent::Empty && self.state == NodeState::Draining;
        let can_keep = matches!(self.state, NodeState::Active | NodeState::Starting) || empties;
        let calm = self.calm();
        let may_take = bar.is_none() && !self.parts;
        let able = self.quorate && !self.hangs && self.deaf_since.is_none();
        let empties = empties && able && !self.parts;
        let Self {
            local,
            timing,
            peers,
            groups,
            constraints,
            policy,
            burdens,
            seen,
            nodes,
            scratch,
            rebalancer,
            roads,
            distances,
            ..
        } = self;
        let local = *local;
        let peer = |node| peers.iter().find(|peer: &&Peer| peer.node == node);
        let slot = |group| slots.slot(group);
        let reported = |group: usize, node| match peer(node) {
            Some(peer) => peer.reported_with(group, &roads[group], &distances[group]),
            None => Reported::default(),
        };
        let votes_from = slots.votes_from();
        let counts = policy.strategy.counts_groups();
        let anew = |group: &Group| group.is_placed_anew(now, votes_from);
        // Who takes nothing still chooses for whom the groups are that it lets go.
        let serves = |group: &Group| group.serving() != Serving::Stopped;
        let chooses = bar.is_none() || empties || groups.iter().any(serves);
        let places = counts && chooses && groups.iter().any(anew);
        for (index, group) in groups.iter_mut().enumerate() {
            let claims = counts && group.is_claiming();
            if watches || places || claims || constraints.concern(index) {
                seen[index] =
                    group.glance(local, now, timing, &slot, &|node| reported(index, node));
            }
        }
        if counts || watches {
            nodes.iter_mut().for_each(NodeView::clear);
            for (group, seen) in groups.iter().zip(seen.iter()) {
                if let Some(node) = seen.place(local) {
                    let claimed = seen.owner.is_none() && !seen.leaving;
                    with_node(nodes, node, |node| {
                        if claimed || group.has_just_come(now) {
                            node.awaits(&group.plan.demand);
                        } else {
                            node.has(&group.plan.demand);
                        }
                    });
                }
            }
        }
        if policy.strategy.minds_room() {
            let waiting = groups.iter().enumerate();
            let waiting = waiting.filter(|(_, group)| !group.is_disabled());
            let waiting = waiting.map(|(index, group)| (index, &group.plan));
            keep_room(nodes, waiting, constraints, seen, local);
        }
        let context = GroupContext {
            now,
            timing,
            node: LocalNode {
                // A node that is emptied lets go of one group at a time.
                auto_failback: self.auto_failback && self.intent != Intent::Empty,
                may_take,
                empties: empties && !self.health.is_fatal(),
                may_keep: can_keep && !self.hangs,
                unhealthy: self.health.is_fatal(),
                hangs: self.hangs,
                woke_at: self.woke_at,
            },
            fit_since: &|node| peer(node)?.fit_since,
            acceptor: &|node| Some(1 + peers.iter().position(|peer| peer.node == node)?),
            slot: &slot,
            votes_from,
            reported: &reported,
            distances,
            index: 0,
            view: View {
                policy,
                constraints,
                nodes: &[],
                seen,
                burdens,
                local,
            },
        };
        for (index, group) in groups.iter_mut().enumerate() {
            let context = context.of(index, nodes);
            let claimed = group.is_claiming();
            group.step(&context, scratch);
            report(index, scratch, out);
            let claims = counts && !claimed && group.is_claiming();
            let free = seen[index].owner.is_none() && group.is_free_anew(now, votes_from);
            let moves = places && (anew(group) || free);
            if (moves || claims)
                && let Some(to) = group.expected(&context)
                && seen[index].place(local) != Some(to)
            {
                // Those that come later in the list go by this.
                with_node(nodes, to, |node| node.awaits(&burdens[index]));
            }
        }
        if !watches {
            return;
        }
        let scene = moves::Stage {
            groups,
            context: context.of(0, nodes),
        };
        let found = if empties {
            rebalancer.forget();
            scene.next_to_leave()
        } else if let Some(rules) = &policy.rebalance {
            scene.next_to_move(rules, calm, rebalancer)
        } else {
            None
        };
        let stays: Vec<usize> = (0..scene.groups.len())
            .filter(|group| scene.waits_in_vain(*group))
            .collect();
        stays.into_iter().for_each(|group| groups[group].stay());
        if let Some((group, reason)) = found {
            groups[group].hand_over(reason);
        }
    }
}

impl<'a> GroupContext<'a> {
    /// The same for the group with this index.
    pub(super) fn of(self, index: usize, nodes: &'a [NodeView]) -> Self {
        let view = View { nodes, ..self.view };
        Self {
            index,
            view,
            ..self
        }
    }
}

fn with_node(nodes: &mut [NodeView], node: NodeId, change: impl FnOnce(&mut NodeView)) {
    let at = nodes.binary_search_by_key(&node, |view| view.node);
    if let Some(view) = at.ok().and_then(|at| nodes.get_mut(at)) {
        change(view);
    }
}

pub(super) fn report(group: usize, commands: &mut Vec<GroupCommand>, out: &mut Vec<Command>) {
    let report = |command| Command::Group { group, command };
    out.extend(commands.drain(..).map(report));
}
