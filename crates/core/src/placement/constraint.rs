//! The constraints between groups: colocation, separation and order.
//!
//! Each node applies the constraints to its view of the other groups. Views may differ for a
//! moment. Then a group starts later, or has to leave again.

use heartbeat_common::wire::NodeId;
use serde::{Deserialize, Serialize};

use super::Score;
use crate::{index::GroupIndex, index_vec::ByGroup};

/// The place of one group relative to another. Both are indices of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colocation {
    /// The group that follows.
    pub group: GroupIndex,
    /// The group that it follows, or keeps away from.
    pub with: GroupIndex,
    /// [`Score::MUST`] and [`Score::NEVER`] are binding, all other scores are advice.
    pub score: Score,
}

/// The order of two groups. Both are indices of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub first: GroupIndex,
    pub then: GroupIndex,
    /// Whether the order always holds. An advisory order only matters if both groups are about to
    /// start.
    pub mandatory: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraints {
    pub colocations: Vec<Colocation>,
    pub orders: Vec<Order>,
}

/// Whether all of a group runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Running {
    Yes,
    No,
    #[default]
    Unknown,
}

/// The state of a group, as this node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// The node that serves the group.
    pub owner: Option<NodeId>,
    /// Whether the group runs here, stops here or is about to come here.
    pub here: bool,
    /// Whether the group's start here is under way.
    pub starting: bool,
    pub running: Running,
    /// Whether the group is about to stop here.
    pub leaving: bool,
}

impl Constraints {
    pub fn is_empty(&self) -> bool {
        self.colocations.is_empty() && self.orders.is_empty()
    }

    /// Whether `group` has a constraint with any other.
    pub fn concern(&self, group: GroupIndex) -> bool {
        let colocated = |c: &Colocation| c.group == group || c.with == group;
        let ordered = |o: &Order| o.first == group || o.then == group;
        self.colocations.iter().any(colocated) || self.orders.iter().any(ordered)
    }

    /// Whether `group` may be on `node`, this one (`local`) or another.
    pub(crate) fn allow(
        &self,
        group: GroupIndex,
        node: NodeId,
        local: NodeId,
        seen: &ByGroup<GroupSnapshot>,
    ) -> bool {
        self.colocations
            .iter()
            .filter(|colocation| colocation.group == group)
            .all(|colocation| {
                let with = seen.get(colocation.with).copied().unwrap_or_default();
                match colocation.score {
                    Score::MUST => with.owner == Some(node) && !(node == local && with.leaving),
                    Score::NEVER => with.owner != Some(node) && !(node == local && with.here),
                    _ => true,
                }
            })
    }

    /// The groups that give way to `group`, wherever they are.
    pub(crate) fn displaced(&self, group: GroupIndex) -> impl Iterator<Item = GroupIndex> {
        let gives_way = move |c: &&Colocation| c.with == group && c.score == Score::NEVER;
        let giving = self.colocations.iter().filter(gives_way);
        giving.map(|colocation| colocation.group)
    }

    /// Whether `node` has a group that must give way if `group` comes there.
    pub(crate) fn displaces(
        &self,
        group: GroupIndex,
        node: NodeId,
        local: NodeId,
        seen: &ByGroup<GroupSnapshot>,
    ) -> bool {
        self.displaced(group)
            .filter_map(|other| seen.get(other))
            .any(|other| other.owner == Some(node) || (node == local && other.here))
    }

    /// Points for `node` from the groups that are there.
    pub(crate) fn advise(
        &self,
        group: GroupIndex,
        node: NodeId,
        seen: &ByGroup<GroupSnapshot>,
    ) -> Score {
        self.colocations
            .iter()
            .filter(|colocation| colocation.group == group && colocation.score.is_finite())
            .filter(|colocation| {
                seen.get(colocation.with)
                    .is_some_and(|with| with.owner == Some(node))
            })
            .map(|colocation| colocation.score)
            .sum()
    }

    /// Whether the groups before `group` have started far enough for it to start here.
    pub(crate) fn may_start(&self, group: GroupIndex, seen: &ByGroup<GroupSnapshot>) -> bool {
        self.before(group, seen).all(|(order, first)| {
            if order.mandatory {
                first.running == Running::Yes && !first.leaving
            } else {
                !first.starting
            }
        })
    }

    /// Whether `group` must stop, because a group before it does not run or is about to stop.
    pub(crate) fn must_stop(&self, group: GroupIndex, seen: &ByGroup<GroupSnapshot>) -> bool {
        self.before(group, seen).any(|(order, first)| {
            order.mandatory && (first.running == Running::No || first.leaving)
        })
    }

    /// Whether a group runs here that has to stop before `group` does.
    pub(crate) fn followed_here(&self, group: GroupIndex, seen: &ByGroup<GroupSnapshot>) -> bool {
        let here = |other: GroupIndex| seen.get(other).is_some_and(|other| other.here);
        let follows = |c: &Colocation| c.with == group && c.score == Score::MUST && here(c.group);
        let comes_after = |o: &Order| o.first == group && o.mandatory && here(o.then);
        self.colocations.iter().any(follows) || self.orders.iter().any(comes_after)
    }

