//! What heartbeat's agents report about a rung beyond the figures that each contender has.

use anyhow::Result;
use heartbeat_common::time::Boottime;
use heartbeat_core::group::{GroupEvent, Reason};
use heartbeat_user::control::protocol::{Event, EventKind, Pulse};
use serde::Serialize;

use crate::{Cluster, e2e::event_log::EventLog};

/// What the agents of a cluster report about a rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reports {
    /// Leases that ran out, including those that the owner acquired again at once.
    pub leases_lost: usize,
    /// Leases that an owner gave up for another reason, but to fail back.
    pub leases_given_up: usize,
    pub pulse: Lateness,
}

/// The timing of the pulses of all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// By policy, of each agent.
    pub scheduling: Vec<String>,
    /// Of the latest tick since the start of the agents.
    pub max_us: u64,
    /// Ticks that were late by half an interval or more.
    pub late_ticks: u64,
    pub missed_ticks: u64,
    /// Ticks, for comparison.
    pub ticks: u64,
    /// Local stalls of the agents.
    pub local_stalls: u64,
}

/// The agents at the begin of a rung.
#[derive(Debug)]
pub(super) struct Watch {
    log: EventLog,
    pulses: Vec<Pulse>,
}

impl Watch {
    pub(super) fn begin(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            log: EventLog::begin(cluster)?,
            pulses: pulses(cluster)?,
        })
    }

    /// The agents' reports from the begin to `until`.
    pub(super) fn end(mut self, cluster: &Cluster, until: Boottime) -> Result<Reports> {
        let mut reports = Reports {
            leases_lost: 0,
            leases_given_up: 0,
            pulse: Lateness::new(&self.pulses, &pulses(cluster)?),
        };
        for node in cluster.nodes() {
            self.log.listen(cluster, &node.name)?;
            for event in self.log.reported_by(&node.name) {
                if event.at_ns <= until.as_nanos() {
                    reports.count(event);
                }
            }
        }
        Ok(reports)
    }
}

fn pulses(cluster: &Cluster) -> Result<Vec<Pulse>> {
    let nodes = cluster.nodes().iter();
    nodes.map(|node| Ok(node.control.status()?.pulse)).collect()
}

impl Reports {
    fn count(&mut self, event: &Event) {
        let EventKind::Group { event, .. } = &event.what else {
            return;
        };
        match event {
            GroupEvent::LeaseAcquired { regained: true, .. }
            | GroupEvent::LeaseGivenUp(Reason::LeaseLost) => self.leases_lost += 1,
            GroupEvent::LeaseGivenUp(Reason::FailBack { .. }) => {}
            GroupEvent::LeaseGivenUp(_) => self.leases_given_up += 1,
            _ => {}
        }
    }
}

impl Lateness {
    /// Of the pulses of the same agents at the begin and at the end of a rung.
    fn new(before: &[Pulse], after: &[Pulse]) -> Self {
        let mut sum = Self::default();
        for (before, after) in before.iter().zip(after) {
            let since = |of: fn(&Pulse) -> u64| of(after).saturating_sub(of(before));
            sum.scheduling.push(after.scheduling.clone());
            sum.max_us = sum.max_us.max(after.max_lateness_ns / 1_000);
            sum.late_ticks += since(|pulse| pulse.late_ticks);
            sum.missed_ticks += since(|pulse| pulse.missed_ticks);
            sum.ticks += since(|pulse| pulse.ticks);
            sum.local_stalls += since(|pulse| pulse.local_stalls.local_stall_count);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_core::group::AcquisitionTimeline;

    use super::*;

    #[test]
    fn lease_that_ran_out_is_lost_even_if_it_is_acquired_again() {
        let at = Boottime::from_nanos;
        let acquired = |regained| {
            let timeline = AcquisitionTimeline {
                free: at(1),
                majority: at(2),
            };
            GroupEvent::LeaseAcquired { timeline, regained }
        };
        let back = Reason::FailBack { to: "a".to_owned() };
        let mut reports = Reports {
            leases_lost: 0,
            leases_given_up: 0,
            pulse: Lateness::default(),
        };
        for event in [
            acquired(true),
            acquired(false),
            GroupEvent::LeaseGivenUp(Reason::LeaseLost),
            GroupEvent::LeaseGivenUp(Reason::NodeUnfit),
            GroupEvent::LeaseGivenUp(back),
        ] {
            reports.count(&Event {
                schema_version: 1,
                number: 1,
                at_ns: 1,
                at_unix_ns: None,
                what: EventKind::Group {
                    group: "service".to_owned(),
                    event,
                },
            });
        }
        assert_eq!((reports.leases_lost, reports.leases_given_up), (2, 1));
    }
}
