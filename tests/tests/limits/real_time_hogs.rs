//! Real-time tasks of others on all CPUs: the pulse has precedence over them, and the leases
//! outlast the delay of the control task.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster, Options,
    e2e::{
        MILLISECOND, SOON, Trial,
        availability::longest_silence,
        load::{Hogs, OrdinaryTask},
        shortcuts::{options, start_first_by, wait_logged, with_cluster},
    },
    needs,
    skip::skip,
    sys::boottime,
};
use heartbeat_user::control::protocol::EventKind;

/// The CPU time of each hog: some periods of a second, in each of which the kernel leaves 50 ms to
/// ordinary tasks.
const SECONDS: u64 = 5;

const AGENT_STALL: Duration = Duration::from_secs(2);

/// A cluster with default timing.
fn defaults() -> Options {
    Options {
        interval: 10 * MILLISECOND,
        timeout: 30 * MILLISECOND,
        agent_stall: AGENT_STALL,
        lease: 60 * MILLISECOND,
        max_lease: Duration::from_secs(1),
        ..options()
    }
}

/// Runs hogs of this priority. No lease changes its owner, as long as the kernel leaves ordinary
/// tasks their share. Other ordinary tasks of the host may take this share from the cluster. If it
/// gets none for `agent_stall`, an owner may give its lease up, and two never serve.
fn hogs(name: &'static str, priority: u8, cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::begin(name, cluster)?;
    trial.settle(cluster)?;
    trial.listen(cluster)?;
    let before = trial.event_log.acquisitions("service").len();
    let began = boottime();
    let ordinary = OrdinaryTask::start();
    Hogs::start(cluster.dir(), priority, SECONDS)?.end(12 * SOON)?;
    let starved = ordinary.longest_wait()?;
    trial.settle(cluster)?;
    for node in cluster.nodes() {
        let pulse = node.control.status()?.pulse;
        eprintln!(
            "{name}: {}: {}, at most {} us late, {} ticks missed, {} overruns",
            node.name,
            pulse.scheduling,
            pulse.max_lateness_ns / 1_000,
            pulse.missed_ticks,
            pulse.overruns
        );
    }
    // The client is an ordinary task, so it starves as well.
    eprintln!(
        "{name}: the client heard nothing for {:?} at worst, ordinary tasks waited {starved:?}",
        longest_silence(&trial.client, began)
    );
    let acquisitions = trial.finish(cluster)?.acquisitions - before;
    ensure!(
        acquisitions == 0 || starved > AGENT_STALL,
        "{name}: {acquisitions} takeovers, and no ordinary task waited longer than {starved:?}"
    );
    Ok(())
}

#[test]
fn real_time_tasks_on_all_processors_cost_no_lease() -> Result<()> {
    needs!(Cluster);
    with_cluster(defaults(), |cluster| {
        for node in cluster.nodes() {
            let pulse = node.control.status()?.pulse;
            if pulse.scheduling != "deadline" {
                let refused = pulse.scheduling_refused.unwrap_or_default();
                skip(&refused);
                return Ok(());
            }
        }
        for (name, priority) in [("hogs of SCHED_FIFO 50", 50), ("hogs of SCHED_FIFO 99", 99)] {
            hogs(name, priority, cluster)?;
        }
        Ok(())
    })
}

#[test]
fn starved_agent_names_the_task_that_ran_instead() -> Result<()> {
    needs!(Cluster);
    with_cluster(defaults(), |cluster| {
        let mut trial = Trial::begin("starved, and told why", cluster)?;
        let hogs = Hogs::start(cluster.dir(), 50, SECONDS)?;
        let named = |reason: &str| reason.contains(Hogs::NAME) && reason.contains("SCHED_FIFO 50");
        hogs.end(12 * SOON)?;
        let told =
            |what: &EventKind| matches!(what, EventKind::Starved { reason, .. } if named(reason));
        trial
            .event_log
            .wait(cluster, "a", SOON, "which task starved it", told)?;
        let a = cluster.node("a")?;
        let starved = a.control.status()?.pulse.starved;
        ensure!(
            starved
                .as_ref()
                .is_some_and(|starved| named(&starved.reason)),
            "{starved:?}"
        );
        let shown = a.heartbeat(&["status"])?.success()?;
        ensure!(
            shown.contains("Starvation") && shown.contains(Hogs::NAME),
            "{shown}"
        );
        wait_logged(a, "agent got no CPU for")
    })
}

#[test]
fn agent_confined_to_a_processor_runs_by_fifo_and_says_why() -> Result<()> {
    needs!(Cluster);
    Cluster::run(defaults(), |cluster| {
        start_first_by(
            cluster,
            "exec taskset --cpu-list 0 \"$HEARTBEAT_BIN\" \"$@\"",
        )?;
        let a = cluster.node("a")?;
        let pulse = a.control.status()?.pulse;
        if std::thread::available_parallelism()?.get() == 1 {
            // The machine has one CPU, so the agent cannot be confined.
            return Ok(());
        }
        ensure!(
            pulse.scheduling == "fifo" && pulse.realtime_priority == 60,
            "{pulse:?}"
        );
        let shown = a.heartbeat(&["status"])?.success()?;
        let why = "SCHED_DEADLINE refused: not permitted";
        ensure!(
            shown.contains("SCHED_FIFO 60, ") && shown.contains(why),
            "{shown}"
        );
        wait_logged(a, "the pulse runs by SCHED_FIFO 60")?;
        wait_logged(a, why)
    })
}
