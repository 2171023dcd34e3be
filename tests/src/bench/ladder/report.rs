//! The ladder's figures as JSON. Keys are only ever added.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{super::cpu::CpuUse, agents::Reports, rung::Rung, service::Service};
use crate::contender::Contender;

/// How the figures were got, for a reader without this code. One line each.
const METHOD: [&str; 4] = [
    "three nodes and an observer in network namespaces on one switch; all of them live on each \
     rung",
    "the observer asks all nodes each ms for the address (ICMP); their kernels answer, no process",
    "a gap is the time from the first question without an answer until the next answer",
    "CPU: of the processes of one node in percent of a core, without the kernel's work on packets",
];

/// The whole ladder.
#[derive(Clone, Debug, Serialize)]
pub struct Ladder {
    pub kernel: String,
    pub cores: usize,
    pub method: [&'static str; 4],
    pub contenders: Vec<Entry>,
    pub steps: Vec<Step>,
}

/// A contender.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub key: &'static str,
    pub settings: &'static str,
    pub version: String,
}

/// A rung with all contenders.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub rung: Rung,
    pub seconds: f64,
    pub rows: Vec<Row>,
}

/// A contender on a rung.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub key: &'static str,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The figures, or the reason why there are none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Measured(Box<Figures>),
    Failed(String),
}

/// The figures of a contender on a rung.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Absent for a contender that only detects.
    pub service: Option<Service>,
    /// Reports of any node that a live node is down.
    pub false_downs: u64,
    /// The longest delay of a daemon's own timer since its start, in milliseconds, if it tells.
    pub lateness_ms: Option<f64>,
    /// Of heartbeat only.
    pub agents: Option<Reports>,
    /// Of the processes of one node on average, in percent of a core.
    pub cpu_percent: f64,
    /// Of the whole machine.
    pub machine: CpuUse,
    /// Rounds that all stressors together completed: loops, blocks on the disk, mappings of memory
    /// and ticks of timers.
    pub stress_rounds: u64,
}

impl Ladder {
    pub(super) fn new(kernel: String, cores: usize) -> Self {
        Self {
            kernel,
            cores,
            method: METHOD,
            contenders: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Whether each contender was measured on each rung.
    pub fn is_complete(&self) -> bool {
        let mut rows = self.steps.iter().flat_map(|step| &step.rows);
        rows.all(|row| matches!(row.outcome, Outcome::Measured(_)))
    }
}

impl Step {
    pub(super) fn new(rung: Rung, length: Duration) -> Self {
        Self {
            rung,
            seconds: length.as_secs_f64(),
            rows: Vec::new(),
        }
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl Entry {
    pub(super) fn new(contender: &dyn Contender) -> Result<Self> {
        Ok(Self {
            key: contender.key(),
            settings: contender.settings(),
            version: contender.version()?,
        })
    }
}

impl Row {
    pub(super) fn measured(key: &'static str, figures: Figures) -> Self {
        Self {
            key,
            outcome: Outcome::Measured(Box::new(figures)),
        }
    }

    pub(super) fn failed(key: &'static str, error: &anyhow::Error) -> Self {
        Self {
            key,
            outcome: Outcome::Failed(format!("{error:#}")),
        }
    }
}
