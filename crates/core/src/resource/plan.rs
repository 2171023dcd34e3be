//! The part of the configuration that a resource is run by.

use std::{num::NonZeroU32, time::Duration};

use super::Action;

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
