//! One node's view of the whole cluster, as far as it matters for placement.

use heartbeat_common::wire::{Health, NodeId};

use super::{Constraints, GroupSnapshot, Ineligibility, Policy};
use crate::{
    group::GroupPlan,
    index::{GroupIndex, KindIndex},
    index_vec::ByGroup,
    report::Reported,
};

/// One node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    pub node: NodeId,
    /// The reason why the node can take no group at all, if there is one.
    pub ineligibility: Option<Ineligibility>,
    pub health: Health,
    /// Per mille, from its last reply.
    pub load: u16,
    /// Its capacity, by kind. A missing kind, or `None`, has no limit.
    pub capacity: Vec<Option<u32>>,
    /// The groups on the node that its load includes.
    pub groups: u32,
    /// The groups that the node has only just got, or is about to get: its load does not include
    /// them.
    pub coming: u32,
    /// The demand of all of these groups, by kind, and the room that is kept for their followers.
    pub used: Vec<u32>,
    /// The kept room: for which group, of which kind, how much.
    pub kept: Vec<(GroupIndex, KindIndex, u32)>,
}

impl NodeView {
    pub fn new(node: NodeId, capacity: Vec<Option<u32>>) -> Self {
        Self {
            node,
            used: vec![0; capacity.len()],
            capacity,
            ..Self::default()
        }
    }

    /// Resets the counts of the node's groups.
    pub(crate) fn clear(&mut self) {
        (self.groups, self.coming) = (0, 0);
        self.used.fill(0);
        self.kept.clear();
    }

    /// Adds a group with this demand.
    pub(crate) fn has(&mut self, demand: &[u32]) {
        self.groups += 1;
        self.needs(demand);
    }

    /// Adds a coming group with this demand.
    pub(crate) fn awaits(&mut self, demand: &[u32]) {
        self.coming += 1;
        self.needs(demand);
    }

    /// Keeps room for a group that must run here and does not, if the node has that room.
    fn keeps(&mut self, group: GroupIndex, demand: &[u32]) {
        if self
            .left(demand)
            .all(|kind| kind.needed == 0 || kind.left >= 0)
        {
            self.needs(demand);
            let kinds = demand.iter().enumerate();
            self.kept
                .extend(kinds.map(|(kind, demand)| (group, KindIndex(kind), *demand)));
        }
    }

    fn needs(&mut self, demand: &[u32]) {
        for (used, demand) in self.used.iter_mut().zip(demand) {
            *used = used.saturating_add(*demand);
        }
    }

    /// The rest of each kind with a limit, and the limit, after `burden` has come. A negative rest
    /// is a shortage.
    fn left(&self, burden: &[u32]) -> impl Iterator<Item = Left> {
        let kinds = self.capacity.iter().zip(&self.used).enumerate();
        kinds.filter_map(|(kind, (capacity, used))| {
            let more = burden.get(kind).copied().unwrap_or(0);
            let of = (*capacity)?;
            Some(Left {
                kind: KindIndex(kind),
                of,
                left: i64::from(of) - i64::from(*used) - i64::from(more),
                needed: more,
            })
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) kind: KindIndex,
    pub(super) of: u32,
    pub(super) left: i64,
    pub(super) needed: u32,
}

/// The view of all nodes and groups. Nodes with equal views rank equally.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub policy: &'a Policy,
    pub constraints: &'a Constraints,
    /// In the order of their ids.
    pub nodes: &'a [NodeView],
    /// By group.
    pub seen: &'a ByGroup<GroupSnapshot>,
    /// The demand of each group with all that follow it, by group.
    pub burdens: &'a ByGroup<Vec<u32>>,
    /// The viewing node. It knows by itself which groups are about to come and to go. Node 0 means
    /// no node.
    pub local: NodeId,
}

impl View<'_> {
    pub fn node(&self, node: NodeId) -> Option<&NodeView> {
        let at = self.nodes.binary_search_by_key(&node, |view| view.node);
        self.nodes.get(at.ok()?)
    }

