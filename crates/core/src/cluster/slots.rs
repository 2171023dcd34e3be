//! The slots of this node's own acceptor that a step uses.
//!
//! The caller reads them just before the step, after it took the time of the step. A slot never
//! opens a guard, and never counts as a vote: it only shows when a request is worth sending. A slot
//! that is older than the step by microseconds costs at most a request that the acceptors refuse.
//!
//! The names of the slots are a prediction from the last step. If the prediction was wrong, a group
//! without a needed slot decides nothing and names all of its slots: see [`Cluster::lacks_slots`].
//! The next step sees the decisions of the other groups in the first.

use heartbeat_common::{time::Boottime, wire::GroupId};

use super::{Cluster, Intent};
use crate::{
    group::{Group, Interest},
    index::GroupIndex,
};

/// The greatest number of steps at one instant. Two have been enough in all simulations.
pub const MAX_STEPS: usize = 4;

impl Cluster {
    /// The leases whose slots the step at `now` needs. The acceptor abstains until `votes_from`.
    pub fn slots_to_read(
        &self,
        now: Boottime,
        votes_from: Boottime,
    ) -> impl Iterator<Item = GroupId> + '_ {
        let counts = self.placing.policy.strategy.counts_groups();
        let anew = |group: &Group| group.is_placed_anew(now, votes_from);
        let all = self.is_check_due(now) || counts && self.groups.iter().any(anew);
        let groups = self.groups.iter_enumerated();
        groups.flat_map(move |(index, group)| {
            let claims = counts && group.is_claiming();
            group.slots_to_read(Interest {
                now,
                timing: &self.timing,
                local: self.local,
                is_seen: all || claims || self.placing.constraints.concern(index),
                may_take: self.may_take_soon(index),
                settles: !self.membership.is_settled(),
            })
        })
    }

    /// Whether a group could not decide for want of a slot. The caller then runs one more step at
    /// the same time, with the slots that are named now, up to [`MAX_STEPS`] in all.
    pub fn lacks_slots(&self) -> bool {
        self.groups.iter().any(Group::lacks_slots)
    }

    /// Whether this node would take the group with this index, as far as the last step saw.
    fn may_take_soon(&self, index: GroupIndex) -> bool {
        let group = &self.groups[index];
        let (local, seen) = (self.local, &self.placing.seen);
        let node_may = self.own_ineligibility().is_none() && !self.own.restarts;
        (node_may || self.own.intent == Intent::Empty && group.was_let_go())
            && group.may_be_taken_by(local)
            && self.placing.constraints.allow(index, local, local, seen)
            && self.placing.constraints.may_start(index, seen)
    }
}
