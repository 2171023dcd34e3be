//! Groups that exceed their stop timeout without being reported as blocked.
//!
//! The resource manager reports a blocked group, but not while it hangs itself: it may wait for the
//! kernel's network configuration.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::time::Boottime;

use crate::pulse::PulseStats;
use heartbeat_core::index::GroupIndex;

/// The time beyond its timeout after which a stop is logged as overdue.
const MARGIN: Duration = Duration::from_secs(10);

/// The time since which each group should stop, and whether the delay has been logged.
#[derive(Debug, Default)]
pub(super) struct Overdue(HashMap<GroupIndex, (Boottime, bool)>);

impl Overdue {
    /// Logs each group whose stop is overdue, once.
    pub(super) fn check(
        &mut self,
        now: Boottime,
        stats: &PulseStats,
        name: impl Fn(GroupIndex) -> String,
    ) {
        // A stuck group has been reported already.
        let silent = |group: &GroupIndex| !stats.groups[*group].stuck.load(Relaxed);
        let stopping = stats.stopping().filter(silent).map(|group| {
            let limit = stats.groups[group].stop_timeout.load(Relaxed);
            (group, Duration::from_nanos(limit))
        });
        for (group, took) in self.due(now, &stopping.collect::<Vec<_>>()) {
            let (name, took) = (name(group), took.as_secs());
            log::error!(
                "group {name} has been stopping for {took} s, beyond its timeout, and is not \
                 reported as blocked: a start is still in progress, or the resource manager waits \
                 for the kernel's network configuration (`cat /proc/<agent>/task/*/stack` shows \
                 it). This node keeps the lease, so no other node starts the group"
            );
        }
    }

    /// Returns the newly overdue groups of `stopping` (each with its timeout), and the time for
    /// which each has been stopping.
    fn due(
        &mut self,
        now: Boottime,
        stopping: &[(GroupIndex, Duration)],
    ) -> Vec<(GroupIndex, Duration)> {
        self.0
            .retain(|group, _| stopping.iter().any(|(stops, _)| stops == group));
        let mut due = Vec::new();
        for (group, limit) in stopping {
            let (since, told) = self.0.entry(*group).or_insert((now, false));
            let took = now.since(*since);
            if took > limit.saturating_add(MARGIN) && !std::mem::replace(told, true) {
                due.push((*group, took));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreported_stop_is_logged_once_it_is_overdue() {
        let at = |seconds: u64| Boottime::default().after(Duration::from_secs(100 + seconds));
        let limit = Duration::from_secs(20);
        let mut overdue = Overdue::default();
        assert_eq!(overdue.due(at(0), &[(GroupIndex(3), limit)]), []);
        assert_eq!(
            overdue.due(at(30), &[(GroupIndex(3), limit), (GroupIndex(4), limit)]),
            []
        );
        let told = [(GroupIndex(3), Duration::from_secs(31))];
        assert_eq!(
            overdue.due(at(31), &[(GroupIndex(3), limit), (GroupIndex(4), limit)]),
            told
        );
        assert_eq!(
            overdue.due(at(32), &[(GroupIndex(3), limit), (GroupIndex(4), limit)]),
            []
        );
        // The group has stopped, and is stopped again later.
        assert_eq!(overdue.due(at(40), &[]), []);
        assert_eq!(overdue.due(at(100), &[(GroupIndex(3), limit)]), []);
        assert_eq!(overdue.due(at(131), &[(GroupIndex(3), limit)]), told);
    }
}
