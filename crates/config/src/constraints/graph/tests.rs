//! Contradictions are found if and only if trying everything finds no way.

use heartbeat_core::{index::GroupIndex, placement::Score};
use proptest::prelude::*;

use super::{Constraints, Contradiction, Graph};
use crate::types::{Colocation, Order};

const GROUPS: usize = 5;
const MEMBERS: usize = 3;

#[derive(Clone, Debug)]
struct World {
    bans: Vec<(usize, usize)>,
    colocations: Vec<Colocation>,
    orders: Vec<Order>,
}

impl World {
    fn constraints(&self) -> Constraints<'_> {
        Constraints {
            groups: GROUPS,
            members: MEMBERS,
            bans: &self.bans,
            colocations: &self.colocations,
            orders: &self.orders,
        }
    }

    fn contradictions(&self) -> Vec<Contradiction> {
        self.constraints().contradictions()
    }

    fn orders(&self, first: usize, then: usize) -> bool {
        let mut orders = self.orders.iter();
        orders.any(|order| (order.first, order.then) == (GroupIndex(first), GroupIndex(then)))
    }

    /// Whether a colocation that `has` such a score goes from `group` to `with`.
    fn colocates(&self, group: usize, with: usize, has: impl Fn(Score) -> bool) -> bool {
        let mut colocations = self.colocations.iter();
        colocations.any(|one| {
            (one.group, one.with) == (GroupIndex(group), GroupIndex(with)) && has(one.score)
        })
    }

    fn joins(&self, a: usize, b: usize, score: Score) -> bool {
        self.colocates(a, b, |has| has == score) || self.colocates(b, a, |has| has == score)
    }
}

fn pair() -> impl Strategy<Value = (usize, usize)> {
    (0..GROUPS, 1..GROUPS).prop_map(|(a, step)| (a, (a + step) % GROUPS))
}

fn worlds() -> impl Strategy<Value = World> {
    let score = prop_oneof![
        3 => Just(Score::MUST),
        2 => Just(Score::NEVER),
        1 => (-5..5).prop_map(Score::new)
    ];
    let colocation = (pair(), score).prop_map(|((group, with), score)| Colocation {
        group: GroupIndex(group),
        with: GroupIndex(with),
        score,
    });
    let order = (pair(), any::<bool>()).prop_map(|((first, then), mandatory)| Order {
        first: GroupIndex(first),
        then: GroupIndex(then),
        mandatory,
    });
    (
        prop::collection::vec((0..GROUPS, 0..MEMBERS), 0..6),
        prop::collection::vec(colocation, 0..6),
        prop::collection::vec(order, 0..7),
    )
        .prop_map(|(bans, colocations, orders)| World {
            bans,
            colocations,
            orders,
        })
}

/// All lists of as many numbers below `limit` as there are groups.
fn lists(limit: usize) -> impl Iterator<Item = [usize; GROUPS]> {
    (0..limit.pow(GROUPS as u32)).map(move |mut code| {
        [(); GROUPS].map(|()| {
            let digit = code % limit;
            code /= limit;
            digit
        })
    })
}

/// Whether some sequence of the groups has every edge's start before its end.
fn can_be_sorted(edge: impl Fn(usize, usize) -> bool) -> bool {
    let respects = |place: [usize; GROUPS]| {
        (0..GROUPS).all(|a| (0..GROUPS).all(|b| !edge(a, b) || place[a] < place[b]))
    };
    lists(GROUPS).any(respects)
}

/// Whether all groups can be somewhere at once, on `members` nodes.
fn can_be_placed(world: &World, members: usize, bans: bool, apart: bool) -> bool {
    let good = |on: [usize; GROUPS]| {
        let allowed = |group: usize| !bans || !world.bans.contains(&(group, on[group]));
        let together =
            |one: &Colocation| one.score != Score::MUST || on[one.group.0] == on[one.with.0];
        let separate = |one: &Colocation| {
            !apart || one.score != Score::NEVER || on[one.group.0] != on[one.with.0]
        };
        (0..GROUPS).all(allowed)
            && world
                .colocations
                .iter()
                .all(|one| together(one) && separate(one))
    };
    lists(members).any(good)
}

