//! The placement of groups after all has settled, for `heartbeat simulate`.
//!
//! The prediction uses the same ranks and constraints as the nodes, without the view of a
//! particular node.

use heartbeat_common::wire::NodeId;

use super::{GroupSnapshot, Layout, NodeView, Ranked, Running, View, keep_room};
use crate::{
    eligibility,
    index::GroupIndex,
    index_vec::ByGroup,
    report::{GroupReport, Reported},
};

/// No particular node: no node has this id.
const NOWHERE: NodeId = NodeId(0);

/// A cluster, real or hypothetical.
#[expect(
    missing_debug_implementations,
    reason = "borrows what it is given for one call"
)]
pub struct Situation<'a> {
    pub layout: &'a Layout,
    /// The state of each node, as [`NodeView::new`] with the layout's capacity and with its known
    /// data. A missing node is down. The nodes' groups follow from the owners.
    pub nodes: &'a [NodeView],
    /// Whether a group (by its index) cannot run on a node, because it failed there.
    pub barred: &'a dyn Fn(GroupIndex, NodeId) -> bool,
    /// Whether a group (by its index) would be cut off from its network on a node, and not on
    /// another.
    pub cut_off: &'a dyn Fn(GroupIndex, NodeId) -> bool,
    /// Whether an operator stopped a group.
    pub stopped: &'a dyn Fn(GroupIndex) -> bool,
    /// Whether a group may move to a better node. A group that an operator placed may not.
    pub movable: &'a dyn Fn(GroupIndex) -> bool,
}

impl Situation<'_> {
    /// The final node of each group, if the groups begin on `owners`.
    pub fn settle(&self, owners: &ByGroup<Option<NodeId>>) -> ByGroup<Option<NodeId>> {
        let burdens = self.layout.burdens();
        let (from, mut owners) = (owners, owners.clone());
        // Each round places at least one group for good. Circular constraints are cut off.
        for _ in 0..=self.layout.groups.len() * 2 {
            let before = owners.clone();
            for group in self.layout.groups.indices() {
                owners[group] = self.place(group, from, &owners, &burdens);
            }
            if owners == before {
                break;
            }
        }
        owners
    }

    /// The ranking of the nodes for one group while all groups are on `owners`, with reasons.
    pub fn rank(&self, group: GroupIndex, owners: &ByGroup<Option<NodeId>>) -> Vec<Ranked> {
        let burdens = self.layout.burdens();
        let plan = &self.layout.groups[group];
        self.with_view(owners, owners, &burdens, |view| {
            view.rank(plan, group, |node| self.reported(group, node))
        })
    }

    /// The next node of one group while all others stay.
    fn place(
        &self,
        group: GroupIndex,
        from: &ByGroup<Option<NodeId>>,
        owners: &ByGroup<Option<NodeId>>,
        burdens: &ByGroup<Vec<u32>>,
    ) -> Option<NodeId> {
        let plan = &self.layout.groups[group];
        self.with_view(from, owners, burdens, |view| {
            let View {
                constraints, seen, ..
            } = *view;
            let key = |node| view.key(plan, group, node);
            let may = |node: &NodeId| {
                view.ineligibility(plan, group, *node, self.reported(group, *node))
                    .is_none()
            };
            if (self.stopped)(group)
                || constraints.must_stop(group, seen)
                || !constraints.may_start(group, seen)
            {
                return None;
            }
            let now = owners[group].filter(may);
            // A group that already has a node displaces no other.
            let free = |node: &NodeId| {
                now.is_none() || !constraints.displaces(group, *node, NOWHERE, seen)
            };
            let fit = plan.ranked.iter().copied().filter(may).filter(free);
            match now {
                Some(now) if (self.movable)(group) => {
                    let better = |node: &NodeId| view.is_better(key(*node), key(now).staying(plan));
                    eligibility::first(fit.filter(better), key).or(Some(now))
                }
                Some(now) => Some(now),
                None => eligibility::first(fit, key),
            }
        })
    }

    fn reported(&self, group: GroupIndex, node: NodeId) -> Reported {
        Reported {
            current: true,
            report: GroupReport {
                barred: (self.barred)(group, node),
                ..GroupReport::default()
            },
            cut_off: (self.cut_off)(group, node),
            ..Reported::default()
        }
    }

    /// Calls `read` with the view for `owners`. The load of a node does not include a group that
    /// was elsewhere at the beginning (`from`).
    fn with_view<R>(
        &self,
        from: &ByGroup<Option<NodeId>>,
        owners: &ByGroup<Option<NodeId>>,
        burdens: &ByGroup<Vec<u32>>,
        read: impl FnOnce(&View<'_>) -> R,
    ) -> R {
        let mut nodes = self.nodes.to_vec();
        nodes.sort_by_key(|view| view.node);
        nodes.iter_mut().for_each(NodeView::clear);
        for ((owner, from), plan) in owners.iter().zip(from).zip(&self.layout.groups) {
            let view = nodes.iter_mut().find(|view| Some(view.node) == *owner);
            match view {
                Some(view) if owner == from => view.has(&plan.demand),
                Some(view) => view.awaits(&plan.demand),
                None => {}
            }
        }
        let seen: ByGroup<GroupSnapshot> = owners.iter().map(|owner| snapshot(*owner)).collect();
        let Layout {
            groups,
            constraints,
            policy,
            ..
        } = self.layout;
        if policy.strategy.checks_room() {
            let waiting = groups.iter_enumerated();
            let waiting = waiting.filter(|(group, _)| !(self.stopped)(*group));
            keep_room(&mut nodes, waiting, constraints, &seen, NOWHERE);
        }
        read(&View {
            policy: &self.layout.policy,
            constraints: &self.layout.constraints,
            nodes: &nodes,
            seen: &seen,
            burdens,
            local: NOWHERE,
        })
    }
}

