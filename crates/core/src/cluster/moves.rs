//! Groups that leave this node although it could keep them, because an operator empties the node,
//! or because another node has less load.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};

use super::Cluster;
use crate::{
    eligibility,
    group::{Group, GroupContext, GroupPlan, Reason},
    index::GroupIndex,
    index_vec::ByGroup,
    peer::{Peer, PeerState},
    placement::{
        Rebalance, View,
        rebalance::{Calm, Candidates, Move, RebalanceInput, Rebalancer},
    },
};

/// The time between two checks for groups that should leave. An interval applies if it is longer.
const CHECK_PERIOD: Duration = Duration::from_millis(100);
/// The time for which a group that no node takes delays the next departures.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cluster {
    /// Whether a check of all groups is due.
    pub(super) fn is_check_due(&self, now: Boottime) -> bool {
        now.since(self.placing.checked_at) >= CHECK_PERIOD.max(self.timing.interval)
    }

    /// Whether a check of all groups is due. Returns true once for each check.
    pub(super) fn watches(&mut self, now: Boottime) -> bool {
        let due = self.is_check_due(now);
        if due {
            self.placing.checked_at = now;
        }
        due
    }

    /// The certainty of this node's view of the others.
    pub(super) fn calm(&self) -> Calm {
        let able = self.quorum.quorate
            && self.own.state == NodeState::Active
            && self.own.health.is_well()
            && !self.own.hangs
            && self.stall.local_stall_since.is_none();
        let takes_part = |peer: &Peer| {
            let state = matches!(peer.state, PeerState::Up | PeerState::Suspect);
            let serves = matches!(
                peer.last_reply.state,
                NodeState::Active | NodeState::Standby | NodeState::Maintenance
            );
            state && peer.last_reply.health.is_well() && (serves || peer.is_witness())
        };
        if !able || !self.peers.iter().all(takes_part) {
            Calm::No
        } else if self.peers.iter().any(|p| p.state == PeerState::Suspect) {
            Calm::Hardly
        } else {
            Calm::Yes
        }
    }
}

/// The view in which a node finds a group that should leave.
pub(super) struct Departures<'a> {
    pub(super) groups: &'a ByGroup<Group>,
    pub(super) context: GroupContext<'a>,
}

impl Candidates for Departures<'_> {
    fn plan(&self, group: GroupIndex) -> &GroupPlan {
        &self.groups[group].plan
    }

    fn is_movable(&self, group: GroupIndex) -> bool {
        self.groups[group].may_be_moved(self.context.now)
    }

    fn is_open(&self, group: GroupIndex, node: NodeId) -> bool {
        self.groups[group].is_open(node, &self.of(group))
    }
}

impl Departures<'_> {
    fn of(&self, index: GroupIndex) -> GroupContext<'_> {
        GroupContext {
            index,
            ..self.context
        }
    }

    /// Whether a group that should leave waits for another group that cannot stop.
    pub(super) fn waits_for_stuck_group(&self, group: GroupIndex) -> bool {
        let View {
            constraints, seen, ..
        } = self.context.view;
        let stuck = |other: &GroupIndex| self.groups[*other].is_stuck();
        self.groups[group].waits_to_leave()
            && constraints.dependents_here(group, seen).iter().any(stuck)
    }

    /// The next group that leaves this node while an operator empties it, if another node can have
    /// the group now.
    pub(super) fn next_to_leave(&self) -> Option<(GroupIndex, Reason)> {
        let GroupContext { now, view, .. } = self.context;
        let leaves = |index: GroupIndex| {
            self.groups[index].is_leaving(now, PATIENCE) && !self.waits_for_stuck_group(index)
        };
        if self.groups.indices().any(leaves) {
            return None;
        }
        let mut heads: Vec<(bool, GroupIndex)> = Vec::new();
        for (index, group) in self.groups.iter_enumerated() {
            if group.is_at_rest() {
                heads.push((view.comes_after_here(index), index));
            }
        }
        // A group that others follow leaves before them. Otherwise the others would have to stop
        // twice.
        heads.sort_unstable();
        heads.into_iter().find_map(|(_, group)| {
            let train = view.train(group, |member| self.groups[member].is_at_rest())?;
            let takes = |to: &NodeId| {
                let takes = |member: &GroupIndex| {
                    self.is_open(*member, *to) && !view.is_kept_away(*member, *to)
                };
                train.iter().all(takes)
            };
            let plan = &self.groups[group].plan;
            let able = plan.ranked.iter().copied().filter(takes);
            let to = eligibility::first(able, |node| view.key(plan, group, node))?;
            Some((group, Reason::Drained { to }))
        })
    }

    /// The group that should move to a node with room, if one should now.
    pub(super) fn next_to_move(
        &self,
        rules: &Rebalance,
        calm: Calm,
        rebalancer: &mut Rebalancer,
    ) -> Option<(GroupIndex, Reason)> {
        let GroupContext { now, view, .. } = self.context;
        let input = RebalanceInput {
            view,
            calm,
            groups: self,
        };
        let Move { group, to } = rebalancer.step(now, rules, &input)?;
        Some((group, Reason::Rebalanced { to }))
    }
}