fn is_cycle(cycle: &[usize], edge: impl Fn(usize, usize) -> bool) -> bool {
    let mut next = cycle.iter().cycle().skip(1);
    let mut distinct = cycle.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    cycle.len() > 1
        && distinct.len() == cycle.len()
        && cycle
            .iter()
            .all(|from| next.next().is_some_and(|to| edge(*from, *to)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn constraints_are_refused_if_and_only_if_they_cannot_be_kept(world in worlds()) {
        let found = world.contradictions();
        let sorted = can_be_sorted(|first, then| world.orders(first, then));
        let followed = can_be_sorted(|a, b| world.colocates(a, b, |score| score != Score::ZERO));
        // With a node for each group and no bans, only colocations are left to contradict.
        let apart = can_be_placed(&world, GROUPS, false, true);
        let somewhere = can_be_placed(&world, MEMBERS, true, false);
        prop_assert_eq!(found.is_empty(), sorted && followed && apart && somewhere, "{:?}", found);

        let any = |is: fn(&Contradiction) -> bool| found.iter().any(is);
        prop_assert_eq!(any(|one| matches!(one, Contradiction::OrderCycle(_))), !sorted);
        prop_assert_eq!(any(|one| matches!(one, Contradiction::ColocationCycle(_))), !followed);
        prop_assert_eq!(any(|one| matches!(one, Contradiction::Nowhere(_))), !somewhere);
        // Groups in a cycle need not be called apart, too.
        prop_assert!(!any(|one| matches!(one, Contradiction::Apart(_))) || !apart);
        prop_assert!(apart || any(|one| matches!(one, Contradiction::Apart(_))) || !followed);
    }

    #[test]
    fn named_constraints_are_those_that_contradict(world in worlds()) {
        for contradiction in world.contradictions() {
            match contradiction {
                Contradiction::OrderCycle(cycle) => {
                    prop_assert!(is_cycle(&cycle, |a, b| world.orders(a, b)), "{:?}", cycle);
                }
                Contradiction::ColocationCycle(cycle) => {
                    let edge = |a, b| world.colocates(a, b, |score| score != Score::ZERO);
                    prop_assert!(is_cycle(&cycle, edge), "{:?}", cycle);
                }
                Contradiction::Apart(path) => {
                    let must = |pair: &[usize]| world.joins(pair[0], pair[1], Score::MUST);
                    prop_assert!(path.len() > 1 && path.windows(2).all(must), "{:?}", path);
                    let ends = (path[0], path[path.len() - 1]);
                    prop_assert!(world.joins(ends.0, ends.1, Score::NEVER), "{:?}", path);
                }
                Contradiction::Nowhere(groups) => {
                    let banned = |member| {
                        groups.iter().any(|group| world.bans.contains(&(*group, member)))
                    };
                    prop_assert!((0..MEMBERS).all(banned), "{:?}", groups);
                    let joined = |group: &usize| {
                        groups.iter().any(|other| world.joins(*group, *other, Score::MUST))
                    };
                    prop_assert!(groups.len() == 1 || groups.iter().all(joined), "{:?}", groups);
                }
            }
        }
    }
}

#[test]
fn of_each_knot_the_shortest_cycle_is_named() {
    let graph = Graph::new(
        7,
        &[
            (0, 1),
            (1, 2),
            (2, 3),
            (3, 1),
            (2, 1),
            (4, 5),
            (5, 6),
            (6, 4),
        ],
    );
    assert_eq!(graph.cycles(), [vec![1, 2], vec![4, 5, 6]]);
    assert!(Graph::new(2, &[(0, 1), (0, 1)]).cycles().is_empty());
    assert_eq!(Graph::new(1, &[(0, 0)]).cycles(), [[0]]);
}

#[test]
fn group_that_can_be_nowhere_is_named_alone() {
    let must = |group, with| Colocation {
        group,
        with,
        score: Score::MUST,
    };
    let world = |bans: &[(usize, usize)]| World {
        bans: bans.to_vec(),
        colocations: vec![
            must(GroupIndex(0), GroupIndex(1)),
            must(GroupIndex(1), GroupIndex(2)),
        ],
        orders: Vec::new(),
    };
    let together = world(&[(0, 0), (1, 1), (2, 2)]).contradictions();
    assert_eq!(together, [Contradiction::Nowhere(vec![0, 1, 2])]);
    let alone = world(&[(0, 0), (1, 0), (1, 1), (1, 2)]).contradictions();
    assert_eq!(alone, [Contradiction::Nowhere(vec![1])]);
    assert_eq!(world(&[(0, 0), (1, 1), (3, 2)]).contradictions(), []);
}
