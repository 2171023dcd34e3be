//! One resource of a group on this node: its plan and its known state.

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Action, ResourcePlan, failures::Failures};

/// The time after its timeout at which an unfinished action counts as hanging. The executor needs
/// some seconds to kill an action that does not end by itself.
const OVERDUE: Duration = Duration::from_secs(10);
/// The pause before a probe that could not be executed is repeated.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// The state of a resource on this node, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceState {
    /// Not probed yet.
    Unknown,
    Stopped,
    Starting,
    Started,
    /// It may run, wholly or in part, and must be stopped before anything else.
    Failed,
    Stopping,
    /// It could not be stopped.
    Blocked,
}

impl ResourceState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Blocked => "blocked",
        }
    }
}

/// The knowledge about a resource, apart from the action in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A probe is due.
    Nothing,
    Stopped,
    Running,
    /// It may run, wholly or in part: only a stop ends this state.
    Unsure,
    /// It could not be stopped: only an operator ends this state.
    Stuck,
}

/// An action that was begun and has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) action: Action,
    /// The time at which the action counts as one that may never end.
    overdue_at: Boottime,
    /// The action was killed and does not end.
    pub(super) lingers: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) plan: ResourcePlan,
    pub(super) known: Known,
    /// The action that was begun and has not ended.
    pub(super) in_flight: Option<InFlight>,
    /// The operator cleaned up during the action.
    pub(super) cleaned: bool,
    /// The resource was started, or seen running or failed, and not seen stopped since.
    pub(super) ran: bool,
    /// A probe found that the resource is not installed.
    missing: bool,
    /// The time of the next probe after one that could not be executed.
    unseen_until: Option<Boottime>,
    /// The operator allows the resource to run.
    pub(super) enabled: bool,
    /// The operator wants one stop of the resource.
    pub(super) restart: bool,
    /// A stop failed or is overdue, and the resource was not seen stopped since.
    pub(super) blocked: bool,
    /// The probe in flight may have read an earlier state.
    pub(super) outdated: bool,
    /// A process of the resource ended during a start or a probe, which may have missed it.
    pub(super) doubted: bool,
    pub(super) monitor_due: Option<Boottime>,
    pub(super) failures: Failures,
}

impl Resource {
    pub(super) fn new(plan: ResourcePlan) -> Self {
        Self {
            plan,
            known: Known::Nothing,
            in_flight: None,
            cleaned: false,
            ran: false,
            missing: false,
            unseen_until: None,
            enabled: true,
            restart: false,
            blocked: false,
            outdated: false,
            doubted: false,
            monitor_due: None,
            failures: Failures::default(),
        }
    }

    pub(super) fn state(&self) -> ResourceState {
        match (self.action(), self.known) {
            _ if self.lingers() => ResourceState::Blocked,
            (Some(Action::Start), _) => ResourceState::Starting,
            (Some(Action::Stop), _) => ResourceState::Stopping,
            (_, Known::Nothing) => ResourceState::Unknown,
            (_, Known::Stopped) => ResourceState::Stopped,
            (_, Known::Running) => ResourceState::Started,
            (_, Known::Unsure) => ResourceState::Failed,
            (_, Known::Stuck) => ResourceState::Blocked,
        }
    }

    /// The action that was begun and has not ended.
    pub(super) fn action(&self) -> Option<Action> {
        self.in_flight.map(|in_flight| in_flight.action)
    }

    /// Whether the action in flight was killed and does not end.
    pub(super) fn lingers(&self) -> bool {
        self.in_flight.is_some_and(|in_flight| in_flight.lingers)
    }

    /// Begins an action.
    pub(super) fn begins(&mut self, action: Action, now: Boottime) {
        self.in_flight = Some(InFlight {
            action,
            overdue_at: now.after(self.plan.timeout(action).saturating_add(OVERDUE)),
            lingers: false,
        });
        self.ran |= action == Action::Start;
        self.missing = false;
    }

