//! Facts about a group from outside, and facts that it keeps from one phase to the next.
//!
//! A fact never changes the phase by itself: the next step decides from it.

use std::time::Duration;

use heartbeat_common::{lease::Successor, time::Boottime};

use super::{Group, GroupEvent, Note, Reason};
use crate::{
    reach::{Condition, Reach},
    resource::GroupState,
};

/// The group's resources on this node, as the resource manager reports them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resources {
    /// No resource runs here that should not: the group may be contended for.
    pub(super) ready: bool,
    /// All resources of the group run that should.
    pub(super) running: bool,
    /// The resources cannot run here for now.
    pub(super) barred: bool,
    /// A stop failed, and a resource may still run.
    pub(super) blocked: bool,
    /// The longest time that the resources may take to stop.
    pub(super) stop_timeout: Duration,
}

/// The operator's settings for the group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Operator {
    /// The group is in maintenance.
    pub(super) maintained: bool,
    /// The group must run nowhere.
    pub(super) disabled: bool,
}

/// The condition of the interfaces with the group's addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interfaces {
    /// Whether the last report said that an interface is broken.
    broken: bool,
    /// The fault that counts: it lasts for some time after it is gone.
    pub(super) condition: Condition,
}

/// The last departure of the group from this node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departure {
    /// The reason of the stop.
    pub(super) reason: Option<Reason>,
    /// The node for which its leases are released.
    pub(super) successor: Successor,
    /// The time of the release for that node, until the group is served here again.
    pub(super) handed_over_at: Option<Boottime>,
    /// The time of the release, until the group is seen to run on some node.
    pub(super) given_up_at: Option<Boottime>,
}

/// The time for which the group stays here although another node is better.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailbackHold {
    pub(super) until: Boottime,
    /// The length of the hold after the last hand-over that no node took up.
    pub(super) length: Duration,
    /// The time until which the group stays although another node seems to reach further: the group
    /// came straight back from such a node.
    pub(super) reach_until: Boottime,
}

impl Interfaces {
    /// Records the last report at `now`. Returns the effective reach, if it has changed.
    fn observe(&mut self, now: Boottime) -> Option<Reach> {
        let before = self.condition.reach();
        let seen = match self.broken {
            true => Reach::Broken,
            false => Reach::Whole,
        };
        self.condition.observe(seen, now);
        let reach = self.condition.reach();
        (reach != before).then_some(reach)
    }
}

impl FailbackHold {
    /// Ends the hold: the operator unpinned the group.
    fn end(&mut self) {
        (self.until, self.length) = (Boottime::default(), Duration::ZERO);
    }
}

impl Group {
    /// Records a fact about the group.
    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::State(state) => self.note_state(state),
            Note::StopTimeout(timeout) => self.resources.stop_timeout = timeout,
            Note::Maintained(maintained) => {
                self.operator.maintained = maintained;
                self.contend_anew();
            }
            Note::Disabled(disabled) => {
                self.operator.disabled = disabled;
                self.contend_anew();
            }
            Note::Unpinned => {
                if let Some(tenure) = self.phase.tenure_mut() {
                    tenure.pinned = false;
                }
                self.failback_hold.end();
            }
        }
    }

    /// Begins the turns of the nodes again, after an operator's decision. No node could take the
    /// group before, so that no turn has passed.
    fn contend_anew(&mut self) {
        self.acceptor.end_free_period();
    }

    fn note_state(&mut self, state: GroupState) {
        let resources = &mut self.resources;
        match state {
            GroupState::Ready => resources.ready = true,
            GroupState::Started => resources.running = true,
            // The confirmation of a stop comes by `Group::stopped`, with its time.
            GroupState::Incomplete | GroupState::Stopped => resources.running = false,
            GroupState::Barred { .. } => resources.barred = true,
            GroupState::Fit => resources.barred = false,
            GroupState::Blocked { .. } => resources.blocked = true,
            GroupState::Unblocked => resources.blocked = false,
            GroupState::Broken => self.interfaces.broken = true,
            GroupState::Mended => self.interfaces.broken = false,
        }
    }

    /// Updates the condition of the interfaces from the last report.
    pub(crate) fn check_interfaces(&mut self, now: Boottime, out: &mut Vec<GroupEvent>) {
        if let Some(reach) = self.interfaces.observe(now) {
            out.push(GroupEvent::State(GroupState::of_interfaces(
                reach == Reach::Broken,
            )));
        }
    }

    /// Whether the group is in maintenance.
    pub fn is_maintained(&self) -> bool {
        self.operator.maintained
    }

    /// Whether the operator wants the group to run nowhere.
    pub(crate) fn is_disabled(&self) -> bool {
        self.operator.disabled
    }

    /// Whether the group is in maintenance, or could not be stopped.
    pub fn is_stuck(&self) -> bool {
        self.operator.maintained || self.resources.blocked
    }

    /// The longest time that the group's resources may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        self.resources.stop_timeout
    }

    /// The condition of the group's interfaces.
    pub(crate) fn condition(&self) -> Condition {
        self.interfaces.condition
    }
}
