//! The properties of a ranking in any cluster.

use heartbeat_common::wire::{GroupId, Health, NodeId};
use heartbeat_core::{
    group::GroupPlan,
    index::GroupIndex,
    index_vec::ByGroup,
    placement::{
        Colocation, Constraints, Ineligibility, Layout, NodeView, Policy, Ranked, Score, Strategy,
        Why, predict::Situation,
    },
};
use proptest::{prelude::*, sample::Index};

/// Some nodes, groups that may be on some of them, and the nodes of these groups.
#[derive(Clone, Debug)]
struct Case {
    layout: Layout,
    nodes: Vec<NodeView>,
    owners: ByGroup<Option<NodeId>>,
    barred: Vec<(GroupIndex, NodeId)>,
}

impl Case {
    fn rank(&self, group: GroupIndex) -> Vec<Ranked> {
        let situation = Situation {
            layout: &self.layout,
            nodes: &self.nodes,
            barred: &|group, node| self.barred.contains(&(group, node)),
            cut_off: &|_, _| false,
            stopped: &|_| false,
            movable: &|_| true,
        };
        situation.rank(group, &self.owners)
    }

    fn demand(&self, group: GroupIndex, kind: usize) -> i64 {
        let demand = self.layout.groups[group].demand.get(kind);
        demand.copied().unwrap_or(0).into()
    }

    /// The demand of the groups on `node`, without `coming`.
    fn used(&self, node: NodeId, kind: usize, coming: GroupIndex) -> i64 {
        let all = self.owners.indices();
        let there = all.filter(|group| *group != coming && self.owners[*group] == Some(node));
        there.map(|group| self.demand(group, kind)).sum()
    }

    /// The room on `node` after `coming` comes there. Groups there that must not be with it give
    /// way, with all that follow them.
    fn given_way(&self, node: NodeId, kind: usize, coming: GroupIndex) -> i64 {
        let Constraints { colocations, .. } = &self.layout.constraints;
        let gives_way = colocations.iter().filter(|rule| {
            rule.score == Score::NEVER
                && rule.with == coming
                && self.owners[rule.group] == Some(node)
        });
        let trains = gives_way.flat_map(|rule| self.layout.constraints.train(rule.group));
        let all: std::collections::BTreeSet<GroupIndex> = trains.collect();
        all.iter().map(|group| self.demand(*group, kind)).sum()
    }
}

fn score() -> impl Strategy_<Value = Score> {
    prop_oneof![
        6 => (-3..4).prop_map(|points| Score::new(points * 50)),
        1 => Just(Score::NEVER),
        1 => Just(Score::MUST),
    ]
}

use proptest::strategy::Strategy as Strategy_;

fn node_view(index: usize) -> impl Strategy_<Value = NodeView> {
    let ineligibility = prop_oneof![
        8 => Just(None),
        1 => Just(Some(Ineligibility::Down)),
        1 => Just(Some(Ineligibility::Unhealthy)),
        1 => Just(Some(Ineligibility::Unknown)),
    ];
    (ineligibility, 0..8_u16, 0..1_001_u16).prop_map(move |(ineligibility, health, load)| {
        NodeView {
            ineligibility,
            health: Health(health),
            load,
            ..NodeView::new(NodeId(index as u16 + 1), Vec::new())
        }
    })
}

fn group(index: usize, nodes: u16) -> impl Strategy_<Value = GroupPlan> {
    let all: Vec<u16> = (1..=nodes).collect();
    let ranked = (Just(all).prop_shuffle(), 1..=usize::from(nodes));
    let locations = prop::collection::vec((1..=nodes, score()), 0..4);
    let demand = prop::collection::vec(0..4_u32, 0..3);
    (ranked, locations, demand, 0..3).prop_map(
        move |((ranked, listed), locations, demand, sticky)| GroupPlan {
            id: GroupId(index as u16 + 1),
            ranked: ranked[..listed].iter().map(|node| NodeId(*node)).collect(),
            locations: locations
                .into_iter()
                .map(|(node, score)| (NodeId(node), score))
                .collect(),
            stickiness: Score::new(sticky * 60),
            demand,
            ..GroupPlan::default()
        },
    )
}

