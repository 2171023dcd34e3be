//! The time and the choice of a move to a node with room. Each node decides about its own groups,
//! and hands over at most one at a time.
//!
//! Moves should be rare and sure rather than soon. No group moves unless all members reply and no
//! other group has moved for a while. A moved group stays on its new node, so that no group moves
//! in circles.

use std::time::Duration;

use heartbeat_common::{time::Boottime, wire::NodeId};

use super::{GroupSnapshot, NodeView, Rebalance, Running, View, rank::LOAD_STEP};
use crate::{group::GroupPlan, index::GroupIndex, index_vec::ByGroup};

/// A group to hand over, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub group: GroupIndex,
    pub to: NodeId,
}

/// The certainty of this node's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calm {
    /// A node is missing, or this node may be wrong about that: the time so far is forgotten.
    No,
    /// A probe is overdue: no group moves for now.
    Hardly,
    Yes,
}

/// The groups among which a move is searched, by their indices.
pub trait Candidates {
    fn plan(&self, group: GroupIndex) -> &GroupPlan;

    /// Whether a group that is here may be moved at all, alone or as a follower.
    fn is_movable(&self, group: GroupIndex) -> bool;

    /// Whether a node has been able to take a group for a while, if all groups that it must follow
    /// were there.
    fn is_open(&self, group: GroupIndex, node: NodeId) -> bool;
}

/// A node's view of the cluster in the search for a move.
#[expect(
    missing_debug_implementations,
    reason = "borrows what it is given for one call"
)]
pub struct RebalanceInput<'a, C> {
    /// [`View::local`] is the node whose groups may move.
    pub view: View<'a>,
    pub calm: Calm,
    pub groups: &'a C,
}

/// The memory of one node between two checks.
#[derive(Clone, Debug, Default)]
pub struct Rebalancer {
    /// By group, as last seen.
    owners: Vec<Option<NodeId>>,
    /// The time since which each group has been seen not to run on its owner.
    idle_since: Vec<Option<Boottime>>,
    /// The last change of any owner, or the last time that a group was on its way.
    changed_at: Boottime,
    /// The time since which this node has had too much load, without interruption.
    high_since: Option<Boottime>,
}

impl Rebalancer {
    /// Forgets all that was seen: the next check begins anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Checks the cluster at `now`, a few times a second. Returns the move that this node should
    /// make, if there is one.
    pub fn step<C: Candidates>(
        &mut self,
        now: Boottime,
        rules: &Rebalance,
        input: &RebalanceInput<'_, C>,
    ) -> Option<Move> {
        let owners = input.view.seen.iter().map(|seen| seen.owner);
        let mut changed = !owners.clone().eq(self.owners.iter().copied());
        if changed {
            self.owners.clear();
            self.owners.extend(owners);
        }
        // A failed group may never run again, and must not block all moves for ever.
        changed |= self.is_any_idle(now, input.view.seen, rules.hold + rules.cooldown);
        if changed {
            self.changed_at = now;
            self.high_since = None;
        }
        if input.calm == Calm::No || !input.has_most(rules.high) {
            self.high_since = None;
            return None;
        }
        let since = *self.high_since.get_or_insert(now);
        let held = now.since(since) >= rules.hold && now.since(self.changed_at) >= rules.cooldown;
        if !held || input.calm != Calm::Yes {
            return None;
        }
        input.best_move(rules)
    }

    /// Whether any group has an owner and does not run, for less than `patience`. Such a group
    /// stops or starts, and a group that its owner is about to release still counts as there.
    fn is_any_idle(
        &mut self,
        now: Boottime,
        seen: &ByGroup<GroupSnapshot>,
        patience: Duration,
    ) -> bool {
        self.idle_since.resize(seen.len(), None);
        let mut any = false;
        for (since, seen) in self.idle_since.iter_mut().zip(seen) {
            if seen.owner.is_some() && seen.running == Running::No {
                any |= now.since(*since.get_or_insert(now)) < patience;
            } else {
                *since = None;
            }
        }
        any
    }
}

