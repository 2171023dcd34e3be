//! The steps of a takeover of an address and its Apache: their order and their instants, from the
//! events.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_user::control::protocol::{EventKind, GroupEvent, VipEvent};

use super::{ADDRESS, GROUP, SERVER};
use crate::e2e::EventLog;

/// The time from the fault to each step of a takeover.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub free: Duration,
    pub majority: Duration,
    pub address: Duration,
    pub apache: Duration,
}

impl Steps {
    /// The steps of `successor` after an event at `at`.
    pub fn of(event_log: &EventLog, successor: &str, at: Boottime) -> Result<Self> {
        let after = |ns: u64| Boottime::from_nanos(ns).since(at);
        let events = || {
            let told = event_log.reported_by(successor);
            told.filter(|event| Boottime::from_nanos(event.at_ns) >= at)
        };
        let (free, majority) = events()
            .find_map(|event| match &event.what {
                EventKind::Group {
                    group,
                    event: GroupEvent::LeaseAcquired { timeline, .. },
                } if group == GROUP => Some((
                    after(timeline.free.as_nanos()),
                    after(timeline.majority.as_nanos()),
                )),
                _ => None,
            })
            .with_context(|| format!("{successor} tells of no lease: {event_log:#?}"))?;
        let address = events()
            .find_map(|event| match &event.what {
                EventKind::Vip {
                    vip,
                    event: VipEvent::Takeover { address_ns, .. },
                } if vip == ADDRESS => Some(after(*address_ns)),
                _ => None,
            })
            .with_context(|| format!("{successor} tells of no address: {event_log:#?}"))?;
        let apache = events()
            .find_map(|event| match &event.what {
                EventKind::Resource {
                    resource, state, ..
                } if resource == SERVER && state == "started" => Some(after(event.at_ns)),
                _ => None,
            })
            .with_context(|| format!("{successor} tells of no Apache: {event_log:#?}"))?;
        Ok(Self {
            free,
            majority,
            address,
            apache,
        })
    }

    /// The median of each step.
    pub fn median(all: &[Self]) -> Option<Self> {
        let of = |step: fn(&Self) -> Duration| {
            let mut times: Vec<_> = all.iter().map(step).collect();
            times.sort_unstable();
            times.get(times.len().checked_sub(1)? / 2).copied()
        };
        Some(Self {
            free: of(|steps| steps.free)?,
            majority: of(|steps| steps.majority)?,
            address: of(|steps| steps.address)?,
            apache: of(|steps| steps.apache)?,
        })
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "lease free {:.1}, majority {:.1}, address {:.1}, Apache started {:.1} ms after",
            millis(self.free),
            millis(self.majority),
            millis(self.address),
            millis(self.apache)
        )
    }
}

/// Checks that on `node` Apache never started before the address, and that the address never
/// stopped before Apache. Returns the number of changes.
pub fn order_kept(event_log: &EventLog, node: &str) -> Result<usize> {
    let (mut address, mut server) = (None, None);
    let mut seen = 0;
    for event in event_log.reported_by(node) {
        match &event.what {
            // A new agent, which must probe first.
            EventKind::Started => (address, server) = (None, None),
            EventKind::Resource {
                resource, state, ..
            } if resource == ADDRESS => {
                let early = state == "stopping" && server.is_some_and(|state| state != "stopped");
                ensure!(
                    !early,
                    "{node} stopped the address under Apache: {event_log:#?}"
                );
                address = Some(state.as_str());
                seen += 1;
            }
            EventKind::Resource {
                resource, state, ..
            } if resource == SERVER => {
                let early = state == "starting" && address.is_some_and(|state| state != "started");
                ensure!(
                    !early,
                    "{node} started Apache without the address: {event_log:#?}"
                );
                server = Some(state.as_str());
                seen += 1;
            }
            _ => {}
        }
    }
    Ok(seen)
}
