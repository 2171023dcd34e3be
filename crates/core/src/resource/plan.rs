//! The configuration of a resource.

use std::{num::NonZeroU32, time::Duration};

use super::Action;

/// The times and limits of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourcePlan {
    pub start_timeout: Duration,
    pub stop_timeout: Duration,
    /// The timeout of a monitor, and of the probe.
    pub monitor_timeout: Duration,
    /// The time from the end of a start or a monitor to the next monitor. Without an interval there
    /// is no monitor.
    pub monitor_interval: Option<Duration>,
    /// The number of failures at which the group must leave the node. Without a threshold no number
    /// suffices.
    pub migration_threshold: Option<NonZeroU32>,
    /// The time without a new failure after which the failures are forgotten. Without one they
    /// count until an operator cleans up.
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