    /// Whether the group is on the node, or about to come there.
    pub(super) fn is_there(&self, group: GroupIndex, node: NodeId) -> bool {
        self.seen
            .get(group)
            .is_some_and(|seen| seen.place(self.local) == Some(node))
    }

    /// Whether `node` has a group that must not share a node with this one.
    pub(crate) fn is_kept_away(&self, group: GroupIndex, node: NodeId) -> bool {
        let others = self.seen.iter_enumerated();
        let mut there = others.filter(|(_, other)| other.owner == Some(node));
        there.any(|(other, _)| self.constraints.keep_apart(group, other))
    }

    /// Whether the group may only run while another one does that is on the viewing node.
    pub(crate) fn comes_after_here(&self, group: GroupIndex) -> bool {
        self.constraints.orders.iter().any(|order| {
            let first = self.seen.get(order.first);
            order.mandatory
                && order.then == group
                && first.is_some_and(|first| first.owner == Some(self.local))
        })
    }

    /// The group with all that must follow it. `None` unless all of them are on the viewing node
    /// and may leave, and so may all groups that stop there before them.
    pub(crate) fn train(
        &self,
        group: GroupIndex,
        may_leave: impl Fn(GroupIndex) -> bool,
    ) -> Option<Vec<GroupIndex>> {
        let is_here = |group: GroupIndex| self.seen[group].owner == Some(self.local);
        let mut train = self.constraints.train(group);
        // A follower that runs nowhere does not run on the target either.
        train.retain(|member| {
            self.seen
                .get(*member)
                .is_some_and(|seen| seen.owner.is_some())
        });
        let leaves = |member: &GroupIndex| {
            let mut leaders = self.constraints.leaders(*member);
            is_here(*member)
                && may_leave(*member)
                && leaders.all(|leader| *member != group && train.contains(&leader))
        };
        let stops = |dependent: &GroupIndex| *dependent != group && may_leave(*dependent);
        let dependents = self.constraints.dependents_here(group, self.seen);
        let able = train.iter().all(leaves) && dependents.iter().all(stops);
        (train.first() == Some(&group) && able).then_some(train)
    }

    pub(super) fn burden(&self, group: GroupIndex) -> &[u32] {
        self.burdens.get(group).map_or(&[], Vec::as_slice)
    }

    /// The reason why `node` cannot have the group with this plan and index, if there is one.
    pub fn ineligibility(
        &self,
        plan: &GroupPlan,
        group: GroupIndex,
        node: NodeId,
        reported: Reported,
    ) -> Option<Ineligibility> {
        let known = self
            .node(node)
            .map_or(Some(Ineligibility::Down), |view| view.ineligibility);
        match known {
            None | Some(Ineligibility::Unknown) => self
                .group_ineligibility(plan, group, node, reported)
                .or(known),
            Some(_) if !plan.ranked.contains(&node) => Some(Ineligibility::Unlisted),
            known => known,
        }
    }

    /// The reason why `node` cannot have this group, although it may be fit for others.
    fn group_ineligibility(
        &self,
        plan: &GroupPlan,
        group: GroupIndex,
        node: NodeId,
        reported: Reported,
    ) -> Option<Ineligibility> {
        let Reported {
            current,
            report,
            cut_off,
            ..
        } = reported;
        if !plan.ranked.contains(&node) {
            Some(Ineligibility::Unlisted)
        } else if plan.is_banned(node) {
            Some(Ineligibility::Banned)
        } else if report.barred {
            Some(Ineligibility::Barred)
        } else if current && (report.settling || report.unknown) {
            // A node without the group in its configuration can take it no more than a node that
            // has not determined yet which of its resources run there.
            Some(Ineligibility::Settling)
        } else if cut_off {
            Some(Ineligibility::CutOff)
        } else if !self.constraints.allow(group, node, self.local, self.seen) {
            Some(Ineligibility::Constrained)
        } else {
            self.lacks(group, node).map(Ineligibility::NoRoom)
        }
    }