    /// All groups here that stop before `group` does, directly or not. The result has `group`
    /// itself if the constraints are circular.
    pub(crate) fn dependents_here(
        &self,
        group: GroupIndex,
        seen: &ByGroup<GroupSnapshot>,
    ) -> Vec<GroupIndex> {
        let here = |other: GroupIndex| seen.get(other).is_some_and(|other| other.here);
        let (mut found, mut at) = (Vec::new(), 0);
        let mut before = Some(group);
        while let Some(then) = before {
            let follows = self.colocations.iter().filter(|c| c.with == then);
            let follows = follows.filter(|c| c.score == Score::MUST).map(|c| c.group);
            let after = self.orders.iter().filter(|o| o.first == then);
            let after = after.filter(|o| o.mandatory).map(|o| o.then);
            for other in follows.chain(after) {
                if here(other) && !found.contains(&other) {
                    found.push(other);
                }
            }
            before = found.get(at).copied();
            at += 1;
        }
        found
    }

    fn before<'a>(
        &'a self,
        group: GroupIndex,
        seen: &'a ByGroup<GroupSnapshot>,
    ) -> impl Iterator<Item = (&'a Order, GroupSnapshot)> {
        let orders = self.orders.iter().filter(move |order| order.then == group);
        orders.map(|order| (order, seen.get(order.first).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const WEB: GroupIndex = GroupIndex(0);
    const DB: GroupIndex = GroupIndex(1);

    fn colocated(score: Score) -> Constraints {
        Constraints {
            colocations: vec![Colocation {
                group: WEB,
                with: DB,
                score,
            }],
            orders: Vec::new(),
        }
    }

    fn ordered(mandatory: bool) -> Constraints {
        Constraints {
            colocations: Vec::new(),
            orders: vec![Order {
                first: DB,
                then: WEB,
                mandatory,
            }],
        }
    }

    fn seen(db: GroupSnapshot) -> ByGroup<GroupSnapshot> {
        [GroupSnapshot::default(), db].into()
    }

    fn on(owner: NodeId) -> GroupSnapshot {
        GroupSnapshot {
            owner: Some(owner),
            here: owner == A,
            running: Running::Yes,
            ..GroupSnapshot::default()
        }
    }

    #[test]
    fn follower_may_only_be_where_its_leader_stays() {
        let rules = colocated(Score::MUST);
        assert!(rules.allow(WEB, A, A, &seen(on(A))));
        assert!(!rules.allow(WEB, B, A, &seen(on(A))));
        assert!(!rules.allow(WEB, A, A, &seen(GroupSnapshot::default())));
        let leaving = GroupSnapshot {
            leaving: true,
            ..on(A)
        };
        assert!(!rules.allow(WEB, A, A, &seen(leaving)));
        // The leader may be anywhere.
        assert!(rules.allow(DB, B, A, &seen(on(A))));
        assert!(rules.followed_here(DB, &[on(A), on(A)].into()));
        assert!(!rules.followed_here(DB, &[on(B), on(A)].into()));
        assert!(!rules.followed_here(WEB, &[on(A), on(A)].into()));
    }

    #[test]
    fn group_that_keeps_away_keeps_away_from_a_group_about_to_come() {
        let rules = colocated(Score::NEVER);
        assert!(!rules.allow(WEB, A, A, &seen(on(A))));
        assert!(rules.allow(WEB, B, A, &seen(on(A))));
        assert!(rules.allow(WEB, A, A, &seen(GroupSnapshot::default())));
        let coming = GroupSnapshot {
            here: true,
            ..GroupSnapshot::default()
        };
        assert!(!rules.allow(WEB, A, A, &seen(coming)));
        assert!(!rules.followed_here(DB, &[on(A), on(A)].into()));
        assert!(rules.displaces(DB, A, A, &[on(A), on(B)].into()));
        assert!(rules.displaces(DB, A, A, &[coming, on(B)].into()));
        assert!(!rules.displaces(DB, B, A, &[on(A), on(B)].into()));
        assert!(!rules.displaces(WEB, B, A, &[on(A), on(B)].into()));
    }

    #[test]
    fn advice_gives_points_where_the_other_is() {
        let rules = colocated(Score::new(-20));
        assert!(rules.allow(WEB, A, A, &seen(on(A))));
        assert_eq!(rules.advise(WEB, A, &seen(on(A))), Score::new(-20));
        assert_eq!(rules.advise(WEB, B, &seen(on(A))), Score::ZERO);
        assert_eq!(
            colocated(Score::MUST).advise(WEB, A, &seen(on(A))),
            Score::ZERO
        );
    }

    #[test]
    fn mandatory_order_starts_after_and_stops_before() {
        let rules = ordered(true);
        let is = |running| GroupSnapshot { running, ..on(B) };
        assert!(rules.may_start(WEB, &seen(is(Running::Yes))));
        assert!(!rules.may_start(WEB, &seen(is(Running::Unknown))));
        assert!(rules.must_stop(WEB, &seen(is(Running::No))));
        // An unknown state is no reason to stop.
        assert!(!rules.must_stop(WEB, &seen(is(Running::Unknown))));
        let leaving = GroupSnapshot {
            leaving: true,
            ..on(A)
        };
        assert!(!rules.may_start(WEB, &seen(leaving)));
        assert!(rules.must_stop(WEB, &seen(leaving)));
        assert!(rules.followed_here(DB, &[on(A), on(A)].into()));
    }

    #[test]
    fn advisory_order_only_waits_for_a_start_that_is_under_way_here() {
        let rules = ordered(false);
        assert!(rules.may_start(WEB, &seen(GroupSnapshot::default())));
        let starting = GroupSnapshot {
            starting: true,
            ..on(A)
        };
        assert!(!rules.may_start(WEB, &seen(starting)));
        assert!(!rules.must_stop(WEB, &seen(GroupSnapshot::default())));
        assert!(!rules.followed_here(DB, &[on(A), on(A)].into()));
    }
}
