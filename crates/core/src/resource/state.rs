//! One resource of a group on this node: how it is to be treated, and what is known of it.

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Action, ResourcePlan, failures::Failures};

/// How much longer than its timeout an action may take, before whoever carries it out is taken to
/// hang: to end what does not end by itself takes some seconds.
const OVERDUE: Duration = Duration::from_secs(10);
/// What could not be looked at is tried again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a resource does on this node, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceState {
    /// Not looked at yet.
    Unknown,
    Stopped,
    Starting,
    Started,
    /// It may run, wholly or in part, and is to be stopped before anything else.
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

/// What is known of a resource, apart from what is being done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// To be probed.
    Nothing,
    Stopped,
    Running,
    /// It may run, wholly or in part: only a stop leads on.
    Unsure,
    /// It could not be stopped: only an operator leads on.
    Stuck,
}

/// An action that was begun and has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) action: Action,
    /// When it counts as one that may never end.
    overdue_at: Boottime,
    /// It was killed and does not end.
    pub(super) lingers: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) plan: ResourcePlan,
    pub(super) known: Known,
    /// The action that was begun and has not ended.
    pub(super) in_flight: Option<InFlight>,
    /// The operator looked at it meanwhile.
    pub(super) cleaned: bool,
    /// It was started, or seen to run or not to be well, and not seen to be stopped since.
    pub(super) ran: bool,
    /// A probe found that it is not installed.
    missing: bool,
    /// A probe could not be carried out. Another one follows then.
    unseen_until: Option<Boottime>,
    /// The operator lets it run.
    pub(super) enabled: bool,
    /// The operator wants it to be stopped once.
    pub(super) restart: bool,
    /// A stop failed or is overdue, and it was not seen to be stopped since.
    pub(super) blocked: bool,
    /// The probe in flight may have looked too early.
    pub(super) outdated: bool,
    /// A process of it ended while it was started or probed, which may have gone unnoticed.
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

    /// Whether that action was killed and does not end.
    pub(super) fn lingers(&self) -> bool {
        self.in_flight.is_some_and(|in_flight| in_flight.lingers)
    }

    /// An action begins.
    pub(super) fn begins(&mut self, action: Action, now: Boottime) {
        self.in_flight = Some(InFlight {
            action,
            overdue_at: now.after(self.plan.timeout(action).saturating_add(OVERDUE)),
            lingers: false,
        });
        self.ran |= action == Action::Start;
        self.missing = false;
    }

    /// What is in flight was killed, and may never end.
    pub(super) fn linger(&mut self, now: Boottime) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.lingers = true;
            in_flight.overdue_at = now;
        }
    }

    /// When what is in flight counts as a stop that may never end, unless that was said already.
    /// `stopping`: all of the group is to stop, and waits for starts and probes, too.
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

    /// When it is to be probed, if it is.
    pub(super) fn probe_due(&self, now: Boottime) -> Option<Boottime> {
        let is_due = self.known == Known::Nothing && self.in_flight.is_none();
        is_due.then(|| self.unseen_until.unwrap_or(now))
    }

    /// A probe could not be carried out.
    pub(super) fn is_unseen(&self) -> bool {
        self.known == Known::Nothing && self.unseen_until.is_some()
    }

    /// A probe could not be carried out: what it does is as unknown as before. `barred`: this node
    /// is not to have the group until it is known.
    pub(super) fn unseen(&mut self, barred: bool, now: Boottime) {
        self.known = Known::Nothing;
        self.unseen_until = Some(now.after(LOOK_AGAIN));
        if barred {
            self.failures.add(true, &self.plan, now);
        }
    }

    /// A probe told something. What kept it from telling before is over.
    pub(super) fn seen(&mut self) {
        if self.unseen_until.take().is_some() {
            self.failures.forget();
        }
    }

    /// It is not installed on this node, and so cannot run.
    pub(super) fn not_installed(&mut self, now: Boottime) {
        self.stopped();
        self.missing = true;
        self.failures.add(true, &self.plan, now);
    }

    /// Its failures count no longer.
    pub(super) fn forget_failures(&mut self) {
        self.failures.forget();
        self.unseen_until = None;
        // It may have been installed meanwhile.
        if std::mem::take(&mut self.missing) && self.known == Known::Stopped {
            self.look_anew();
        }
    }

    pub(super) fn forget_outdated(&mut self, now: Boottime) {
        let end = self.failures.end(self.plan.failure_timeout);
        if end.is_some_and(|end| end <= now) && !self.is_unseen() {
            self.forget_failures();
        }
    }

    /// Whether it runs, and nothing about it asks for a stop.
    pub(super) fn is_kept(&self) -> bool {
        self.known == Known::Running && !self.restart
    }

    /// It was seen to run.
    pub(super) fn runs(&mut self, now: Boottime) {
        self.ran = true;
        // Whose stop failed is to be stopped, whatever else is wanted of it.
        self.known = match self.blocked {
            true => Known::Unsure,
            false => Known::Running,
        };
        self.monitor_in_turn(now);
        if std::mem::take(&mut self.doubted) {
            self.monitor_due = Some(now);
        }
    }

    /// Its agent looked, and cannot tell.
    pub(super) fn may_run(&mut self) {
        self.known = Known::Unsure;
        self.ran = true;
    }

    /// It was seen not to run.
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

    /// What was known of it may be outdated: it is to be probed, unless what is being done to it
    /// will tell, or only the operator may.
    pub(super) fn look_anew(&mut self) {
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