fn case() -> impl Strategy_<Value = Case> {
    (1..7_u16, 1..6_usize).prop_flat_map(|(nodes, groups)| {
        let views: Vec<_> = (0..usize::from(nodes)).map(node_view).collect();
        let plans: Vec<_> = (0..groups).map(|index| group(index, nodes)).collect();
        let owner = prop::option::of((1..=nodes).prop_map(NodeId));
        let any_group = || (0..groups).prop_map(GroupIndex);
        let colocation = (any_group(), any_group(), score());
        let capacity = prop::collection::vec(prop::option::of(0..10_u32), 0..3);
        (
            views,
            plans,
            prop::collection::vec(owner, groups),
            prop::collection::vec(colocation, 0..4),
            prop::collection::vec(capacity, usize::from(nodes)),
            prop::sample::select(Strategy::ALL.to_vec()),
            prop::collection::vec((any_group(), (1..=nodes).prop_map(NodeId)), 0..2),
        )
            .prop_map(
                |(mut nodes, groups, owners, colocations, capacities, strategy, barred)| {
                    let colocations = colocations.into_iter().filter(|(a, b, _)| a != b);
                    for (view, capacity) in nodes.iter_mut().zip(&capacities) {
                        view.capacity.clone_from(capacity);
                        view.used = vec![0; capacity.len()];
                    }
                    let ids = nodes.iter().map(|view| view.node);
                    let layout = Layout {
                        capacities: ids.zip(capacities).collect(),
                        groups: groups.into(),
                        constraints: Constraints {
                            colocations: colocations
                                .map(|(group, with, score)| Colocation { group, with, score })
                                .collect(),
                            orders: Vec::new(),
                        },
                        policy: Policy {
                            strategy,
                            ..Policy::default()
                        },
                    };
                    Case {
                        layout,
                        nodes,
                        owners: owners.into(),
                        barred,
                    }
                },
            )
    })
}

/// Two groups keep apart from a third, and one of them follows the other: their room is not counted
/// twice.
#[test]
fn groups_that_give_way_free_their_room_once() {
    let colocation = |group, with, score| Colocation {
        group: GroupIndex(group),
        with: GroupIndex(with),
        score,
    };
    let group = |index: u16, demand: u32| GroupPlan {
        id: GroupId(index),
        ranked: vec![NodeId(1)],
        demand: vec![demand],
        ..GroupPlan::default()
    };
    for (demand, fits) in [(3, true), (4, false), (5, false)] {
        let case = Case {
            layout: Layout {
                groups: [group(1, 1), group(2, 2), group(3, 3), group(4, demand)].into(),
                constraints: Constraints {
                    colocations: vec![
                        colocation(0, 3, Score::NEVER),
                        colocation(0, 3, Score::NEVER),
                        colocation(1, 3, Score::NEVER),
                        colocation(1, 0, Score::MUST),
                    ],
                    orders: Vec::new(),
                },
                policy: Policy {
                    strategy: Strategy::Utilization,
                    ..Policy::default()
                },
                capacities: vec![(NodeId(1), vec![Some(6)])],
            },
            nodes: vec![NodeView::new(NodeId(1), vec![Some(6)])],
            owners: [Some(NodeId(1)), Some(NodeId(1)), Some(NodeId(1)), None].into(),
            barred: Vec::new(),
        };
        let [ranked] = &case.rank(GroupIndex(3))[..] else {
            panic!("one node");
        };
        assert_eq!(ranked.ineligibility.is_none(), fits, "{demand}: {ranked:?}");
    }
}

