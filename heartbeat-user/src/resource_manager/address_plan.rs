//! The timeouts and the monitor of an address. Its actions need no program.

use std::{num::NonZeroU32, time::Duration};

use heartbeat_core::resource::ResourcePlan;

use crate::config::Resource;

/// The time limit for an address: the network configuration answers at once, or not at all.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// The time between two monitors of an address.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Returns the plan of an address.
pub fn address_plan(resource: &Resource) -> ResourcePlan {
    let interval = resource.monitor_interval.unwrap_or(ADDRESS_INTERVAL);
    ResourcePlan {
        start_timeout: ADDRESS_TIMEOUT,
        stop_timeout: ADDRESS_TIMEOUT,
        monitor_timeout: ADDRESS_TIMEOUT,
        monitor_interval: Some(interval).filter(|interval| !interval.is_zero()),
        migration_threshold: NonZeroU32::new(resource.migration_threshold),
        failure_timeout: resource.failure_timeout,
    }
}