    /// Records that the action in flight was killed, and may never end.
    pub(super) fn linger(&mut self, now: Boottime) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.lingers = true;
            in_flight.overdue_at = now;
        }
    }

    /// The time at which the action in flight counts as a stop that may never end, unless that was
    /// reported already. `stopping`: all of the group must stop, and waits for starts and probes,
    /// too.
    pub(super) fn overdue_at(&self, stopping: bool) -> Option<Boottime> {
        let in_flight = self.in_flight?;
        let holds_up = match in_flight.action {
            Action::Stop => true,
            // Nothing else begins before it ends.
            Action::Start if in_flight.lingers => true,
            Action::Start | Action::Probe => stopping,
            Action::Monitor => false,
        };
        (holds_up && !self.blocked).then_some(in_flight.overdue_at)
    }

    /// The time of the next probe, if one is due.
    pub(super) fn probe_due(&self, now: Boottime) -> Option<Boottime> {
        let is_due = self.known == Known::Nothing && self.in_flight.is_none();
        is_due.then(|| self.unseen_until.unwrap_or(now))
    }

    /// Whether a probe could not be executed.
    pub(super) fn is_unseen(&self) -> bool {
        self.known == Known::Nothing && self.unseen_until.is_some()
    }

    /// Records a probe that could not be executed: the state stays unknown. `barred`: this node
    /// must not have the group until the state is known.
    pub(super) fn unseen(&mut self, barred: bool, now: Boottime) {
        self.known = Known::Nothing;
        self.unseen_until = Some(now.after(PROBE_PAUSE));
        if barred {
            self.failures.add(true, &self.plan, now);
        }
    }

    /// Records a probe with a result. The reason for the earlier lack of a result is over.
    pub(super) fn seen(&mut self) {
        if self.unseen_until.take().is_some() {
            self.failures.forget();
        }
    }

    /// Records that the resource is not installed on this node, and so cannot run.
    pub(super) fn not_installed(&mut self, now: Boottime) {
        self.stopped();
        self.missing = true;
        self.failures.add(true, &self.plan, now);
    }

    /// Forgets the failures of the resource.
    pub(super) fn forget_failures(&mut self) {
        self.failures.forget();
        self.unseen_until = None;
        // The resource may have been installed meanwhile.
        if std::mem::take(&mut self.missing) && self.known == Known::Stopped {
            self.probe_anew();
        }
    }

    pub(super) fn forget_outdated(&mut self, now: Boottime) {
        let end = self.failures.end(self.plan.failure_timeout);
        if end.is_some_and(|end| end <= now) && !self.is_unseen() {
            self.forget_failures();
        }
    }

    /// Whether the resource runs, and no restart is wanted.
    pub(super) fn is_kept(&self) -> bool {
        self.known == Known::Running && !self.restart
    }

    /// Records that the resource was seen running.
    pub(super) fn runs(&mut self, now: Boottime) {
        self.ran = true;
        // A resource whose stop failed must be stopped, whatever else is wanted of it.
        self.known = match self.blocked {
            true => Known::Unsure,
            false => Known::Running,
        };
        self.monitor_in_turn(now);
        if std::mem::take(&mut self.doubted) {
            self.monitor_due = Some(now);
        }
    }

    /// Records that the agent ran, and cannot determine the state.
    pub(super) fn may_run(&mut self) {
        self.known = Known::Unsure;
        self.ran = true;
    }

    /// Records that the resource was seen stopped.
    pub(super) fn stopped(&mut self) {
        self.known = Known::Stopped;
        self.ran = false;
        self.restart = false;
        self.blocked = false;
    }

    pub(super) fn monitor_in_turn(&mut self, now: Boottime) {
        self.monitor_due = self
            .plan
            .monitor_interval
            .map(|interval| now.after(interval));
    }

    /// Marks the known state as outdated, so that a probe follows. No probe follows if the action
    /// in flight will show the state, or if only the operator may end it.
    pub(super) fn probe_anew(&mut self) {
        match self.action() {
            Some(Action::Start | Action::Stop) => {}
            _ if self.known == Known::Stuck => {}
            other => {
                self.known = Known::Nothing;
                self.outdated = other == Some(Action::Probe);
            }
        }
    }
}
