//! The load of this node: the number from 0 to 1,000 that its heartbeats carry, and the reason of
//! its own stalls.
//!
//! The meter samples in intervals on the runtime. While a sample hangs, only the number gets old.
//! The decisions that use the load are elsewhere.

pub mod culprit;
pub mod late;
mod pressure;
mod run_queue;
mod sampler;
mod samples;
mod smooth;

use std::{fmt, time::Duration};

use tokio::time::Instant;

use self::{
    pressure::Pressures,
    sampler::{Sample, Sampler},
    samples::Samples,
    smooth::Smooth,
};
use crate::config;

/// The source of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// Pressure stall information of the host.
    #[default]
    Host,
    /// Pressure stall information of a control group.
    Cgroup,
    /// The run queue: by the configuration, or because the kernel has no pressure stall
    /// information.
    RunQueue,
    Command,
}

impl Source {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cgroup => "cgroup",
            Self::RunQueue => "run-queue",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The load and its parts. All are per mille, 0 to 1,000; the parts are 0 where the source has
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The smoothed load, which heartbeats carry.
    pub load: u16,
    /// The latest sample.
    pub raw: u16,
    /// Share of the last 10 s in which some task waited for a processor; `full`: in which all did.
    pub cpu_some: u16,
    /// Always 0 for the whole host, for which it is undefined.
    pub cpu_full: u16,
    pub memory_some: u16,
    pub memory_full: u16,
    pub io_some: u16,
    pub io_full: u16,
    pub source: Source,
}

/// Measures the load by the configuration.
#[derive(Debug)]
pub struct Meter {
    sampler: Sampler,
    samples: Samples<Result<Sample, String>>,
    smooth: Smooth,
    /// Time of the latest value of `smooth`.
    updated: Option<Instant>,
    last: Reading,
    /// Whether the last sample failed and the failure was logged.
    failing: bool,
}

impl Meter {
    /// Must be called inside a tokio runtime.
    pub fn new(load: config::Load) -> Self {
        let config::Load {
            source,
            interval,
            half_life,
            agent_check: _,
        } = load;
        let sampler = Sampler::new(source, interval);
        Self {
            last: Reading {
                source: sampler.source(),
                ..Reading::default()
            },
            sampler,
            samples: Samples::each(interval),
            smooth: Smooth::new(half_life),
            updated: None,
            failing: false,
        }
    }

    /// Returns the next reading: the first at once, each other an interval after the one before. If
    /// a sample fails, the last number stays, and the failure is logged once. Before the first
    /// success there is no reading.
    ///
    /// Cancel-safe: a sample under way continues, and the next call returns it.
    pub async fn next(&mut self) -> Reading {
        loop {
            let seen = self.samples.next(|| self.sampler.begin()).await;
            match seen.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(Sample::Is { raw, parts }) => self.take(raw, &parts, Instant::now()),
                Ok(Sample::Nowhere) => {
                    log::warn!(
                        "load: this kernel has no pressure stall information (CONFIG_PSI, psi=1): \
                         using the length of the run queue"
                    );
                    self.sampler.fall_back();
                    self.samples.at_once(self.sampler.begin());
                    continue;
                }
                Err(error) => self.fail(&error),
            }
            // A load that was never read must not count as none.
            if self.updated.is_some() {
                return self.last;
            }
        }
    }

    fn take(&mut self, raw: u16, parts: &Pressures, now: Instant) {
        if self.failing {
            log::info!("load: {} can be read again", self.sampler);
        }
        self.failing = false;
        let elapsed = self.updated.map_or(Duration::ZERO, |updated| now - updated);
        self.updated = Some(now);
        self.last = Reading {
            load: self.smooth.next(raw, elapsed),
            raw,
            cpu_some: parts.cpu.some,
            cpu_full: parts.cpu.full,
            memory_some: parts.memory.some,
            memory_full: parts.memory.full,
            io_some: parts.io.some,
            io_full: parts.io.full,
            source: self.sampler.source(),
        };
    }

    fn fail(&mut self, error: &str) {
        if !self.failing {
            let meanwhile = match self.updated {
                Some(_) => format!("it stays at {} per mille", self.last.load),
                None => "until it can be read, the last reported load applies, or the node counts \
                         as full"
                    .to_owned(),
            };
            log::warn!("load: {}: {error}; {meanwhile}", self.sampler);
        }
        self.failing = true;
    }
}

#[cfg(test)]
mod tests;
