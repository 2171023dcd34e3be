//! The status of the cluster, as `heartbeat status` shows it, with the state of the pulse.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::time::Boottime;

use super::{View, described};
use crate::{
    clock,
    control::protocol,
    dataplane::Dataplane,
    pulse::realtime::{Granted, Scheduling},
};

impl View {
    pub(in crate::agent) fn status(
        &self,
        dataplane: &Dataplane,
    ) -> anyhow::Result<protocol::Status> {
        let config = &self.config;
        let now = clock::now();
        let counters = dataplane.counters()?;
        let voters = self.stats.voters.load(Relaxed) as usize;
        let claiming_version =
            Some(self.local.read().claiming_version).filter(|version| *version != 0);
        Ok(protocol::Status {
            schema_version: protocol::SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: config.cluster.clone(),
            port: config.port,
            instance: config.instance.clone(),
            node: config.local().name.clone(),
            pid: std::process::id(),
            at_ns: now.as_nanos(),
            uptime_ns: now.since(self.started).as_nanos() as u64,
            interval_ns: config.interval.as_nanos() as u64,
            timeout_ns: config.timeout.as_nanos() as u64,
            lease_ns: config.lease.as_nanos() as u64,
            state: self.state.name().to_owned(),
            quorum: protocol::Quorum {
                quorate: self.quorate,
                alive: self.stats.alive.load(Relaxed) as usize,
                needed: voters / 2 + 1,
                configured: voters,
            },
            config_version: config.version,
            claiming_version,
            counted_version: claiming_version,
            pulse: self.pulse(now, dataplane.votes_lost()?),
            load: self.vitals.show_load(),
            health: self.vitals.show_checks(now),
            nodes: config
                .nodes
                .iter()
                .map(|node| self.node(node, now))
                .collect(),
            vips: self.vips(now),
            maintenance: self.groups.maintenance(),
            config: self.digest(),
            keys: Some(described(&self.keys)),
            groups: config
                .groups
                .iter_enumerated()
                .filter(|(_, group)| !group.is_removed())
                .map(|(index, group)| self.group(index, group, now))
                .collect(),
            failures: self.groups.failures(),
            counters: counters
                .into_iter()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            socket_guard: self.socket_guard.clone(),
            confinement: Some(self.confinement.clone()),
            // The control task fills in this count.
            witness_commands: 0,
            decisions_lost: self.groups.lost_decisions().is_some(),
        })
    }

    fn pulse(&self, now: Boottime, votes_lost: u64) -> protocol::Pulse {
        let stats = &self.stats;
        let rows = self.rows.numbers();
        let stalled = self
            .local_stall_since
            .map_or(Duration::ZERO, |since| now.since(since));
        let granted = stats.granted.get();
        let scheduling = granted.map_or(Scheduling::Ordinary, |granted| granted.scheduling);
        let (runtime, period) = scheduling.reserved();
        let refused = granted.map(Granted::reason);
        let local_stalls = protocol::LocalStalls {
            local_stall: stats.local_stall.load(Relaxed),
            local_stall_count: stats.local_stalls.load(Relaxed),
            local_stall_ns: (self.local_stall_for + stalled).as_nanos() as u64,
        };
        protocol::Pulse {
            scheduling: scheduling.name().to_owned(),
            realtime_priority: scheduling.priority(),
            runtime_ns: runtime.as_nanos() as u64,
            period_ns: period.as_nanos() as u64,
            overruns: stats.overruns.load(Relaxed),
            scheduling_refused: refused.filter(|refused| !refused.is_empty()),
            memory_locked: stats.memory_locked.load(Relaxed),
            ticks: stats.ticks.load(Relaxed),
            missed_ticks: stats.missed_ticks.load(Relaxed),
            late_ticks: stats.late_ticks.load(Relaxed),
            max_lateness_ns: stats.max_lateness_ns.load(Relaxed),
            local_stalls,
            former: local_stalls.into(),
            send_errors: stats.send_errors.load(Relaxed),
            events_lost: rows.map(|row| self.rows.row(row).events_lost).sum(),
            votes_lost,
            steal_ms: self.vitals.steal().as_millis() as u64,
            starved: self.vitals.show_starved(),
        }
    }
}
