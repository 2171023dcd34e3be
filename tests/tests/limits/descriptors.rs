//! A process without free file descriptors serves and takes over with those that it has.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs,
    netns::Namespace,
    node::Node,
    wait::observe,
    wait_until,
};
use heartbeat_user::control::protocol::EventKind;

/// A hook that runs on every node when a peer is down.
const HOOK: &str = "[[hook]]\non = [\"peer-down\"]\nexec = [\"/bin/true\"]\n";
/// The most CPU time of an idle process, in percent of one CPU.
const IDLE: f64 = 50.0;

/// Limits the descriptors of a process to numbers below `files`; `None` restores the limit.
fn limit(ns: &Namespace, pid: u32, files: Option<usize>) -> Result<()> {
    let soft = match files {
        Some(files) => files.to_string(),
        None => hard_limit(pid)?,
    };
    ns.tool(
        "prlimit",
        ["--pid", &pid.to_string(), &format!("--nofile={soft}:")],
    )?;
    Ok(())
}

fn hard_limit(pid: u32) -> Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = files.and_then(|rest| rest.split_whitespace().nth(1));
    Ok(hard.context("no limit of open files")?.to_owned())
}

/// The lowest free descriptor number of a process.
fn lowest_free(pid: u32) -> Result<usize> {
    let mut taken = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        taken.insert(entry?.file_name().to_string_lossy().parse::<usize>()?);
    }
    (0..)
        .find(|number| !taken.contains(number))
        .context("all numbers are taken")
}

/// The CPU time of all threads of a process so far.
fn cpu(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(entry?.path().join("schedstat"))?;
        let nanos = stat.split_whitespace().next().context("no time")?;
        total += nanos.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn helper_of(agent: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children"))?;
    let helper = children.split_whitespace().find(|child| {
        fs::read_to_string(format!("/proc/{child}/comm"))
            .is_ok_and(|name| name.trim() == "heartbeat-help")
    });
    Ok(helper
        .with_context(|| format!("agent {agent} has no helper"))?
        .parse()?)
}

/// Opens silent connections until no more is accepted.
fn crowd(node: &Node) -> Result<Vec<UnixStream>> {
    (0..100)
        .map(|_| Ok(UnixStream::connect(node.control.socket())?))
        .collect()
}

fn log_says(cluster: &Cluster, node: &str, words: &str) -> Result<usize> {
    Ok(cluster.node(node)?.logged()?.matches(words).count())
}

#[test]
fn agent_without_free_descriptors_serves_and_takes_over() -> Result<()> {
    needs!(Cluster);
    let options = Options {
        extra: HOOK.to_owned(),
        ..options()
    };
    with_cluster(options, |cluster| {
        let agent = cluster.node_mut("b")?.agent()?.pid();
        the_helper_runs_nothing_and_does_not_end(cluster, helper_of(agent)?)?;
        the_agent_takes_over_and_answers_later(cluster, agent)
    })
}

fn the_helper_runs_nothing_and_does_not_end(cluster: &mut Cluster, helper: u32) -> Result<()> {
    let b = cluster.node("b")?;
    limit(&b.ns, helper, Some(lowest_free(helper)?))?;
    hook_of_b_ends(cluster, false)?;
    ensure!(
        log_says(cluster, "b", "as many files open as it may")? == 1,
        "it does not say why"
    );
    limit(&cluster.node("b")?.ns, helper, None)?;
    hook_of_b_ends(cluster, true)
}

/// Cuts c off for a while, and waits until the hook of b has ended, well or not.
fn hook_of_b_ends(cluster: &mut Cluster, well: bool) -> Result<()> {
    let mut event_log = EventLog::begin(cluster)?;
    cluster.inject("c", Fault::Cut)?;
    let what = format!("its hook ended, well: {well}");
    event_log.wait(
        cluster,
        "b",
        SOON,
        &what,
        |what| matches!(what, EventKind::Hook { status, .. } if (*status == Some(0)) == well),
    )?;
    cluster.heal("c", Fault::Cut)?;
    event_log.wait_state(cluster, "b", "c", "up", SOON)?;
    Ok(())
}

fn the_agent_takes_over_and_answers_later(cluster: &mut Cluster, agent: u32) -> Result<()> {
    const REFUSED: &str = "could not accept a control client: Too many open files";
    let client = cluster.client(MILLISECOND)?;
    wait_served(&client, "a", SOON)?;
    let mut event_log = EventLog::begin(cluster)?;
    let b = cluster.node("b")?;
    limit(&b.ns, agent, Some(lowest_free(agent)?))?;
    let clients = crowd(b)?;
    wait_until(SOON, "b says what it lacks", || {
        Ok(log_says(cluster, "b", REFUSED)? > 0)
    })?;

    // The agent reports the failure once, and does not retry in a tight loop.
    let (before, began) = (cpu(agent)?, Instant::now());
    observe(Duration::from_secs(1), || Ok(()))?;
    let busy = (cpu(agent)? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    ensure!(
        busy * 100.0 < IDLE,
        "b takes {:.0} % of a processor",
        busy * 100.0
    );
    ensure!(
        log_says(cluster, "b", REFUSED)? == 1,
        "it says so again and again"
    );

    cluster.inject("a", Fault::Cut)?;
    wait_served(&client, "b", SOON)?;
    wait_holder(cluster, Some("b"))?;

    drop(clients);
    limit(&cluster.node("b")?.ns, agent, None)?;
    event_log.wait_state(cluster, "b", "a", "down", SOON)?;
    cluster.heal("a", Fault::Cut)?;
    cluster.wait_well(SOON, "a")?;
    let down_reports = event_log.down_reports();
    ensure!(
        down_reports.iter().all(|report| report.node == "a"),
        "{down_reports:#?}"
    );
    Ok(())
}