proptest! {
    #[test]
    fn all_nodes_have_a_place_each_and_who_cannot_comes_last(case in case()) {
        for group in case.owners.indices() {
            let ranking = case.rank(group);
            let mut nodes: Vec<_> = ranking.iter().map(|ranked| ranked.node).collect();
            nodes.sort();
            let all: Vec<_> = case.nodes.iter().map(|view| view.node).collect();
            prop_assert_eq!(nodes, all);
            let able = ranking.iter().take_while(|ranked| ranked.ineligibility.is_none()).count();
            prop_assert!(ranking[able..].iter().all(|ranked| ranked.ineligibility.is_some()));
            for ranked in &ranking {
                let barred = ranked.why.iter().any(|why| matches!(why, Why::Ineligibility(_)));
                prop_assert_eq!(ranked.ineligibility.is_some(), barred);
            }
        }
    }

    #[test]
    fn same_view_ranks_the_same_in_whatever_order_it_comes(
        case in case(),
        swaps in prop::collection::vec((any::<Index>(), any::<Index>()), 0..8),
    ) {
        let mut other = case.clone();
        for (a, b) in swaps {
            let count = other.nodes.len();
            other.nodes.swap(a.index(count), b.index(count));
        }
        for group in case.owners.indices() {
            prop_assert_eq!(case.rank(group), other.rank(group));
        }
    }

    #[test]
    fn loads_that_differ_by_less_than_a_step_rank_the_same(
        mut case in case(),
        within in prop::collection::vec(0..100_u16, 7),
    ) {
        let order = |case: &Case, group| -> Vec<NodeId> {
            case.rank(group).iter().map(|ranked| ranked.node).collect()
        };
        let mut other = case.clone();
        for ((one, other), within) in case.nodes.iter_mut().zip(&mut other.nodes).zip(within) {
            one.load = one.load / 100 * 100;
            other.load = one.load + within;
        }
        for group in case.owners.indices() {
            prop_assert_eq!(order(&case, group), order(&other, group));
        }
    }

    #[test]
    fn eligible_node_breaks_no_rule(case in case()) {
        for group in case.owners.indices() {
            let plan = &case.layout.groups[group];
            let ranking = case.rank(group);
            let able = ranking.iter().filter(|ranked| ranked.ineligibility.is_none());
            for Ranked { node, .. } in able {
                prop_assert!(plan.ranked.contains(node) && !plan.is_banned(*node));
                prop_assert!(!case.barred.contains(&(group, *node)));
                let view = case.nodes.iter().find(|view| view.node == *node);
                prop_assert_eq!(view.and_then(|view| view.ineligibility), None);
                let colocations = case.layout.constraints.colocations.iter();
                for rule in colocations.filter(|rule| rule.group == group) {
                    let there = case.owners[rule.with] == Some(*node);
                    prop_assert!(rule.score != Score::MUST || there);
                    prop_assert!(rule.score != Score::NEVER || !there);
                }
                if case.layout.policy.strategy == Strategy::Utilization
                    && case.owners[group] != Some(*node)
                {
                    for (kind, capacity) in case.layout.capacity(*node).into_iter().enumerate() {
                        let demand = case.demand(group, kind);
                        let needed = case.used(*node, kind, group) + demand
                            - case.given_way(*node, kind, group);
                        let fits = |has: u32| needed <= has.into();
                        prop_assert!(demand == 0 || capacity.is_none_or(fits));
                    }
                }
            }
        }
    }

    #[test]
    fn preference_goes_by_points_and_then_by_place(mut case in case()) {
        case.layout.policy.strategy = Strategy::Preferred;
        for group in case.owners.indices() {
            let plan = &case.layout.groups[group];
            let ranking = case.rank(group).into_iter();
            let able: Vec<_> = ranking.filter(|ranked| ranked.ineligibility.is_none()).collect();
            for pair in able.windows(2) {
                let value = |ranked: &Ranked| {
                    let owns = case.owners[group] == Some(ranked.node);
                    let sticky = if owns { plan.stickiness } else { Score::ZERO };
                    (std::cmp::Reverse(ranked.points + sticky), ranked.place)
                };
                prop_assert!(value(&pair[0]) < value(&pair[1]));
            }
        }
    }

    #[test]
    fn rebalancing_ends_in_a_state_that_it_keeps(case in case()) {
        let situation = Situation {
            layout: &case.layout,
            nodes: &case.nodes,
            barred: &|group, node| case.barred.contains(&(group, node)),
            cut_off: &|_, _| false,
            stopped: &|_| false,
            movable: &|_| false,
        };
        let then = situation.settle(&case.owners);
        for (group, owner) in then.iter_enumerated() {
            let plan = &case.layout.groups[group];
            prop_assert!(owner.is_none_or(|at| plan.ranked.contains(&at) && !plan.is_banned(at)));
        }
    }
}
