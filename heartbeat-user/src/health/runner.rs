//! One check, again and again.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    Means, Verdict,
    board::Board,
    disk::Disks,
    interface,
    look::{Eye, Looking},
    process,
};
use crate::{
    config::{HealthCheck, HealthKind},
    process::Program,
};

/// However short an interval is: others want to do something, too.
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
    /// Never ends. Can be dropped at any await; a program that runs then is killed.
    pub(super) fn run(
        self,
        means: &Means,
        disks: &Disks,
    ) -> impl Future<Output = ()> + Send + 'static {
        let means = means.clone();
        let disks = disks.clone();
        async move {
            let eye = match &self.check.kind {
                HealthKind::Process(name) => return process::run(&self, name, means).await,
                HealthKind::Interface(name) => return interface::run(&self, name).await,
                HealthKind::Exec(line) => Eye::Exec(Program::of(line), self.check.timeout),
                HealthKind::Tcp(address) => Eye::Tcp(*address),
                HealthKind::Http(target) => Eye::Http(target.clone()),
                HealthKind::Disk(directory) => Eye::Disk {
                    thread: disks.thread(directory),
                    directory: directory.clone(),
                    mark: means.mark,
                },
            };
            self.repeat(eye).await;
        }
    }

    async fn repeat(&self, eye: Eye) {
        loop {
            self.judge(eye.look(), eye.may_hang()).await;
            self.pause().await;
        }
    }

    /// Counts the end of a look, or that it takes too long. One that `may_hang` is waited for even then, and
    /// counted as bad again after each interval: there is never a second one beside it.
    async fn judge(&self, mut looking: Looking, may_hang: bool) {
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

    /// What a look that keeps its limit by itself may take beyond it.
    fn slack(&self) -> Duration {
        match self.check.kind {
            HealthKind::Exec(_) => super::look::KILLING,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn note(&self, verdict: Verdict) {
        self.board.look(self.ticket, verdict);
    }

    pub(super) fn interval(&self) -> Duration {
        self.check.interval.max(SHORTEST_PAUSE)
    }

    pub(super) async fn pause(&self) {
        sleep(self.interval()).await;
    }
}
