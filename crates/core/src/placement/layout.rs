//! The configuration of groups and of their placement.

use heartbeat_common::wire::NodeId;
use serde::{Deserialize, Serialize};

use super::{Constraints, Policy, Score};
use crate::{group::GroupPlan, index::GroupIndex, index_vec::ByGroup};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub groups: ByGroup<GroupPlan>,
    pub constraints: Constraints,
    pub policy: Policy,
    /// The capacity of each node, by kind. A missing node or kind, or `None`, has no limit.
    pub capacities: Vec<(NodeId, Vec<Option<u32>>)>,
}

impl Layout {
    /// The capacity of a node, by kind. Empty if the node is not named.
    pub fn capacity(&self, node: NodeId) -> Vec<Option<u32>> {
        let named = self.capacities.iter().find(|(named, _)| *named == node);
        named
            .map(|(_, capacity)| capacity.clone())
            .unwrap_or_default()
    }

    /// The demand of each group with all that follow it, by kind.
    pub fn burdens(&self) -> ByGroup<Vec<u32>> {
        burdens(&self.groups, &self.constraints)
    }
}

/// The demand of each group with all that follow it, by kind.
pub fn burdens(groups: &ByGroup<GroupPlan>, constraints: &Constraints) -> ByGroup<Vec<u32>> {
    let burden = |group: GroupIndex| {
        let mut sum: Vec<u32> = Vec::new();
        for member in constraints.train(group) {
            let demand = groups.get(member).map_or(&[][..], |plan| &plan.demand);
            sum.resize(sum.len().max(demand.len()), 0);
            for (sum, demand) in sum.iter_mut().zip(demand) {
                *sum = sum.saturating_add(*demand);
            }
        }
        sum
    };
    groups.indices().map(burden).collect()
}

impl Constraints {
    /// A group and all groups that must be on its node, directly or not. The group itself comes
    /// first.
    pub fn train(&self, group: GroupIndex) -> Vec<GroupIndex> {
        let mut train = vec![group];
        let mut at = 0;
        while let Some(leader) = train.get(at).copied() {
            at += 1;
            for colocation in &self.colocations {
                let follows = colocation.with == leader && colocation.score == Score::MUST;
                if follows && !train.contains(&colocation.group) {
                    train.push(colocation.group);
                }
            }
        }
        train
    }

    /// The groups that `group` must be together with.
    pub fn leaders(&self, group: GroupIndex) -> impl Iterator<Item = GroupIndex> {
        let follows = move |colocation: &&super::Colocation| {
            colocation.group == group && colocation.score == Score::MUST
        };
        let leading = self.colocations.iter().filter(follows);
        leading.map(|colocation| colocation.with)
    }

    /// Whether a constraint keeps the two groups apart, in either direction.
    pub fn keep_apart(&self, one: GroupIndex, other: GroupIndex) -> bool {
        self.colocations.iter().any(|colocation| {
            let pair = (colocation.group, colocation.with);
            colocation.score == Score::NEVER && (pair == (one, other) || pair == (other, one))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Colocation;

    #[test]
    fn train_is_a_leader_with_all_that_follow() {
        let follows = |group, with| Colocation {
            group,
            with,
            score: Score::MUST,
        };
        let constraints = Constraints {
            // A ring at the end: circular constraints must not run for ever.
            colocations: vec![
                follows(GroupIndex(1), GroupIndex(0)),
                follows(GroupIndex(2), GroupIndex(1)),
                follows(GroupIndex(4), GroupIndex(3)),
                follows(GroupIndex(3), GroupIndex(4)),
                Colocation {
                    group: GroupIndex(0),
                    with: GroupIndex(3),
                    score: Score::NEVER,
                },
            ],
            orders: Vec::new(),
        };
        assert_eq!(constraints.train(GroupIndex(0)), [0, 1, 2].map(GroupIndex));
        assert_eq!(constraints.train(GroupIndex(2)), [GroupIndex(2)]);
        assert_eq!(constraints.train(GroupIndex(3)), [3, 4].map(GroupIndex));
        assert_eq!(
            constraints.leaders(GroupIndex(2)).collect::<Vec<_>>(),
            [GroupIndex(1)]
        );
        assert!(
            constraints.keep_apart(GroupIndex(3), GroupIndex(0))
                && constraints.keep_apart(GroupIndex(0), GroupIndex(3))
        );
        assert!(!constraints.keep_apart(GroupIndex(1), GroupIndex(0)));
        let needs = |demand: &[u32]| GroupPlan {
            demand: demand.to_vec(),
            ..GroupPlan::default()
        };
        let groups = ByGroup::from([needs(&[2]), needs(&[1, 5]), needs(&[])]);
        assert_eq!(
            burdens(&groups, &constraints),
            [vec![3, 5], vec![1, 5], vec![]].into()
        );
    }
}
