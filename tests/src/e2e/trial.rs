//! A fault that hits the owner again and again, under a client that asks all the time: how long it had
//! no answer, and whether two nodes ever answered.

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

/// How often each fault happens.
const RUNS: &str = "HEARTBEAT_LEASE_RUNS";
/// For how long a machine is starved, in seconds.
const STARVE: &str = "HEARTBEAT_STARVE_SECS";
/// For how long faults come by chance, in seconds.
const SOAK: &str = "HEARTBEAT_SOAK_SECS";
/// How long one node must have served alone for all to be as before.
const SETTLED: Duration = Duration::from_millis(400);
/// The same for a successor.
const STEADY: Duration = Duration::from_millis(100);

/// How often to let each fault happen.
pub fn runs() -> Result<u64> {
    setting(RUNS, 2)
}

/// For how long to starve a machine: `default` seconds unless told otherwise.
pub fn starve_time(default: u64) -> Result<Duration> {
    setting(STARVE, default).map(Duration::from_secs)
}

/// For how long faults come by chance: `default` seconds unless told otherwise.
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

/// What the client and the agents say since it began.
#[derive(Debug)]
pub struct Trial {
    name: &'static str,
    /// Whose lease lets a node answer.
    group: &'static str,
    pub client: Client,
    pub event_log: EventLog,
    guards: GuardWatch,
    stalls: MachineStalls,
    gaps: Vec<Duration>,
}

impl Trial {
    /// Begins with a cluster where all is well.
    pub fn begin(name: &'static str, cluster: &Cluster) -> Result<Self> {
        Self::of("service", name, cluster.client(MILLISECOND)?, cluster)
    }

    /// The same of another group than the rig's own, which answers `client`.
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

    /// Waits until all is well and one node serves; returns which.
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

    /// Takes over what all agents told.
    pub fn listen(&mut self, cluster: &Cluster) -> Result<()> {
        for node in cluster.nodes().iter().filter(|node| node.agent.is_some()) {
            self.event_log.listen(cluster, &node.name)?;
        }
        Ok(())
    }

    /// Lets `fault` happen to `victim`, and says when.
    pub fn strike(
        &mut self,
        cluster: &mut Cluster,
        victim: &str,
        fault: Fault,
    ) -> Result<Boottime> {
        // What a killed agent told is lost.
        self.listen(cluster)?;
        let at = boottime();
        cluster.inject(victim, fault)?;
        Ok(at)
    }

    /// Waits until another node than `victim` serves, and notes for how long nobody did since `at`: not
    /// longer than a failover of an address may take.
    pub fn succeeded(&mut self, cluster: &Cluster, victim: &str, at: Boottime) -> Result<Duration> {
        let gap = self.another_serves(victim, at)?;
        self.within(cluster, Some(victim), 2 * cluster.lease(), gap, at)?;
        Ok(gap)
    }

    /// The same for a group that takes its own time to start.
    pub fn another_serves(&mut self, victim: &str, at: Boottime) -> Result<Duration> {
        wait_until(SOON, &format!("another node than {victim} serves"), || {
            let owner = self.client.steady(STEADY);
            Ok(owner.is_some_and(|owner| *owner != *victim))
        })?;
        let gap = longest_silence(&self.client, at);
        self.note(gap);
        Ok(gap)
    }

    /// That a planned hand-over, or what is no reason to fail over, kept nobody from being served for longer than a
    /// lease since `since`. Returns for how long it did.
    pub fn within_a_lease(&mut self, cluster: &Cluster, since: Boottime) -> Result<Duration> {
        let gap = longest_silence(&self.client, since);
        self.within(cluster, None, cluster.lease(), gap, since)?;
        Ok(gap)
    }

    /// The same for half a lease: what a planned hand-over may take on the slowest links.
    pub fn within_half_a_lease(&mut self, cluster: &Cluster, since: Boottime) -> Result<Duration> {
        let gap = longest_silence(&self.client, since);
        self.within(cluster, None, cluster.lease() / 2, gap, since)?;
        Ok(gap)
    }

    /// That nobody served for no longer than `promised`: one lease runs out, another is granted within one more. What the
    /// machine stood still meanwhile is added, and so is what the kernel took for the address: others may hold
    /// its lock. The agent of `victim` may be one that does not answer.
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
            "nobody served for {gap:?}, and at most {most:?} are right: the address took {address:?}, the \
             machine stood still for {stood:?}"
        );
        Ok(())
    }

    /// What this machine stood still since `from`: what a bound on a time may be widened by.
    pub fn stood_still(&self, from: Boottime) -> Duration {
        self.stalls.since(from)
    }

    /// The guards of two nodes that were open at one time since the last call.
    pub fn open_together(&self) -> Vec<String> {
        self.guards.overlaps()
    }

    /// Notes for how long nobody served after a fault.
    pub fn note(&mut self, gap: Duration) {
        self.gaps.push(gap);
    }

    /// Undoes the fault.
    pub fn heal(&mut self, cluster: &mut Cluster, victim: &str, fault: Fault) -> Result<()> {
        cluster.heal(victim, fault)?;
        if fault == Fault::Kill {
            self.event_log.restarted(victim);
            wait_until(SOON, &format!("the agent of {victim} runs again"), || {
                cluster.check_agents()?;
                Ok(cluster.node(victim)?.control.status().is_ok())
            })?;
        }
        Ok(())
    }

    /// That `node`, whose guard nobody moves any more, gave no answer after it had closed.
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

    /// The answers so far that `wanted` takes.
    fn answers(&self, wanted: impl Fn(&Answer) -> bool) -> Vec<Answer> {
        self.client.with_records(|records| {
            let all = records.iter().flat_map(Record::answers);
            all.filter(|answer| wanted(answer)).cloned().collect()
        })
    }

    /// That nobody answered when another was the owner, and that no two guards were ever open at a time.
    /// Tells what was seen.
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
        // Straight to the stream: libtest holds back what a test says that passes.
        let _ = writeln!(std::io::stderr(), "{summary}");
        Ok(summary)
    }
}

/// What came of a trial without overlaps.
#[derive(Clone, Debug)]
pub struct Summary {
    name: &'static str,
    /// In order.
    gaps: Vec<Duration>,
    answers: usize,
    /// How often the lease changed hands, on the way back, too.
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
            // The nearest rank.
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
