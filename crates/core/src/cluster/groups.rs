//! One step over all groups: first the snapshots of groups and nodes, then the decision of each
//! group.

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};

use super::{Cluster, Command, Intent, StepInput, moves};
use crate::{
    Timing,
    group::{Group, GroupContext, GroupEvent, LocalNode, Serving},
    index::GroupIndex,
    index_vec::ByGroup,
    observation::Observation,
    placement::{
        Constraints, GroupSnapshot, Ineligibility, NodeView, Policy, View, keep_room,
        rebalance::{Calm, Rebalancer},
    },
};

/// The extent of one step.
#[derive(Clone, Copy)]
struct Scope {
    /// Whether a check for groups that should move is due.
    watches: bool,
    /// Whether the number of groups on each node matters.
    counts: bool,
    /// Whether some group needs a new node, and this node has to choose.
    places: bool,
    /// Whether an operator empties this node, and the node can judge which other node can have a
    /// group.
    empties: bool,
}

impl Cluster {
    /// The reason why this node can take no group, if there is one.
    pub(super) fn own_ineligibility(&self) -> Option<Ineligibility> {
        if self.own.hangs {
            Some(Ineligibility::Stalled)
        } else if self.stall.local_stall_since.is_some() {
            Some(Ineligibility::LocalStall)
        } else {
            Ineligibility::of_node(self.own.state, self.own.health)
        }
    }

    pub(super) fn view_nodes(&mut self, now: Boottime) {
        let own = (
            self.local,
            self.own_ineligibility(),
            self.own.health,
            self.own.load,
        );
        let peers = self.peers.iter().map(|peer| {
            let ineligibility = peer.ineligibility(now, &self.timing);
            (
                peer.node,
                ineligibility,
                peer.last_reply.health,
                peer.last_reply.load,
            )
        });
        for (node, ineligibility, health, load) in peers.chain([own]) {
            with_node(&mut self.placing.nodes, node, |view| {
                (view.ineligibility, view.health, view.load) = (ineligibility, health, load);
            });
        }
    }

    /// Whether an operator empties this node.
    fn is_emptied(&self) -> bool {
        self.own.intent == Intent::Empty && self.own.state == NodeState::Draining
    }

    /// Whether an operator empties this node, and the node can judge which other node can have a
    /// group.
    fn empties(&self) -> bool {
        let able = self.quorum.quorate && !self.own.hangs && self.stall.local_stall_since.is_none();
        self.is_emptied() && able && !self.own.restarts
    }

    /// The limits of this node's actions now.
    fn local_node(&self) -> LocalNode {
        let serves = matches!(self.own.state, NodeState::Active | NodeState::Starting);
        let unhealthy = self.own.health.is_fatal();
        LocalNode {
            // A node that an operator empties releases one group at a time.
            auto_failback: self.auto_failback && self.own.intent != Intent::Empty,
            may_take: self.own_ineligibility().is_none() && !self.own.restarts,
            empties: self.empties() && !unhealthy,
            may_keep: (serves || self.is_emptied()) && !self.own.hangs,
            unhealthy,
            hangs: self.own.hangs,
            stalled_until: self.stall.stalled_until,
        }
    }

    pub(super) fn step_groups(&mut self, input: &StepInput<'_>, out: &mut Vec<Command>) {
        let StepInput {
            now,
            slots,
            votes_from,
            ..
        } = *input;
        self.groups.iter_mut().for_each(Group::begin_step);
        self.check_interfaces(now, out);
        self.measure(now);
        let watches = self.watches(now);
        let (node, calm) = (self.local_node(), self.calm());
        let empties = self.empties();
        // A node that may not acquire groups must still pick a successor for each group it
        // releases.
        let serves = |group: &Group| group.serving() != Serving::Stopped;
        let chooses =
            self.own_ineligibility().is_none() || empties || self.groups.iter().any(serves);
        let placing = &mut self.placing;
        let mut step = GroupsStep {
            now,
            local: self.local,
            timing: &self.timing,
            node,
            observation: Observation {
                peers: &self.peers,
                networks: &self.reach.networks,
                distances: &self.reach.distances,
                slots,
                votes_from,
            },
            constraints: &placing.constraints,
            policy: &placing.policy,
            burdens: &placing.burdens,
            seen: &mut placing.seen,
            nodes: &mut placing.nodes,
        };
        let groups = &mut self.groups;
        let counts = step.policy.strategy.counts_groups();
        let anew = |group: &Group| step.is_placed_anew(group);
        let scope = Scope {
            watches,
            counts,
            places: counts && chooses && groups.iter().any(anew),
            empties,
        };
        step.see(groups, scope);
        step.count(groups, scope);
        step.step(groups, scope, &mut self.scratch, out);
        if watches {
            step.let_go(groups, scope, calm, &mut placing.rebalancer);
        }
    }
}

