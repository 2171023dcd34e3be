//! Runs one check of any kind repeatedly.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    Sampling, Verdict,
    board::Board,
    sampler::{KILLING, Sampler},
};
use crate::config::{HealthCheck, HealthKind};

/// The shortest pause between two runs, whatever the interval: other tasks need the processor, too.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// A running check.
#[derive(Debug)]
pub(super) struct Runner {
    pub board: Arc<Board>,
    pub ticket: u64,
    pub number: usize,
    pub check: HealthCheck,
}

impl Runner {
    /// Runs `sampler` repeatedly. Never ends.
    pub(super) async fn repeat(&self, sampler: Sampler) {
        loop {
            self.judge(sampler.sample(), sampler.may_hang()).await;
            self.pause().await;
        }
    }

    /// Adds the result of a check, or a failure if it takes too long. A check that `may_hang` is
    /// still awaited, and fails again after each interval, so a second one never runs beside it.
    async fn judge(&self, mut sampling: Sampling, may_hang: bool) {
        let began = Instant::now();
        let limit = self.check.timeout;
        let verdict = timeout(limit.saturating_add(self.slack()), &mut sampling).await;
        if let Ok(verdict) = verdict {
            self.note(verdict);
            return;
        }
        self.note(Err(format!("took longer than {limit:?}")));
        while may_hang && timeout(self.interval(), &mut sampling).await.is_err() {
            let seconds = began.elapsed().as_secs();
            self.note(Err(format!("hangs since {seconds} s")));
        }
    }

    /// Extra time for a check that enforces its limit itself.
    fn slack(&self) -> Duration {
        match self.check.kind {
            HealthKind::Exec(_) => KILLING,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn note(&self, verdict: Verdict) {
        self.board.sample(self.ticket, verdict);
    }

    pub(super) fn interval(&self) -> Duration {
        self.check.interval.max(SHORTEST_PAUSE)
    }

    pub(super) async fn pause(&self) {
        sleep(self.interval()).await;
    }
}
