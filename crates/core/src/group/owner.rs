//! The node that is seen to serve a group, and the snapshot of the group for other groups.

use heartbeat_common::{time::Boottime, wire::NodeId};

use super::{EXPECTED_WITHIN, Group, Phase, Serving};
use crate::{
    Timing,
    index::GroupIndex,
    observation::Observation,
    placement::{GroupSnapshot, Running},
    report::{GroupReport, Reported},
};

/// The owner as this node sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    /// The last owner that was seen.
    node: Option<NodeId>,
    /// The time at which an owner was last seen.
    seen_at: Option<Boottime>,
    /// The time until which the owner has the group, as far as this node's own acceptor knows.
    pub(super) until: Boottime,
    /// The last change of the owner that this node saw.
    pub(super) arrived_at: Option<Boottime>,
    /// The time since which no owner has been seen, without interruption.
    pub(super) free_from: Option<Boottime>,
}

impl Owner {
    /// Records the current owner.
    fn observe(&mut self, owner: Option<NodeId>, now: Boottime) {
        if owner.is_none() {
            self.free_from.get_or_insert(now);
            return;
        }
        if owner != self.node {
            // The owner at the first check of this node counts as one of long standing.
            let known = self.node.is_some() || self.free_from.is_some();
            self.arrived_at = known.then_some(now);
            self.node = owner;
        }
        self.seen_at = Some(now);
        self.free_from = None;
    }

    /// Whether the group may still run although no owner is seen: this node's own acceptor may have
    /// missed a renewal.
    fn running_unseen(&self, now: Boottime, timing: &Timing) -> Running {
        match self.seen_at {
            Some(at) if now.since(at) <= timing.lease * 2 => Running::Unknown,
            _ => Running::No,
        }
    }
}

impl Group {
    /// The snapshot of the group for other groups. `None` if its slot was not read.
    pub(crate) fn snapshot(
        &mut self,
        index: GroupIndex,
        (local, now): (NodeId, Boottime),
        timing: &Timing,
        observation: &Observation<'_>,
    ) -> Option<GroupSnapshot> {
        let owner = self.read_owner(local, now, observation)?;
        self.owner.observe(owner, now);
        let running = match owner {
            Some(owner) if owner == local && self.runs() => Running::Yes,
            Some(owner) if owner == local => Running::No,
            Some(_) if !self.plan.supervised => Running::Yes,
            Some(owner) => match observation.reported(index, owner) {
                Reported { current: false, .. } => Running::Unknown,
                Reported { report, .. } if report.running => Running::Yes,
                Reported { .. } => Running::No,
            },
            None => self.owner.running_unseen(now, timing),
        };
        if owner == Some(local) || (owner.is_some() && running == Running::Yes) {
            self.departure.given_up_at = None;
        }
        let serving = self.serving();
        Some(GroupSnapshot {
            owner,
            here: !matches!(self.phase, Phase::Waiting | Phase::Releasing { .. }),
            starting: serving == Serving::Started && !self.runs(),
            running,
            leaving: self.leaving().is_some() || serving == Serving::Stopping,
        })
    }

    /// The owner according to this node's own acceptor, or this node if the group is served here.
    /// `None` if the slot was not read.
    fn read_owner(
        &mut self,
        local: NodeId,
        now: Boottime,
        observation: &Observation<'_>,
    ) -> Option<Option<NodeId>> {
        Some(match self.serving() {
            Serving::Started => Some(local),
            Serving::Stopping => None,
            Serving::Stopped => {
                let slot = self.slot(observation)?;
                let owner = slot.live_owner(now).filter(|owner| *owner != local);
                self.owner.until = match owner {
                    Some(_) => Boottime::from_nanos(slot.expires),
                    None => Boottime::default(),
                };
                owner
            }
        })
    }

    /// Whether all resources of the group run here that should.
    pub(super) fn runs(&self) -> bool {
        self.serving() == Serving::Started && (self.resources.running || !self.plan.supervised)
    }

    /// The report that this node would send about the group.
    pub(crate) fn reported_here(&self) -> Reported {
        Reported {
            current: true,
            report: GroupReport {
                settling: !self.resources.ready,
                barred: self.resources.barred || self.resources.blocked,
                ..GroupReport::default()
            },
            ..Reported::default()
        }
    }

    /// Whether the group came to its node so lately that the load there does not show it yet.
    pub(crate) fn has_just_come(&self, now: Boottime) -> bool {
        let arrived = self.owner.arrived_at;
        arrived.is_some_and(|at| now.since(at) < EXPECTED_WITHIN)
    }

    /// Whether no owner has been seen, but not for so long that no node will take the group.
    pub(crate) fn is_free_anew(&self, now: Boottime, votes_from: Boottime) -> bool {
        let since = self.owner.free_from.map(|since| since.max(votes_from));
        self.serving() == Serving::Stopped
            && !self.operator.disabled
            && !self.operator.maintained
            && since.is_none_or(|since| now.since(since) < EXPECTED_WITHIN)
    }
}