/// The context of all groups in one step.
struct GroupsStep<'a> {
    now: Boottime,
    local: NodeId,
    timing: &'a Timing,
    node: LocalNode,
    observation: Observation<'a>,
    constraints: &'a Constraints,
    policy: &'a Policy,
    burdens: &'a ByGroup<Vec<u32>>,
    seen: &'a mut ByGroup<GroupSnapshot>,
    nodes: &'a mut [NodeView],
}

impl GroupsStep<'_> {
    /// The context of the group with this index.
    fn context(&self, index: GroupIndex) -> GroupContext<'_> {
        GroupContext {
            now: self.now,
            timing: self.timing,
            node: self.node,
            index,
            observation: self.observation,
            view: View {
                policy: self.policy,
                constraints: self.constraints,
                nodes: self.nodes,
                seen: self.seen,
                burdens: self.burdens,
                local: self.local,
            },
        }
    }

    fn is_placed_anew(&self, group: &Group) -> bool {
        group.is_placed_anew(self.now, self.observation.votes_from)
    }

    /// Takes a snapshot of each group that matters now.
    fn see(&mut self, groups: &mut ByGroup<Group>, scope: Scope) {
        for (index, group) in groups.iter_mut_enumerated() {
            let claims = scope.counts && group.is_claiming();
            if scope.watches || scope.places || claims || self.constraints.concern(index) {
                let here = (self.local, self.now);
                let snapshot = group.snapshot(index, here, self.timing, &self.observation);
                // Without a new slot, the last snapshot stays.
                self.seen[index] = snapshot.unwrap_or(self.seen[index]);
            }
        }
    }

    /// Counts the groups of each node, and keeps room for groups that have to follow.
    fn count(&mut self, groups: &ByGroup<Group>, scope: Scope) {
        if scope.counts || scope.watches {
            self.nodes.iter_mut().for_each(NodeView::clear);
            for (group, seen) in groups.iter().zip(self.seen.iter()) {
                let Some(node) = seen.place(self.local) else {
                    continue;
                };
                let claimed = seen.owner.is_none() && !seen.leaving;
                let comes = claimed || group.has_just_come(self.now);
                with_node(self.nodes, node, |node| match comes {
                    true => node.awaits(&group.plan.demand),
                    false => node.has(&group.plan.demand),
                });
            }
        }
        if self.policy.strategy.checks_room() {
            let waiting = groups.iter_enumerated();
            let waiting = waiting.filter(|(_, group)| !group.is_disabled());
            let waiting = waiting.map(|(index, group)| (index, &group.plan));
            keep_room(self.nodes, waiting, self.constraints, self.seen, self.local);
        }
    }

    /// Lets each group decide.
    fn step(
        &mut self,
        groups: &mut ByGroup<Group>,
        scope: Scope,
        scratch: &mut Vec<GroupEvent>,
        out: &mut Vec<Command>,
    ) {
        for (index, group) in groups.iter_mut_enumerated() {
            let claimed = group.is_claiming();
            let context = self.context(index);
            group.step(&context, scratch);
            report(index, scratch, out);
            let claims = scope.counts && !claimed && group.is_claiming();
            let free = self.seen[index].owner.is_none()
                && group.is_free_anew(self.now, self.observation.votes_from);
            let moves = scope.places && (self.is_placed_anew(group) || free);
            if (moves || claims)
                && let Some(to) = group.expected(&context)
                && self.seen[index].place(self.local) != Some(to)
            {
                // Groups later in the list see this group as expected there.
                with_node(self.nodes, to, |node| node.awaits(&self.burdens[index]));
            }
        }
    }

    /// Decides which group leaves although this node could keep it.
    fn let_go(
        &self,
        groups: &mut ByGroup<Group>,
        scope: Scope,
        calm: Calm,
        rebalancer: &mut Rebalancer,
    ) {
        let departures = moves::Departures {
            groups,
            context: self.context(GroupIndex(0)),
        };
        let found = if scope.empties {
            rebalancer.forget();
            departures.next_to_leave()
        } else if let Some(rules) = &self.policy.rebalance {
            departures.next_to_move(rules, calm, rebalancer)
        } else {
            None
        };
        let stays: Vec<GroupIndex> = departures
            .groups
            .indices()
            .filter(|group| departures.waits_for_stuck_group(*group))
            .collect();
        stays.into_iter().for_each(|group| groups[group].stay());
        if let Some((group, reason)) = found {
            groups[group].hand_over(reason);
        }
    }
}

fn with_node(nodes: &mut [NodeView], node: NodeId, change: impl FnOnce(&mut NodeView)) {
    let at = nodes.binary_search_by_key(&node, |view| view.node);
    if let Some(view) = at.ok().and_then(|at| nodes.get_mut(at)) {
        change(view);
    }
}

pub(super) fn report(group: GroupIndex, events: &mut Vec<GroupEvent>, out: &mut Vec<Command>) {
    let report = |event| Command::Group { group, event };
    out.extend(events.drain(..).map(report));
}
