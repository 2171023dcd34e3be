//! Facts that a group is told from outside, and those that it remembers from one phase to the next.
//!
//! A fact never changes the phase by itself: the next step decides by it.

use std::time::Duration;

use heartbeat_common::{lease::Successor, time::Boottime};

use super::{Group, GroupEvent, Note, Reason};
use crate::{
    reach::{Condition, Reach},
    resource::GroupState,
};

/// The group's resources on this node, as the resource manager knows them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resources {
    /// Nothing of the group runs here that should not: it may be contended for.
    pub(super) ready: bool,
    /// All of the group that is to run does.
    pub(super) running: bool,
    /// The resources cannot run here for now.
    pub(super) barred: bool,
    /// A stop failed, and something may still run.
    pub(super) blocked: bool,
    /// How long the resources may take to stop.
    pub(super) stop_timeout: Duration,
}

/// The operator's wishes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Operator {
    /// The group is left alone.
    pub(super) maintained: bool,
    /// The group is to run nowhere.
    pub(super) disabled: bool,
}

/// How the interfaces of the group's addresses are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interfaces {
    /// Whether one of them is broken, as was said last.
    broken: bool,
    /// The fault that counts: it lasts for some time after it is gone.
    pub(super) condition: Condition,
}

/// How the group left this node last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departure {
    /// Why it stopped.
    pub(super) reason: Option<Reason>,
    /// The node that its leases are released for.
    pub(super) successor: Successor,
    /// When the lease was released for that node, until the group is served here again.
    pub(super) handed_over_at: Option<Boottime>,
    /// When the lease was released, until the group is seen to run somewhere.
    pub(super) given_up_at: Option<Boottime>,
}

/// For how long the group stays here although another node is better.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailbackHold {
    pub(super) until: Boottime,
    /// How long it stayed here after the last hand-over that no node took up.
    pub(super) length: Duration,
    /// Until when it stays although another node seems to reach further: it came straight back from
    /// such a node.
    pub(super) reach_until: Boottime,
}

impl Interfaces {
    /// Takes note of what is seen now. Says what counts from now on, if that has changed.
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
    /// The operator does not mind where the group is.
    fn end(&mut self) {
        (self.until, self.length) = (Boottime::default(), Duration::ZERO);
    }
}

impl Group {
    /// Takes note of what was said of the group.
    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::State(state) => self.note_state(state),
            Note::StopTimeout(timeout) => self.resources.stop_timeout = timeout,
            Note::Maintained(maintained) => self.operator.maintained = maintained,
            Note::Disabled(disabled) => self.operator.disabled = disabled,
            Note::Unpinned => {
                if let Some(tenure) = self.phase.tenure_mut() {
                    tenure.pinned = false;
                }
                self.failback_hold.end();
            }
        }
    }

    fn note_state(&mut self, state: GroupState) {
        let resources = &mut self.resources;
        match state {
            GroupState::Ready => resources.ready = true,
            GroupState::Started => resources.running = true,
            // That a stop is confirmed comes by `Group::stopped`, with its time.
            GroupState::Incomplete | GroupState::Stopped => resources.running = false,
            GroupState::Barred { .. } => resources.barred = true,
            GroupState::Fit => resources.barred = false,
            GroupState::Blocked { .. } => resources.blocked = true,
            GroupState::Unblocked => resources.blocked = false,
            GroupState::Broken => self.interfaces.broken = true,
            GroupState::Mended => self.interfaces.broken = false,
        }
    }

    /// Checks what is said of the interfaces.
    pub(crate) fn look_at_interfaces(&mut self, now: Boottime, out: &mut Vec<GroupEvent>) {
        if let Some(reach) = self.interfaces.observe(now) {
            out.push(GroupEvent::State(GroupState::of_interfaces(
                reach == Reach::Broken,
            )));
        }
    }

    /// Whether the group is left alone.
    pub fn is_maintained(&self) -> bool {
        self.operator.maintained
    }

    /// Whether the operator wants the group to run nowhere.
    pub(crate) fn is_disabled(&self) -> bool {
        self.operator.disabled
    }

    /// Whether the group is left alone, or could not be stopped.
    pub fn is_stuck(&self) -> bool {
        self.operator.maintained || self.resources.blocked
    }

    /// How long the group's resources may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        self.resources.stop_timeout
    }

    /// How the group's interfaces are.
    pub(crate) fn condition(&self) -> Condition {
        self.interfaces.condition
    }
}
