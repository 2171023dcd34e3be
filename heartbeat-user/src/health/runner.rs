//! One check, run again and again, whatever its kind.

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

/// A check that runs.
#[derive(Debug)]
pub(super) struct Runner {
    pub board: Arc<Board>,
    pub ticket: u64,
    pub number: usize,
    pub check: HealthCheck,
}

impl Runner {
    /// Checks by `eye`, again and again. Never ends.
    pub(super) async fn repeat(&self, eye: Sampler) {
        loop {
            self.judge(eye.sample(), eye.may_hang()).await;
            self.pause().await;
        }
    }

    /// Counts the result of a check, or that it takes too long. A check that `may_hang` is waited
    /// for even then, and counted as bad again after each interval: there is never a second one
    /// beside it.
    async fn judge(&self, mut looking: Sampling, may_hang: bool) {
        let began = Instant::now();
        let limit = self.check.timeout;
        let verdict = timeout(limit.saturating_add(self.slack()), &mut looking).await;
        if let Ok(verdict) = verdict {
            self.note(verdict);
            return;
        }
        self.note(Err(format!("took longer than {limit:?}")));
        while may_hang && timeout(self.interval(), &mut looking).await.is_err() {
            let seconds = began.elapsed().as_secs();
            self.note(Err(format!("hangs since {seconds} s")));
        }
    }

    /// The time beyond its limit that a check may take which keeps the limit by itself.
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
