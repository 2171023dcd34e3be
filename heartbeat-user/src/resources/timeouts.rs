//! The timeouts of actions and the intervals of monitors.

use std::time::Duration;

use crate::config::Resource;

/// Timeout of an action without one in the configuration or the meta-data.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Interval of a monitor without one in the configuration or the meta-data.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The timeouts and the interval of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub start: Duration,
    pub stop: Duration,
    /// Timeout of a monitor and of a probe.
    pub monitor: Duration,
    /// Interval of the monitor; `None` means never.
    pub interval: Option<Duration>,
}

/// The advice of a resource's agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    pub start: Option<Duration>,
    pub stop: Option<Duration>,
    pub monitor: Option<Duration>,
    pub interval: Option<Duration>,
}

impl Timeouts {
    /// Returns the configured value, else the advice, else the default.
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