fn snapshot(owner: Option<NodeId>) -> GroupSnapshot {
    GroupSnapshot {
        owner,
        running: match owner {
            Some(_) => Running::Yes,
            None => Running::No,
        },
        ..GroupSnapshot::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        group::GroupPlan,
        placement::{Colocation, Constraints, Ineligibility, Order, Policy, Score, Strategy},
    };

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn plan(id: u16) -> GroupPlan {
        GroupPlan {
            id: heartbeat_common::wire::GroupId(id),
            ranked: vec![A, B, C],
            ..GroupPlan::default()
        }
    }

    fn settle(
        plans: &[GroupPlan],
        constraints: &Constraints,
        dead: &[NodeId],
        owners: &[Option<NodeId>],
    ) -> Vec<Option<NodeId>> {
        let layout = Layout {
            groups: plans.to_vec().into(),
            constraints: constraints.clone(),
            ..Layout::default()
        };
        settle_all(&layout, dead, &[], owners)
    }

    /// `loads` are the loads of the nodes A, B and C.
    fn settle_all(
        layout: &Layout,
        dead: &[NodeId],
        loads: &[u16],
        owners: &[Option<NodeId>],
    ) -> Vec<Option<NodeId>> {
        let view = |(index, node)| NodeView {
            load: loads.get(index).copied().unwrap_or(0),
            ineligibility: dead.contains(&node).then_some(Ineligibility::Down),
            ..NodeView::new(node, layout.capacity(node))
        };
        let nodes: Vec<_> = [A, B, C].into_iter().enumerate().map(view).collect();
        Situation {
            layout,
            nodes: &nodes,
            barred: &|_, _| false,
            cut_off: &|_, _| false,
            stopped: &|_| false,
            movable: &|_| true,
        }
        .settle(&owners.to_vec().into())
        .into_vec()
    }

    fn by(strategy: Strategy, groups: Vec<GroupPlan>) -> Layout {
        Layout {
            groups: groups.into(),
            policy: Policy {
                strategy,
                ..Policy::default()
            },
            ..Layout::default()
        }
    }

    #[test]
    fn each_strategy_places_by_what_it_counts() {
        let plans = || (1..=4).map(plan).collect::<Vec<_>>();
        let home = [Some(A), Some(A), Some(A), Some(C)];
        let spread = by(Strategy::Spread, plans());
        assert_eq!(
            settle_all(&spread, &[A], &[], &home),
            [Some(B), Some(B), Some(C), Some(C)]
        );
        // A group with a node keeps it: only points bring a group back.
        assert_eq!(settle_all(&spread, &[], &[], &home), home);
        let least = by(Strategy::LeastLoaded, plans());
        let loads = [0, 510, 90];
        assert_eq!(settle_all(&least, &[A], &loads, &home), [Some(C); 4]);
        // Groups that were placed before count.
        let loads = [0, 210, 90];
        assert_eq!(
            settle_all(&least, &[A], &loads, &home),
            [Some(C), Some(C), Some(B), Some(C)]
        );
        let mut room = by(Strategy::Utilization, plans());
        for group in &mut room.groups {
            group.demand = vec![2];
        }
        room.capacities = vec![(B, vec![Some(3)]), (C, vec![Some(4)])];
        assert_eq!(
            settle_all(&room, &[A], &[], &home),
            [Some(B), Some(C), None, Some(C)]
        );
    }

    #[test]
    fn room_is_kept_for_who_must_follow() {
        let mut room = by(Strategy::Utilization, (1..=3).map(plan).collect());
        for group in &mut room.groups {
            group.demand = vec![2];
        }
        room.capacities = vec![(A, vec![Some(4)]), (B, vec![Some(1)]), (C, vec![Some(1)])];
        room.constraints.colocations = vec![Colocation {
            group: GroupIndex(2),
            with: GroupIndex(0),
            score: Score::MUST,
        }];
        let owners = settle_all(&room, &[], &[], &[None; 3]);
        assert_eq!(owners, [Some(A), None, Some(A)]);
    }

    #[test]
    fn groups_of_a_dead_node_go_to_the_next_best() {
        let mut scored = plan(2);
        scored.locations = vec![(B, Score::NEVER), (C, Score::new(5))];
        let plans = [plan(1), scored];
        let owners = [Some(A), Some(A)];
        let none = Constraints::default();
        assert_eq!(settle(&plans, &none, &[A], &owners), [Some(B), Some(C)]);
        assert_eq!(settle(&plans, &none, &[A, B, C], &owners), [None, None]);
        // All nodes are up, and the second group has its points on C.
        assert_eq!(settle(&plans, &none, &[], &owners), [Some(A), Some(C)]);
    }

    #[test]
    fn group_with_stickiness_stays() {
        let sticky = GroupPlan {
            stickiness: Score::new(10),
            locations: vec![(A, Score::new(10))],
            ..plan(1)
        };
        let none = Constraints::default();
        let plans = [sticky];
        assert_eq!(settle(&plans, &none, &[], &[Some(B)]), [Some(A)]);
        let [sticky] = plans;
        let stickier = GroupPlan {
            stickiness: Score::new(11),
            ..sticky
        };
        assert_eq!(settle(&[stickier], &none, &[], &[Some(B)]), [Some(B)]);
    }

    #[test]
    fn followers_follow_and_those_that_come_after_wait() {
        let constraints = Constraints {
            colocations: vec![Colocation {
                group: GroupIndex(0),
                with: GroupIndex(1),
                score: Score::MUST,
            }],
            orders: vec![Order {
                first: GroupIndex(1),
                then: GroupIndex(0),
                mandatory: true,
            }],
        };
        let plans = [plan(1), plan(2)];
        let owners = [Some(A), Some(A)];
        assert_eq!(
            settle(&plans, &constraints, &[A], &owners),
            [Some(B), Some(B)]
        );
        let nowhere = GroupPlan {
            locations: [A, B, C].map(|node| (node, Score::NEVER)).to_vec(),
            ..plan(2)
        };
        let plans = [plan(1), nowhere];
        assert_eq!(settle(&plans, &constraints, &[], &owners), [None, None]);
    }

    #[test]
    fn contradictions_end() {
        let apart = |group, with| Colocation {
            group,
            with,
            score: Score::NEVER,
        };
        let constraints = Constraints {
            colocations: vec![
                apart(GroupIndex(0), GroupIndex(1)),
                apart(GroupIndex(1), GroupIndex(0)),
            ],
            orders: Vec::new(),
        };
        let owners = settle(&[plan(1), plan(2)], &constraints, &[B, C], &[None, None]);
        assert_eq!(owners, [Some(A), None]);
    }
}
