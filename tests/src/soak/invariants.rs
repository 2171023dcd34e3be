//! Invariants, checked by the records of the client, the maps of the kernels and the events of the
//! agents.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;

use super::{
    schedule::Step,
    trouble::{self, NODES, Trouble},
};
use crate::{
    Cluster, Fault,
    client::{Answer, Record},
    e2e::{Trial, ownership::overlaps},
    sys::boottime,
    wait_until,
};

/// A group whose hand-over failed is held for up to a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// The longest gap of the client while nothing happens.
const QUIET_GAP: Duration = Duration::from_millis(500);
/// The longest gap of the client during a fault of one node.
const GAP: Duration = Duration::from_secs(10);

/// The observer of a run.
pub(super) struct Watch {
    trial: Trial,
    /// The instant since which all is well.
    calm: Boottime,
    /// The number of records that were judged already.
    judged: usize,
    judged_at: Boottime,
}

impl Watch {
    pub(super) fn begin(trial: Trial, cluster: &mut Cluster) -> Result<Self> {
        wait_first(&trial, cluster)?;
        Ok(Self {
            trial,
            calm: boottime(),
            judged: 0,
            judged_at: boottime(),
        })
    }

    /// Checks that all agents run that should.
    pub(super) fn check(&self, cluster: &mut Cluster) -> Result<()> {
        cluster.check_agents()
    }

    /// Collects the events of all nodes before a fault, which may lose those of its victim. Returns
    /// the instant at which it may begin.
    pub(super) fn strike(&mut self, cluster: &Cluster) -> Result<Boottime> {
        self.trial.listen(cluster)?;
        Ok(boottime())
    }

    /// Waits until all is well again.
    pub(super) fn settle(&mut self, cluster: &mut Cluster, step: &Step) -> Result<()> {
        if let Trouble::Restart { node }
        | Trouble::Fault {
            node,
            fault: Fault::Kill,
        } = step.trouble
        {
            trouble::wait_agent(cluster, node)?;
        }
        wait_first(&self.trial, cluster)?;
        self.calm = boottime();
        Ok(())
    }

    /// The longest gap since all was well, without the machine's stalls.
    pub(super) fn quiet_gap(&self) -> Duration {
        let stood = self.trial.stood_still(self.calm);
        self.gap_since(self.calm).saturating_sub(stood)
    }

    /// The longest gap since `from`, without the machine's stalls.
    pub(super) fn gap_since(&self, from: Boottime) -> Duration {
        let mut at: Vec<Boottime> = self.trial.client.with_records(|records| {
            let first = records.partition_point(|record| record.sent < from);
            let answers = records[first..].iter().flat_map(Record::answers);
            answers.map(|answer| answer.at).collect()
        });
        at.push(from);
        at.sort_unstable();
        let gaps = at.windows(2).map(|pair| pair[1].since(pair[0]));
        gaps.max().unwrap_or_default()
    }

    /// The invariants that did not hold in a step that began at `began` and has ended.
    pub(super) fn judge(
        &mut self,
        cluster: &Cluster,
        step: &Step,
        began: Boottime,
    ) -> Result<Vec<String>> {
        self.trial.listen(cluster)?;
        // The guards are watched all the time, also while a fault begins, ends and settles.
        let mut failures = self.trial.open_together();
        let acquisitions = self.trial.event_log.acquisitions("service");
        let judged = self.judged;
        let (answers, all): (Vec<Answer>, usize) = self.trial.client.with_records(|records| {
            let answers = records[judged..].iter().flat_map(Record::answers);
            (answers.cloned().collect(), records.len())
        });
        for answer in overlaps(&answers, &acquisitions) {
            failures.push(format!(
                "{answer:?} was given when another was the owner: {acquisitions:?}"
            ));
        }
        // Later answers to the last of them are judged with the next step.
        self.judged = all.saturating_sub(1_000).max(judged);
        let victim = step.trouble.victim();
        for report in self.trial.event_log.down_reports() {
            let hit = [&report.reporter, &report.node].map(|name| Some(name.as_str()) == victim);
            let at = Boottime::from_nanos(report.at_ns);
            let rightly = at >= began && hit.contains(&true);
            if report.state == "down" && at >= self.judged_at && !rightly {
                failures.push(format!("called down for nothing: {report:?}"));
            }
        }
        self.judged_at = boottime();
        let gap = self.gap_since(began);
        if gap > GAP {
            failures.push(format!("the client had no answer for {gap:?}"));
        }
        Ok(failures)
    }

    /// The number of answers that the client got.
    pub(super) fn answers(&self) -> usize {
        self.trial
            .client
            .with_records(|records| records.iter().flat_map(Record::answers).count())
    }

    /// Whether a gap is too long while nothing happens.
    pub(super) fn is_too_long(quiet_gap: Duration) -> bool {
        quiet_gap > QUIET_GAP
    }
}

/// Waits until all is well and the best node serves, so that nothing is about to move.
fn wait_first(trial: &Trial, cluster: &mut Cluster) -> Result<()> {
    let mut owner = String::new();
    wait_until(PATIENCE, "all is as at the beginning", || {
        owner = trial.settle(cluster)?;
        Ok(owner == NODES[0])
    })
    .with_context(|| format!("{owner} serves"))
}
