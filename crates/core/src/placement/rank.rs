//! The best node for a group: the one rule that takeover, fail-back, rebalancing and predictions
//! share. The rule is pure: the same view gives the same ranking, whatever the order of its nodes.

use std::cmp::Reverse;

use heartbeat_common::wire::NodeId;

use super::{Ineligibility, Score, Strategy, View, Why, view::Left};
use crate::{group::GroupPlan, index::GroupIndex, report::Reported};

/// Loads within so many per mille count as equal, so that slightly different views agree.
pub(super) const LOAD_STEP: u16 = 100;
/// The lower bound on the points of failing checks, so that they never amount to a ban.
const WORST_FAILING: i64 = Score::NEVER.points() as i64 + 1;
const PER_MILLE: i64 = 1_000;

/// The quality of a node for a group: less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub points: Reverse<Score>,
    /// The strategy's measure against the node.
    cost: (u32, u32),
    place: usize,
    node: NodeId,
}

impl Key {
    /// The key of the node that has the group.
    pub fn staying(self, plan: &GroupPlan) -> Self {
        let Reverse(points) = self.points;
        Self {
            points: Reverse(points + plan.stickiness),
            ..self
        }
    }
}

/// A node's rank for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub node: NodeId,
    /// The node's place in the group's preference, from 0.
    pub place: usize,
    /// Without stickiness.
    pub points: Score,
    /// The reason why the node cannot have the group, if there is one.
    pub ineligibility: Option<Ineligibility>,
    /// The reasons for the points and the ineligibility.
    pub why: Vec<Why>,
    key: Key,
}

impl View<'_> {
    /// The key of `node` for the group with this plan and index, whether or not the node can have
    /// the group. The key leaves out stickiness: see [`Key::staying`].
    pub fn key(&self, plan: &GroupPlan, group: GroupIndex, node: NodeId) -> Key {
        let points = self.points(plan, group, node);
        let place = plan.ranked.iter().position(|ranked| *ranked == node);
        Key {
            points: Reverse(points),
            cost: self.cost(group, node),
            place: place.unwrap_or(plan.ranked.len()),
            node,
        }
    }

    /// Points for `node`, without stickiness.
    pub fn points(&self, plan: &GroupPlan, group: GroupIndex, node: NodeId) -> Score {
        let advised = self.constraints.advise(group, node, self.seen);
        plan.location(node) + advised + self.failing(node).0
    }

    /// Whether a group is better off with `one` than with `other`, and should move there. Load,
    /// room and numbers of groups change, not least because of moves. Under such strategies only
    /// points bring a group back.
    pub(crate) fn is_better(&self, one: Key, other: Key) -> bool {
        match self.policy.strategy {
            Strategy::Preferred => one < other,
            Strategy::LeastLoaded | Strategy::Spread | Strategy::Utilization => {
                one.points < other.points
            }
        }
    }

    /// All nodes, the best first. Nodes that cannot have the group come last.
    pub fn rank(
        &self,
        plan: &GroupPlan,
        group: GroupIndex,
        reported: impl Fn(NodeId) -> Reported,
    ) -> Vec<Ranked> {
        let owner = self.seen.get(group).and_then(|seen| seen.owner);
        let ranked = |node: NodeId| {
            let key = self.key(plan, group, node);
            let key = if owner == Some(node) {
                key.staying(plan)
            } else {
                key
            };
            let ineligibility = self.ineligibility(plan, group, node, reported(node));
            Ranked {
                node,
                place: key.place,
                points: self.points(plan, group, node),
                ineligibility,
                why: self.why(plan, group, node, ineligibility),
                key,
            }
        };
        let nodes = self.nodes.iter().map(|view| view.node);
        let mut all: Vec<_> = nodes.map(ranked).collect();
        all.sort_by_key(|ranked| (ranked.ineligibility.is_some(), ranked.key));
        all
    }

    fn stickiness(&self, plan: &GroupPlan, group: GroupIndex, node: NodeId) -> Score {
        match self.seen.get(group) {
            Some(seen) if seen.owner == Some(node) => plan.stickiness,
            _ => Score::ZERO,
        }
    }

    /// The points for the failing checks of `node`, and the number of these checks.
    fn failing(&self, node: NodeId) -> (Score, u32) {
        let failing = self.node(node).map_or(0, |view| view.health.failing());
        let points = i64::from(self.policy.degraded_points) * i64::from(failing);
        let points = (-points).max(WORST_FAILING);
        (Score::new(points as i32), failing)
    }

    /// The number of other groups that `node` has or is about to get.
    fn others(&self, group: GroupIndex, node: NodeId) -> u32 {
        let has = self.node(node).map_or(0, |view| view.groups + view.coming);
        has.saturating_sub(u32::from(self.is_there(group, node)))
    }

    /// The strategy's measure against `node`, which decides among nodes with the same points.
    fn cost(&self, group: GroupIndex, node: NodeId) -> (u32, u32) {
        match self.policy.strategy {
            Strategy::Preferred => (0, 0),
            Strategy::LeastLoaded => {
                let (load, coming) = self
                    .node(node)
                    .map_or((0, 0), |view| (view.load, view.coming));
                // Each group that is on its way, or has only just come, counts for a step.
                // Otherwise all groups of a dead node would go to the same node.
                let coming = coming.saturating_sub(u32::from(self.is_there(group, node)));
                let steps = u32::from(load / LOAD_STEP) + coming;
                (steps, self.others(group, node))
            }
            Strategy::Spread => (self.others(group, node), 0),
            Strategy::Utilization => {
                let relative = |kind: Left| kind.left * PER_MILLE / i64::from(kind.of.max(1));
                let least = self.left(group, node).map(relative).min();
                let free = least.unwrap_or(PER_MILLE).clamp(-PER_MILLE, PER_MILLE);
                ((PER_MILLE - free) as u32, 0)
            }
        }
    }

    fn why(
        &self,
        plan: &GroupPlan,
        group: GroupIndex,
        node: NodeId,
        ineligibility: Option<Ineligibility>,
    ) -> Vec<Why> {
        let mut why: Vec<Why> = ineligibility.map(Why::Ineligibility).into_iter().collect();
        let mut points = |score, why_so: Why| {
            if score != Score::ZERO {
                why.push(why_so);
            }
        };
        let location = plan.location(node);
        points(location, Why::Location(location));
        let advised = self.constraints.advise(group, node, self.seen);
        points(advised, Why::Colocation(advised));
        let sticky = self.stickiness(plan, group, node);
        points(sticky, Why::Stickiness(sticky));
        let (lost, checks) = self.failing(node);
        points(lost, Why::Failing(lost, checks));
        let load = self.node(node).map_or(0, |view| view.load);
        match self.policy.strategy {
            Strategy::Preferred => {}
            Strategy::LeastLoaded => why.push(Why::Load(load)),
            Strategy::Spread => why.push(Why::Groups(self.others(group, node))),
            Strategy::Utilization => {
                why.extend(self.left(group, node).map(|Left { kind, left, .. }| {
                    let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
                    Why::Free { kind, left }
                }));
            }
        }
        why
    }
}