    /// The rest on `node` after the group has come with all that follow it, or the present rest if
    /// the group is there.
    pub(super) fn left(&self, group: GroupIndex, node: NodeId) -> impl Iterator<Item = Left> {
        let burden = match self.is_there(group, node) {
            true => &[],
            false => self.burden(group),
        };
        let view = self.node(node);
        // The room that is kept for the group itself and its followers is counted already.
        let train = match view {
            Some(view) if !view.kept.is_empty() && !burden.is_empty() => {
                self.constraints.train(group)
            }
            _ => Vec::new(),
        };
        view.into_iter().flat_map(move |view| {
            let train = train.clone();
            view.left(burden).map(move |kind| {
                let kept = view.kept.iter();
                let own = kept.filter(|(group, of, _)| *of == kind.kind && train.contains(group));
                let own: i64 = own.map(|(.., much)| i64::from(*much)).sum();
                let left = kind.left + own;
                Left { left, ..kind }
            })
        })
    }

    /// The kind of which `node` has too little for the group, if the policy checks the room.
    pub fn lacks(&self, group: GroupIndex, node: NodeId) -> Option<KindIndex> {
        if !self.policy.strategy.checks_room() || self.is_there(group, node) {
            return None;
        }
        let mut left = self.left(group, node);
        left.find(|kind| kind.needed > 0 && kind.left + self.given_way(group, node, kind.kind) < 0)
            .map(|kind| kind.kind)
    }

    /// The demand of this kind of the groups on `node` that give way once the group comes there,
    /// each with all that follow it. Each counts once, although several rules may name it.
    fn given_way(&self, group: GroupIndex, node: NodeId, kind: KindIndex) -> i64 {
        let gives_way = |other: &GroupIndex| {
            self.is_there(*other, node)
                && self
                    .constraints
                    .displaced(group)
                    .any(|given| given == *other)
        };
        let follows = |other: GroupIndex, leader: GroupIndex| {
            let train = |group: GroupIndex| self.constraints.train(group);
            let goes_round = || train(other).contains(&leader) && other < leader;
            leader != other && train(leader).contains(&other) && !goes_round()
        };
        let all = self.seen.indices();
        let leads = |other: &GroupIndex| {
            let mut giving = all.clone().filter(gives_way);
            !giving.any(|leader| follows(*other, leader))
        };
        let giving = all.clone().filter(gives_way).filter(leads);
        let needs = giving.filter_map(|other| self.burden(other).get(kind.0));
        needs.map(|need| i64::from(*need)).sum()
    }
}

/// Keeps room for `waiting` groups, beside the groups that they must follow, if they run nowhere
/// yet.
pub(crate) fn keep_room<'a>(
    nodes: &mut [NodeView],
    waiting: impl Iterator<Item = (GroupIndex, &'a GroupPlan)>,
    constraints: &Constraints,
    seen: &ByGroup<GroupSnapshot>,
    local: NodeId,
) {
    let place = |group: GroupIndex| seen.get(group)?.place(local);
    for (group, plan) in waiting.filter(|(group, _)| place(*group).is_none()) {
        let leads = |follower: &GroupIndex| constraints.leaders(*follower).next();
        // Followers of followers go there too. Circular constraints are cut off.
        let mut leaders = std::iter::successors(leads(&group), leads).take(seen.len());
        let Some(node) = leaders.find_map(place) else {
            continue;
        };
        let view = nodes.iter_mut().find(|view| view.node == node);
        if let Some(view) = view.filter(|_| plan.ranked.contains(&node) && !plan.is_banned(node)) {
            view.keeps(group, &plan.demand);
        }
    }
}

impl GroupSnapshot {
    /// The node of the group, or the node to which it is about to come. A group on its way counts
    /// for the viewing node.
    pub(crate) fn place(&self, local: NodeId) -> Option<NodeId> {
        self.owner.or(self.here.then_some(local))
    }
}
