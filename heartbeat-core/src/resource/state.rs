//! One resource of a group on this node: how it is to be treated, and what is known of it.

use std::{num::NonZeroU32, time::Duration};

use heartbeat_common::time::Boottime;

use super::{Action, run::Failures};

/// How a resource is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourcePlan {
    pub start_timeout: Duration,
    pub stop_timeout: Duration,
    /// Also that of the probe.
    pub monitor_timeout: Duration,
    /// From the end of a start or a monitor to the next monitor. Without one it is not monitored.
    pub monitor_interval: Option<Duration>,
    /// The group is to leave the node at this many failures. Without one no number is too many.
    pub migration_threshold: Option<NonZeroU32>,
    /// Failures are forgotten when none was added for this long. Without one they count until an
    /// operator cleans up.
    pub failure_timeout: Option<Duration>,
}

impl ResourcePlan {
    pub const fn timeout(&self, action: Action) -> Duration {
        match action {
            Action::Start => self.start_timeout,
            Action::Stop => self.stop_timeout,
            Action::Probe | Action::Monitor => self.monitor_timeout,
        }
    }
}

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

#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) plan: ResourcePlan,
    pub(super) known: Known,
    /// The action that was begun and has not ended.
    pub(super) in_flight: Option<Action>,
    /// The operator lets it run.
    pub(super) enabled: bool,
    /// The operator wants it to be stopped once.
    pub(super) restart: bool,
    /// A stop failed, and it was not seen to be stopped since.
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
            enabled: true,
            restart: false,
            blocked: false,
            outdated: false,
            doubted: false,
            monitor_due: None,
            failures: Failures::default(),
        }
    }

    pub(super) const fn state(&self) -> ResourceState {
        match (self.in_flight, self.known) {
            (Some(Action::Start), _) => ResourceState::Starting,
            (Some(Action::Stop), _) => ResourceState::Stopping,
            (_, Known::Nothing) => ResourceState::Unknown,
            (_, Known::Stopped) => ResourceState::Stopped,
            (_, Known::Running) => ResourceState::Started,
            (_, Known::Unsure) => ResourceState::Failed,
            (_, Known::Stuck) => ResourceState::Blocked,
        }
    }

    /// Whether it runs, and nothing about it asks for a stop.
    pub(super) fn is_kept(&self) -> bool {
        self.known == Known::Running && !self.restart
    }

    /// It was seen to run.
    pub(super) fn runs(&mut self, now: Boottime) {
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

    /// It was seen not to run.
    pub(super) fn stopped(&mut self) {
        self.known = Known::Stopped;
        self.restart = false;
        self.blocked = false;
    }

    pub(super) fn monitor_in_turn(&mut self, now: Boottime) {
        self.monitor_due = self
            .plan
            .monitor_interval
            .map(|interval| now.after(interval));
    }

    /// What was known of it may be outdated: it is to be probed, unless what is being done to it will
    /// tell, or only the operator may.
    pub(super) fn look_anew(&mut self) {
        match self.in_flight {
            Some(Action::Start | Action::Stop) => {}
            _ if self.known == Known::Stuck => {}
            other => {
                self.known = Known::Nothing;
                self.outdated = other == Some(Action::Probe);
            }
        }
    }
}
