//! Where groups would be once all has settled: what `heartbeat simulate` shows.
//!
//! By the same ranks and constraints as the nodes decide by, seen from nowhere in particular.

use std::cmp::Reverse;

use heartbeat_common::wire::NodeId;

use super::{Constraints, Glance, Running, Score};
use crate::{group::GroupPlan, ranking};

/// A cluster as it is, or might be.
#[expect(
    missing_debug_implementations,
    reason = "borrows what it is given for one call"
)]
pub struct Situation<'a> {
    pub plans: &'a [GroupPlan],
    pub constraints: &'a Constraints,
    /// Whether a group (by its index) can run on a node at all: it lives, it serves, and it did not fail.
    pub fit: &'a dyn Fn(usize, NodeId) -> bool,
    /// Whether a group may be moved for a better place: it may not where an operator put it somewhere.
    pub movable: &'a dyn Fn(usize) -> bool,
}

impl Situation<'_> {
    /// Where each group is in the end, if it begins where `owners` says.
    pub fn settle(&self, owners: &[Option<NodeId>]) -> Vec<Option<NodeId>> {
        let mut owners = owners.to_vec();
        // Each round places at least one group for good; contradictions that go round are cut off.
        for _ in 0..=self.plans.len() * 2 {
            let before = owners.clone();
            for group in 0..self.plans.len() {
                owners[group] = self.place(group, &owners);
            }
            if owners == before {
                break;
            }
        }
        owners
    }

    /// Where one group goes while all others stay.
    fn place(&self, group: usize, owners: &[Option<NodeId>]) -> Option<NodeId> {
        let seen: Vec<Glance> = owners.iter().map(|owner| glance(*owner)).collect();
        let plan = &self.plans[group];
        let rank = |node| plan.rank(node, group, self.constraints, &seen);
        // No node has the id 0: nobody is here.
        let may = |node: &NodeId| {
            (self.fit)(group, *node)
                && plan.location(*node) != Score::NEVER
                && self.constraints.allow(group, *node, NodeId(0), &seen)
        };
        if self.constraints.must_stop(group, &seen) || !self.constraints.may_start(group, &seen) {
            return None;
        }
        let now = owners[group].filter(may);
        // What is somewhere already makes nobody give way.
        let free = |node: &NodeId| {
            now.is_none() || !self.constraints.displaces(group, *node, NodeId(0), &seen)
        };
        let fit = plan.ranked.iter().copied().filter(may).filter(free);
        let best = ranking::first(fit, rank);
        match (now, best) {
            (Some(now), Some(best)) if (self.movable)(group) => {
                let (Reverse(points), place) = rank(now);
                let kept = (Reverse(points + plan.stickiness), place);
                Some(if rank(best) < kept { best } else { now })
            }
            (Some(now), _) => Some(now),
            (None, best) => best,
        }
    }
}

fn glance(owner: Option<NodeId>) -> Glance {
    Glance {
        owner,
        running: match owner {
            Some(_) => Running::Yes,
            None => Running::No,
        },
        ..Glance::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Colocation, Order};

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
        Situation {
            plans,
            constraints,
            fit: &|_, node| !dead.contains(&node),
            movable: &|_| true,
        }
        .settle(owners)
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
        // All well: the second has its points elsewhere.
        assert_eq!(settle(&plans, &none, &[], &owners), [Some(A), Some(C)]);
    }

    #[test]
    fn what_sticks_stays() {
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
                group: 0,
                with: 1,
                score: Score::MUST,
            }],
            orders: vec![Order {
                first: 1,
                then: 0,
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
            colocations: vec![apart(0, 1), apart(1, 0)],
            orders: Vec::new(),
        };
        let owners = settle(&[plan(1), plan(2)], &constraints, &[B, C], &[None, None]);
        assert_eq!(owners, [Some(A), None]);
    }
}
