//! How long an action may take, and how often a resource is looked at.

use std::time::Duration;

use crate::config::Resource;

/// Of an action for which neither the configuration nor the agent says one.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// From one monitor to the next, likewise.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// What applies to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub start: Duration,
    pub stop: Duration,
    /// Also of a probe.
    pub monitor: Duration,
    /// `None` is never.
    pub interval: Option<Duration>,
}

/// What the agent of a resource suggests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    pub start: Option<Duration>,
    pub stop: Option<Duration>,
    pub monitor: Option<Duration>,
    pub interval: Option<Duration>,
}

impl Timeouts {
    /// The configuration, else the advice, else the default.
    pub(super) fn of(resource: &Resource, advice: Advice) -> Self {
        let interval = resource.monitor_interval.or(advice.interval);
        let interval = interval.unwrap_or(INTERVAL);
        Self {
            start: resource.start_timeout.or(advice.start).unwrap_or(TIMEOUT),
            stop: resource.stop_timeout.or(advice.stop).unwrap_or(TIMEOUT),
            monitor: resource
                .monitor_timeout
                .or(advice.monitor)
                .unwrap_or(TIMEOUT),
            interval: (!interval.is_zero()).then_some(interval),
        }
    }
}
