//! The condition of this node as the control task has it: load, health checks, and possible causes
//! of delays.

use std::time::Duration;

use heartbeat_common::{time::Boottime, wire::Health};

use crate::{
    control::protocol::{self, FailingCheck},
    health::{State, Status, Sum},
    load::{
        Reading, Source,
        late::{self, Explanation, Host, Pulse},
    },
};

#[derive(Debug, Default)]
pub(super) struct Vitals {
    reading: Option<Reading>,
    sum: Sum,
    checks: Vec<Status>,
    host: Host,
    /// The number of ticks that the pulse had missed at the last sample of the host.
    missed: u64,
    /// The last long pause in which the control task got no processor.
    starved: Option<protocol::Starved>,
}

impl Vitals {
    pub(super) fn starved(&mut self, starved: protocol::Starved) {
        self.starved = Some(starved);
    }

    pub(super) fn show_starved(&self) -> Option<protocol::Starved> {
        self.starved.clone()
    }

    pub(super) fn measured(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }

    pub(super) fn summed(&mut self, sum: Sum) {
        self.sum = sum;
    }

    pub(super) fn checked(&mut self, checks: Vec<Status>) {
        self.checks = checks;
    }

    /// Records a sample of the host, and the number of ticks that the pulse had missed by then.
    pub(super) fn host_sampled(&mut self, host: Host, missed: u64) {
        (self.host, self.missed) = (host, missed);
    }

    pub(super) fn health(&self) -> Health {
        self.sum.health
    }

    /// The load that heartbeats carry; absent before the first sample.
    pub(super) fn load(&self) -> Option<u16> {
        self.reading.map(|reading| reading.load)
    }

    pub(super) fn steal(&self) -> Duration {
        self.host.steal
    }

    /// Returns the explanation of the delay `late`, after `missed` ticks since the start.
    pub(super) fn lateness(&self, late: Duration, missed: u64) -> Explanation {
        let pulse = Pulse {
            worst: late,
            missed: missed.saturating_sub(self.missed),
        };
        late::explain(self.host, pulse)
    }

    /// Returns the failing checks, for the peers.
    pub(super) fn failing(&self) -> Vec<FailingCheck> {
        let failing = self.checks.iter().filter(|check| {
            // The same rule as for the sum: a fatal check without a result counts as failing.
            self.sum.health.fails(check.number)
        });
        let failing = failing.map(|check| FailingCheck {
            name: check.name.clone(),
            message: match check.state {
                State::Unknown => "no result yet".to_owned(),
                State::Well | State::Failing => check.message.clone(),
            },
        });
        failing.collect()
    }

    /// Returns the message of the first failing check.
    pub(super) fn complaint(&self) -> Option<String> {
        let first = self.failing().into_iter().next();
        first.map(|check| check.message)
    }

    pub(super) fn show_load(&self) -> Option<protocol::Load> {
        let reading = self.reading?;
        let pressure = matches!(reading.source, Source::Host | Source::Cgroup);
        let part = |part| pressure.then_some(part);
        Some(protocol::Load {
            load: reading.load,
            raw: reading.raw,
            source: reading.source.as_str().to_owned(),
            cpu_some: part(reading.cpu_some),
            cpu_full: part(reading.cpu_full),
            memory_some: part(reading.memory_some),
            memory_full: part(reading.memory_full),
            io_some: part(reading.io_some),
            io_full: part(reading.io_full),
        })
    }

    pub(super) fn show_checks(&self, now: Boottime) -> Vec<protocol::Check> {
        let show = |check: &Status| protocol::Check {
            name: check.name.clone(),
            kind: check.kind.to_owned(),
            failure: check.meaning.as_str().to_owned(),
            state: check.state.as_str().to_owned(),
            since_ns: now.since(check.since).as_nanos() as u64,
            message: check.message.clone(),
        };
        self.checks.iter().map(show).collect()
    }
}
