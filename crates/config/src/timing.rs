//! The times in `[cluster]`, which bound each other from below.

use std::time::Duration;

use super::{
    duration::Show,
    read::{At, Section},
    settings::cluster::{self, DEFAULT_MAX_LEASE},
};

/// A real-time task that takes all processors leaves ordinary ones 50 ms of each second
/// (`sched_rt_runtime_us`): the control task, which gets so much, must not count as hung.
const DEFAULT_AGENT_STALL: Duration = Duration::from_secs(2);

/// The times that the cluster keeps.
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) agent_stall: Duration,
    pub(super) lease: Duration,
    pub(super) max_lease: Duration,
}

pub(super) fn read(section: &Section<'_>) -> Timing {
    let interval = cluster::INTERVAL.or_default(section);
    let timeout = timeout(section, interval);
    let lease = lease(section, interval);
    Timing {
        interval,
        timeout,
        agent_stall: agent_stall(section, timeout),
        lease,
        max_lease: max_lease(section, lease),
    }
}

fn timeout(section: &Section<'_>, interval: Duration) -> Duration {
    let (enough, three) = (Show(2 * interval), Show(3 * interval));
    let Some(At { value, at }) = cluster::TIMEOUT.read(section) else {
        return three.0;
    };
    if value < enough.0 {
        section.problem(
            at,
            format!("timeout {} is below two intervals, {enough}", Show(value)),
            format!(
                "write timeout = \"{three}\" (three intervals) or more, or shorten the interval"
            ),
        );
    } else if value < three.0 {
        section.warning(
            at,
            format!("timeout {} is below three intervals, {three}", Show(value)),
            "two probes lost in a row, or one and a short delay, will count as a dead link",
        );
    }
    value
}

fn agent_stall(section: &Section<'_>, timeout: Duration) -> Duration {
    let Some(At { value, at }) = cluster::AGENT_STALL.read(section) else {
        return DEFAULT_AGENT_STALL.max(timeout);
    };
    if value < timeout {
        section.problem(
            at,
            format!(
                "agent_stall {} is below the timeout, {}",
                Show(value),
                Show(timeout)
            ),
            format!("write agent_stall = \"{}\" or more", Show(timeout)),
        );
    }
    value
}

fn lease(section: &Section<'_>, interval: Duration) -> Duration {
    let (enough, usual) = (Show(3 * interval), Show(6 * interval));
    let Some(At { value, at }) = cluster::LEASE.read(section) else {
        return usual.0;
    };
    if value < enough.0 {
        section.problem(
            at,
            format!(
                "lease {} is below three intervals, {enough}: a lease must outlive two lost \
                 renewals",
                Show(value)
            ),
            format!("write lease = \"{usual}\" (six intervals) or more, or shorten the interval"),
        );
    }
    value
}

fn max_lease(section: &Section<'_>, lease: Duration) -> Duration {
    let Some(At { value, at }) = cluster::MAX_LEASE.read(section) else {
        return DEFAULT_MAX_LEASE.max(lease);
    };
    if value < lease {
        section.problem(
            at,
            format!(
                "max_lease {} is below the lease, {}: no node would grant it",
                Show(value),
                Show(lease)
            ),
            format!(
                "write max_lease = \"{}\" or more, or shorten the lease",
                Show(lease)
            ),
        );
    }
    value
}