impl<C: Candidates> RebalanceInput<'_, C> {
    /// Whether this node has too much load, and more than all others that serve.
    fn has_most(&self, high: u16) -> bool {
        let View {
            nodes, seen, local, ..
        } = self.view;
        let Some(own) = self.view.node(local) else {
            return false;
        };
        // Of nodes with about the same load only one must act: views may differ by a little.
        let rank = |load: u16, node: NodeId| (load / LOAD_STEP, std::cmp::Reverse(node));
        let serves = |node: NodeId| self.view.seen.iter().any(|seen| seen.owner == Some(node));
        let most = nodes
            .iter()
            .filter(|other| other.ineligibility.is_none() || serves(other.node))
            .all(|other| rank(other.load, other.node) <= rank(own.load, local));
        own.load >= high && most && seen.iter().any(|seen| seen.owner == Some(local))
    }

    /// The move that leaves the fuller of the two nodes the least load, if that is less than now.
    fn best_move(&self, rules: &Rebalance) -> Option<Move> {
        let local = self.view.local;
        let has_room = |node: &NodeView| node.node != local && node.load <= rules.low;
        // This check comes first: the search may repeat for long, and the rest allocates.
        if !self.view.nodes.iter().any(has_room) {
            return None;
        }
        let load = u64::from(self.view.node(local)?.load);
        let here = |group: GroupIndex| self.view.seen[group].owner == Some(local);
        let mine = || self.view.seen.indices().filter(|group| here(*group));
        let weight = |group: GroupIndex| u64::from(self.groups.plan(group).weight());
        let all: u64 = mine().map(weight).sum();
        let middle = u64::from(rules.low + rules.high) / 2;
        let mut best = None;
        for group in mine() {
            let movable = |member| self.groups.is_movable(member);
            let Some(train) = self.view.train(group, movable) else {
                continue;
            };
            let share = load * train.iter().copied().map(weight).sum::<u64>() / all.max(1);
            let targets = self
                .view
                .nodes
                .iter()
                .filter(|target| has_room(target) && self.may_go(group, &train, target.node));
            for target in targets {
                let then = u64::from(target.load) + share;
                let fuller = then.max(load - share);
                let found = (fuller, self.groups.plan(group).id, target.node);
                let improves = fuller < load && then <= middle;
                if improves && best.is_none_or(|(best, _)| found < best) {
                    best = Some((found, group));
                }
            }
        }
        best.map(|((_, _, to), group)| Move { group, to })
    }

    /// Whether the whole train may be on `to`, and its head is no worse off there.
    fn may_go(&self, group: GroupIndex, train: &[GroupIndex], to: NodeId) -> bool {
        let Self { view, .. } = self;
        let head = self.groups.plan(group);
        let may = |member: &GroupIndex| {
            self.groups.is_open(*member, to) && !view.is_kept_away(*member, to)
        };
        train.iter().all(may)
            && view.points(head, group, to) >= view.points(head, group, view.local)
            && view.lacks(group, to).is_none()
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_common::wire::GroupId;

    use super::*;
    use crate::placement::{Constraints, Layout, Policy, Score};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    const RULES: Rebalance = Rebalance {
        high: 800,
        low: 400,
        hold: Duration::from_secs(10),
        cooldown: Duration::from_secs(30),
    };

    struct Case {
        layout: Layout,
        loads: [u16; 3],
        owners: ByGroup<NodeId>,
        /// A group that does not run on its owner.
        idle: Option<GroupIndex>,
        calm: Calm,
    }

    impl Candidates for Case {
        fn plan(&self, group: GroupIndex) -> &GroupPlan {
            &self.layout.groups[group]
        }

        fn is_movable(&self, _: GroupIndex) -> bool {
            true
        }

        fn is_open(&self, _: GroupIndex, _: NodeId) -> bool {
            true
        }
    }

    impl Case {
        /// Groups of node A with these weights.
        fn new(loads: [u16; 3], weights: &[u32]) -> Self {
            let plan = |(index, weight): (usize, &u32)| GroupPlan {
                id: GroupId(index as u16 + 1),
                ranked: vec![A, B, C],
                demand: vec![0, *weight],
                ..GroupPlan::default()
            };
            Self {
                layout: Layout {
                    groups: weights.iter().enumerate().map(plan).collect(),
                    constraints: Constraints::default(),
                    policy: Policy::default(),
                    capacities: Vec::new(),
                },
                loads,
                owners: vec![A; weights.len()].into(),
                idle: None,
                calm: Calm::Yes,
            }
        }

        fn step(&self, rebalancer: &mut Rebalancer, at: u64) -> Option<(GroupIndex, NodeId)> {
            let view = |(node, load): (NodeId, u16)| NodeView {
                load,
                ..NodeView::new(node, Vec::new())
            };
            let nodes: Vec<_> = [A, B, C].into_iter().zip(self.loads).map(view).collect();
            let seen = |(group, owner): (GroupIndex, &NodeId)| GroupSnapshot {
                owner: Some(*owner),
                running: match self.idle == Some(group) {
                    true => Running::No,
                    false => Running::Yes,
                },
                ..GroupSnapshot::default()
            };
            let seen: ByGroup<_> = self.owners.iter_enumerated().map(seen).collect();
            let input = RebalanceInput {
                view: View {
                    policy: &self.layout.policy,
                    constraints: &self.layout.constraints,
                    nodes: &nodes,
                    seen: &seen,
                    burdens: &ByGroup::default(),
                    local: A,
                },
                calm: self.calm,
                groups: self,
            };
            let now = Boottime::from_nanos(at * 1_000_000_000);
            let found = rebalancer.step(now, &RULES, &input);
            found.map(|found| (found.group, found.to))
        }

        /// The move after all has been the same for long enough.
        fn choice(&self) -> Option<(GroupIndex, NodeId)> {
            let mut rebalancer = Rebalancer::default();
            self.step(&mut rebalancer, 1);
            self.step(&mut rebalancer, 1_000)
        }
    }

    #[test]
    fn move_that_evens_out_the_most_is_made() {
        // Shares of 100, 400, 400: 900 and 100 become 500 and 500.
        assert_eq!(
            Case::new([900, 500, 100], &[1, 4, 4]).choice(),
            Some((GroupIndex(1), C))
        );
        assert_eq!(
            Case::new([900, 100, 100], &[1, 4, 4]).choice(),
            Some((GroupIndex(1), B))
        );
        // A further 400 would be too much for C.
        assert_eq!(
            Case::new([900, 500, 300], &[1, 4, 4]).choice(),
            Some((GroupIndex(0), C))
        );
        assert_eq!(Case::new([900, 500, 100], &[1]).choice(), None);
        assert_eq!(Case::new([900, 401, 401], &[1, 4, 4]).choice(), None);
        assert_eq!(Case::new([799, 0, 0], &[1, 4, 4]).choice(), None);
        assert_eq!(Case::new([810, 950, 0], &[1, 4, 4]).choice(), None);
        // About the same load: the lower id acts.
        assert_eq!(
            Case::new([810, 890, 0], &[1, 4, 4]).choice(),
            Some((GroupIndex(1), C))
        );
    }

    #[test]
    fn worse_place_is_no_place() {
        let mut case = Case::new([900, 500, 100], &[1, 4, 4]);
        case.layout.groups[GroupIndex(1)].locations = vec![(A, Score::new(1))];
        assert_eq!(case.choice(), Some((GroupIndex(2), C)));
        case.layout.groups[GroupIndex(2)].locations = vec![(C, Score::new(-1))];
        assert_eq!(case.choice(), Some((GroupIndex(0), C)));
    }

    #[test]
    fn nothing_moves_while_another_group_is_on_its_way() {
        let mut case = Case::new([900, 500, 100], &[1, 4, 4]);
        let rebalancer = &mut Rebalancer::default();
        assert_eq!(case.step(rebalancer, 1), None);
        // The group stops on another node, which keeps its lease until then.
        case.owners[GroupIndex(0)] = B;
        assert_eq!(case.step(rebalancer, 2), None);
        case.idle = Some(GroupIndex(0));
        assert_eq!(case.step(rebalancer, 35), None);
        assert_eq!(case.step(rebalancer, 50), None);
        case.idle = None;
        assert_eq!(case.step(rebalancer, 51), None);
        assert_eq!(case.step(rebalancer, 79), None);
        assert!(case.step(&mut rebalancer.clone(), 80).is_some());
        // A group that never runs again does not block moves for ever.
        case.idle = Some(GroupIndex(0));
        for at in 80..149 {
            assert_eq!(case.step(rebalancer, at), None);
        }
        assert!(case.step(rebalancer, 149).is_some());
    }

    #[test]
    fn rebalancing_waits_for_a_lasting_cause_and_a_quiet_time() {
        let mut case = Case::new([900, 500, 100], &[1, 4, 4]);
        let rebalancer = &mut Rebalancer::default();
        assert_eq!(case.step(rebalancer, 1), None);
        // The node had too much for long enough, but too soon after the start.
        assert_eq!(case.step(rebalancer, 30), None);
        let undecided = rebalancer.clone();
        assert_eq!(
            case.step(&mut undecided.clone(), 31),
            Some((GroupIndex(1), C))
        );
        // A moment of less load, of doubt, or of a change on some node.
        case.loads[0] = 700;
        assert_eq!(case.step(rebalancer, 31), None);
        case.loads[0] = 900;
        assert_eq!(case.step(rebalancer, 32), None);
        assert_eq!(case.step(rebalancer, 41), None);
        case.calm = Calm::Hardly;
        assert_eq!(case.step(rebalancer, 42), None);
        case.calm = Calm::Yes;
        assert_eq!(
            case.step(&mut rebalancer.clone(), 42),
            Some((GroupIndex(1), C))
        );
        case.calm = Calm::No;
        assert_eq!(case.step(rebalancer, 43), None);
        case.calm = Calm::Yes;
        assert_eq!(case.step(rebalancer, 44), None);
        case.owners[GroupIndex(0)] = B;
        assert_eq!(case.step(rebalancer, 60), None);
        assert_eq!(case.step(rebalancer, 89), None);
        assert!(case.step(rebalancer, 90).is_some());
    }
}
