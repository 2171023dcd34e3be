//! How much this node has to do: the number from 0 to 1,000 that its heartbeats carry, and why this
//! node itself was late.
//!
//! Samples in intervals, on the tokio side; where a look hangs, only the number grows old. Knows nothing of
//! what the load decides.

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

/// Where a number came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// Pressure stall information of the host.
    #[default]
    Host,
    /// That of a cgroup.
    Cgroup,
    /// As asked for, or because the kernel has no pressure stall information.
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

/// The load, and what it was made of. All are per mille, 0 to 1,000; the parts are 0 where the source has
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Smoothed: what the heartbeats carry.
    pub load: u16,
    /// As it was seen last.
    pub raw: u16,
    /// How much of the last 10 s some task waited for a processor; `full` is that all did.
    pub cpu_some: u16,
    /// Always 0 for the whole host, of which it says nothing.
    pub cpu_full: u16,
    pub memory_some: u16,
    pub memory_full: u16,
    pub io_some: u16,
    pub io_full: u16,
    pub source: Source,
}

/// Measures the load, as the configuration says.
#[derive(Debug)]
pub struct Meter {
    look: Sampler,
    looks: Samples<Result<Sample, String>>,
    smooth: Smooth,
    /// When `smooth` was told last.
    told: Option<Instant>,
    last: Reading,
    /// Whether the last look failed, and that was said.
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
        let look = Sampler::new(source, interval);
        Self {
            last: Reading {
                source: look.source(),
                ..Reading::default()
            },
            look,
            looks: Samples::each(interval),
            smooth: Smooth::new(half_life),
            told: None,
            failing: false,
        }
    }

    /// The next reading: the first at once, each other an interval after the one before. Where a look
    /// fails, the last number stays, and the log says so once; before any has succeeded there is no reading.
    ///
    /// Cancel-safe: a look that is under way goes on, and the next call takes what it saw.
    pub async fn next(&mut self) -> Reading {
        loop {
            let seen = self.looks.next(|| self.look.begin()).await;
            match seen.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(Sample::Is { raw, parts }) => self.take(raw, &parts, Instant::now()),
                Ok(Sample::Nowhere) => {
                    log::warn!(
                        "load: this kernel has no pressure stall information (CONFIG_PSI, psi=1): going \
                         by the length of the run queue"
                    );
                    self.look.fall_back();
                    self.looks.at_once(self.look.begin());
                    continue;
                }
                Err(error) => self.fail(&error),
            }
            // Nobody is to take a load that was never read for none.
            if self.told.is_some() {
                return self.last;
            }
        }
    }

    fn take(&mut self, raw: u16, parts: &Pressures, now: Instant) {
        if self.failing {
            log::info!("load: {} can be read again", self.look);
        }
        self.failing = false;
        let elapsed = self.told.map_or(Duration::ZERO, |told| now - told);
        self.told = Some(now);
        self.last = Reading {
            load: self.smooth.next(raw, elapsed),
            raw,
            cpu_some: parts.cpu.some,
            cpu_full: parts.cpu.full,
            memory_some: parts.memory.some,
            memory_full: parts.memory.full,
            io_some: parts.io.some,
            io_full: parts.io.full,
            source: self.look.source(),
        };
    }

    fn fail(&mut self, error: &str) {
        if !self.failing {
            let meanwhile = match self.told {
                Some(_) => format!("it stays at {} per mille", self.last.load),
                None => {
                    "until it can be read, what was said last stands, or that this node is full"
                        .to_owned()
                }
            };
            log::warn!("load: {}: {error}; {meanwhile}", self.look);
        }
        self.failing = true;
    }
}

#[cfg(test)]
mod tests;
