//! Repeated faults of the owner under a client's requests: the gaps of the client, and whether two
//! nodes ever answered.

use std::{env, fmt, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use heartbeat_common::time::Boottime;

use super::{
    EventLog, GRACE, MILLISECOND, SOON, availability::longest_silence, guards::GuardWatch,
    kernel::guard, machine_stalls::MachineStalls, ownership::overlaps,
};
use crate::{
    Cluster, Fault,
    client::{Answer, Client, Record},
    node::Node,
    sys::boottime,
    wait_until,
};

/// The variable with the number of runs of each fault.
const RUNS: &str = "HEARTBEAT_LEASE_RUNS";
/// The variable with the seconds for which the machine is starved.
const STARVE: &str = "HEARTBEAT_STARVE_SECS";
/// The variable with the seconds of random faults.
const SOAK: &str = "HEARTBEAT_SOAK_SECS";
/// The time for which one node must have served alone before the next run.
const SETTLED: Duration = Duration::from_millis(400);
/// The time for which a successor must have served alone.
const STEADY: Duration = Duration::from_millis(100);

/// The number of runs of each fault.
pub fn runs() -> Result<u64> {
    setting(RUNS, 2)
}

/// The time for which the machine is starved: `default` seconds, unless the variable is set.
pub fn starve_time(default: u64) -> Result<Duration> {
    setting(STARVE, default).map(Duration::from_secs)
}

/// The time of random faults: `default` seconds, unless the variable is set.
pub fn soak_time(default: u64) -> Result<Duration> {
    setting(SOAK, default).map(Duration::from_secs)
}

fn setting(variable: &str, default: u64) -> Result<u64> {
    match env::var(variable) {
        Ok(number) => number
            .parse()
            .with_context(|| format!("{variable}={number} is no number")),
        Err(_) => Ok(default),
    }
}

/// A trial: the records of a client and the events of the agents since it began.
#[derive(Debug)]
pub struct Trial {
    name: &'static str,
    /// The group whose lease lets a node answer.
    group: &'static str,
    pub client: Client,
    pub event_log: EventLog,
    guards: GuardWatch,
    stalls: MachineStalls,
    gaps: Vec<Duration>,
}

impl Trial {
    /// Begins a trial with a cluster that is well.
    pub fn begin(name: &'static str, cluster: &Cluster) -> Result<Self> {
        Self::of("service", name, cluster.client(MILLISECOND)?, cluster)
    }

    /// Begins a trial of another group, which answers `client`.
    pub fn of(
        group: &'static str,
        name: &'static str,
        client: Client,
        cluster: &Cluster,
    ) -> Result<Self> {
        Ok(Self {
            name,
            group,
            client,
            event_log: EventLog::begin(cluster)?,
            guards: GuardWatch::begin(cluster)?,
            stalls: MachineStalls::begin()?,
            gaps: Vec::new(),
        })
    }

    /// Waits until all is well and one node serves, and returns it.
    pub fn settle(&self, cluster: &mut Cluster) -> Result<String> {
        let mut owner = None;
        let mut reason = String::new();
        wait_until(2 * SOON, "all is well and one node serves", || {
            owner = self.client.steady(SETTLED);
            reason = match &owner {
                Some(owner) => cluster.complaints(owner)?,
                None => "nobody serves steadily".to_owned(),
            };
            Ok(reason.is_empty())
        })
        .with_context(|| reason)?;
        let owner = owner.context("nobody serves")?;
        Ok((*owner).to_owned())
    }

    /// Collects the new events of all agents.
    pub fn listen(&mut self, cluster: &Cluster) -> Result<()> {
        for node in cluster.nodes().iter().filter(|node| node.agent.is_some()) {
            self.event_log.listen(cluster, &node.name)?;
        }
        Ok(())
    }

    /// Injects `fault` at `victim`, and returns the instant.
    pub fn strike(
        &mut self,
        cluster: &mut Cluster,
        victim: &str,
        fault: Fault,
    ) -> Result<Boottime> {
        // The events of a killed agent are lost.
        self.listen(cluster)?;
        let at = boottime();
        cluster.inject(victim, fault)?;
        Ok(at)
    }

    /// Waits until another node than `victim` serves, and records the gap since `at`, which must
    /// not be longer than a failover of an address.
    pub fn succeeded(&mut self, cluster: &Cluster, victim: &str, at: Boottime) -> Result<Duration> {
        let gap = self.another_serves(victim, at)?;
        self.within(cluster, Some(victim), 2 * cluster.lease(), gap, at)?;
        Ok(gap)
    }

    /// Waits until another node than `victim` serves, for a group whose start has no bound.
    pub fn another_serves(&mut self, victim: &str, at: Boottime) -> Result<Duration> {
        wait_until(SOON, &format!("another node than {victim} serves"), || {
            let owner = self.client.steady(STEADY);
            Ok(owner.is_some_and(|owner| *owner != *victim))
        })?;
        let gap = longest_silence(&self.client, at);
        self.note(gap);
        Ok(gap)
    }

    /// Checks that the gap since `since` is not longer than a lease: so it is after a planned move,
    /// and after events that need no failover. Returns the gap.
    pub fn within_a_lease(&mut self, cluster: &Cluster, since: Boottime) -> Result<Duration> {
        let gap = longest_silence(&self.client, since);
        self.within(cluster, None, cluster.lease(), gap, since)?;
        Ok(gap)
    }

    /// Checks that the gap since `since` is not longer than half a lease, the bound of a planned
    /// move on slow links.
    pub fn within_half_a_lease(&mut self, cluster: &Cluster, since: Boottime) -> Result<Duration> {
        let gap = longest_silence(&self.client, since);
        self.within(cluster, None, cluster.lease() / 2, gap, since)?;
        Ok(gap)
    }

    /// Checks that the gap is not longer than `promised`, the machine's stalls, and the time that
    /// the kernel took to add the address, whose lock others may hold. The agent of `victim` may
    /// not answer.
    fn within(
        &mut self,
        cluster: &Cluster,
        victim: Option<&str>,
        promised: Duration,
        gap: Duration,
        since: Boottime,
    ) -> Result<()> {
        let stood = self.stalls.since(since);
        let speaks = |node: &&Node| node.agent.is_some() && Some(&*node.name) != victim;
        for node in cluster.nodes().iter().filter(speaks) {
            self.event_log.listen(cluster, &node.name)?;
        }
        let address = self.event_log.longest_for_an_address(since);
        ensure!(
            address <= GRACE,
            "the kernel took {address:?} for the address"
        );
        let most = promised + address + stood;
        ensure!(
            gap <= most,
            "nobody served for {gap:?}, and at most {most:?} are right: the address took \
             {address:?}, the machine stood still for {stood:?}"
        );
        Ok(())
    }

    /// The stalls of this machine since `from`, by which a bound may be widened.
    pub fn stood_still(&self, from: Boottime) -> Duration {
        self.stalls.since(from)
    }

    /// The pairs of guards that were open at one time since the last call.
    pub fn open_together(&self) -> Vec<String> {
        self.guards.overlaps()
    }

    /// Records the gap after a fault.
    pub fn note(&mut self, gap: Duration) {
        self.gaps.push(gap);
    }

    /// Undoes the fault.
    pub fn heal(&mut self, cluster: &mut Cluster, victim: &str, fault: Fault) -> Result<()> {
        cluster.heal(victim, fault)?;
        if fault == Fault::Kill {
            wait_until(SOON, &format!("the agent of {victim} runs again"), || {
                cluster.check_agents()?;
                Ok(cluster.node(victim)?.control.status().is_ok())
            })?;
        }
        Ok(())
    }

    /// Checks that `node`, whose agent does not run, gave no answer after its guard had closed.
    pub fn silent_since_closed(&self, node: &Node) -> Result<()> {
        let closed = Boottime::from_nanos(guard(node)?.open_until);
        ensure!(closed <= boottime(), "the guard of {} is open", node.name);
        let late = self.answers(|answer| *answer.node == *node.name && answer.given > closed);
        ensure!(
            late.is_empty(),
            "{} answered after its guard had closed at {closed}: {late:#?}",
            node.name
        );
        Ok(())
    }

    /// The answers so far that `wanted` accepts.
    fn answers(&self, wanted: impl Fn(&Answer) -> bool) -> Vec<Answer> {
        self.client.with_records(|records| {
            let all = records.iter().flat_map(Record::answers);
            all.filter(|answer| wanted(answer)).cloned().collect()
        })
    }

    /// Checks that no node answered while another was the owner, and that no two guards were open
    /// at a time. Prints a summary.
    pub fn finish(mut self, cluster: &Cluster) -> Result<Summary> {
        self.listen(cluster)?;
        let acquisitions = self.event_log.acquisitions(self.group);
        let answers = self.answers(|_| true);
        let overlaps = overlaps(&answers, &acquisitions);
        if !overlaps.is_empty() {
            let number = overlaps.len();
            bail!("{number} answers of two owners: {overlaps:#?}, {acquisitions:#?}");
        }
        self.guards.end()?;
        self.gaps.sort_unstable();
        let summary = Summary {
            name: self.name,
            gaps: self.gaps,
            answers: answers.len(),
            acquisitions: acquisitions.len(),
        };
        // Straight to the stream: libtest holds back what the print macros say in a test that
        // passes.
        let _ = writeln!(std::io::stderr(), "{summary}");
        Ok(summary)
    }
}

/// The result of a trial without overlaps.
#[derive(Clone, Debug)]
pub struct Summary {
    name: &'static str,
    /// The gaps, in order.
    gaps: Vec<Duration>,
    answers: usize,
    /// The number of acquisitions of the lease, including those on the way back.
    pub acquisitions: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            gaps,
            answers,
            acquisitions,
        } = self;
        write!(f, "{name}: ")?;
        if let Some(last) = gaps.len().checked_sub(1) {
            // Quantiles are by the nearest rank.
            let quantile = |percent: usize| gaps[(gaps.len() * percent).div_ceil(100) - 1];
            let millis = |gap: Duration| gap.as_secs_f64() * 1e3;
            write!(
                f,
                "gap p50/p99/max = {:.1}/{:.1}/{:.1} ms in {} runs, ",
                millis(quantile(50)),
                millis(quantile(99)),
                millis(gaps[last]),
                gaps.len()
            )?;
        }
        write!(
            f,
            "{answers} answers, 0 overlaps, {acquisitions} acquisitions"
        )
    }
}
