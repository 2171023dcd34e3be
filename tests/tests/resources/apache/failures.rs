//! Failures of Apache itself: it is started again on its node, or on the other one.

use std::{fs, io::Write as _};

use anyhow::{Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster,
    e2e::{
        EventLog, Trial,
        availability::{longest_silence, servers},
        lines::has_lines,
        shortcuts::wait_status,
        trial::runs,
        web::{
            ApacheWatch, GROUP, PATIENCE, SERVER, client, runs_on, steps::order_kept, tutorial,
            wait_pages, wait_started, with_cluster,
        },
    },
    needs,
    sys::boottime,
};
use heartbeat_user::control::protocol::{EventKind, Status};
use nix::sys::signal::Signal;

use super::{output_of, wait_gone};

#[test]
fn failed_apache_is_started_again_or_elsewhere() -> Result<()> {
    needs!(Cluster, Apache);
    let watched = tutorial()?.replace(
        "monitor_interval = \"1min\"",
        "monitor_interval = \"1s\"\nstart_timeout = \"6s\"\nmonitor_timeout = \"2s\"\n\
         stop_timeout = \"8s\"\npidfile = \"/run/apache2/apache2.pid\"",
    );
    ensure!(watched.contains("pidfile"), "{watched}");
    with_cluster(watched, |cluster| {
        let lookout = ApacheWatch::start(cluster)?;
        let begun = boottime();
        its_parent_is_killed(cluster)?;
        its_workers_hang(cluster)?;
        all_of_it_hangs(cluster)?;
        it_cannot_start(cluster)?;
        lookout.never_two(begun)
    })
}

/// Waits until a failure of Apache counts on `node`, and the agent has reported it as one of
/// `action`.
fn wait_failed(cluster: &Cluster, trial: &mut Trial, node: &str, action: &str) -> Result<()> {
    trial.event_log.wait(
        cluster,
        node,
        PATIENCE,
        &format!("{action} of Apache failed"),
        |what| matches!(what, EventKind::ResourceFailed { resource, action: a, .. } if resource == SERVER && a == action),
    )?;
    Ok(())
}

/// Clears all failures, so that the next one is the first.
fn clean(cluster: &Cluster) -> Result<()> {
    let done = output_of(cluster, "b", &["cleanup", SERVER])?;
    ensure!(
        done.starts_with("cleaned up `webserver` on a, b\n"),
        "{done}"
    );
    for node in ["a", "b"] {
        let none = |status: &Status| status.failures.is_empty();
        wait_status(cluster.node(node)?, "no failures are left", none)?;
    }
    Ok(())
}

/// Waits until the first node alone serves pages again, and records the time without a page.
fn pages_again(cluster: &Cluster, trial: &mut Trial, at: Boottime) -> Result<()> {
    wait_started(cluster, "a")?;
    wait_pages(&trial.client, "a")?;
    ensure!(*servers(&trial.client, at) == ["a".into()]);
    trial.note(longest_silence(&trial.client, at));
    Ok(())
}

/// The exit of the process in the pidfile is noticed at once, not by a monitor.
fn its_parent_is_killed(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "Apache killed", client(cluster, "a")?, cluster)?;
    let mut noticed = Vec::new();
    for _ in 0..runs()? {
        let before = cluster.node("a")?.apache()?;
        trial.listen(cluster)?;
        let at = boottime();
        cluster
            .node("a")?
            .apache_parent()?
            .signal(Signal::SIGKILL)?;
        let failed = trial.event_log.wait(
            cluster,
            "a",
            PATIENCE,
            "Apache has failed",
            |what| matches!(what, EventKind::ResourceFailed { resource, .. } if resource == SERVER),
        )?;
        noticed.push(Boottime::from_nanos(failed.at_ns).since(at));
        wait_gone(cluster, "a", &before)?;
        pages_again(cluster, &mut trial, at)?;
        clean(cluster)?;
        trial.event_log = EventLog::begin(cluster)?;
    }
    let _ = writeln!(
        std::io::stderr(),
        "Apache killed: noticed after {noticed:?}"
    );
    trial.finish(cluster).map(drop)
}

/// No page is served although the parent process runs.
fn its_workers_hang(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(
        GROUP,
        "Apache's workers hang",
        client(cluster, "a")?,
        cluster,
    )?;
    let a = cluster.node("a")?;
    let parent = a.apache_parent()?;
    // The parent must not start another worker, which would answer the monitor.
    parent.signal(Signal::SIGSTOP)?;
    let hanging: Vec<_> = a
        .apache()?
        .into_iter()
        .filter(|one| *one != parent)
        .collect();
    let at = boottime();
    hanging
        .iter()
        .try_for_each(|one| one.signal(Signal::SIGSTOP))?;
    parent.signal(Signal::SIGCONT)?;
    wait_failed(cluster, &mut trial, "a", "monitor")?;
    wait_gone(cluster, "a", &hanging)?;
    pages_again(cluster, &mut trial, at)?;
    has_lines(
        &output_of(cluster, "b", &["status"])?,
        &["  * webserver monitor on a: timed out*"],
    )?;
    clean(cluster)?;
    trial.finish(cluster).map(drop)
}

/// Apache hangs and cannot be stopped in time: no node starts another one until an operator kills
/// it.
fn all_of_it_hangs(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "all of Apache hangs", client(cluster, "a")?, cluster)?;
    let at = boottime();
    cluster.node("a")?.signal_apache(Signal::SIGSTOP)?;
    wait_failed(cluster, &mut trial, "a", "stop")?;
    for node in ["a", "b"] {
        let blocked = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| group.blocked.as_deref() == Some("a"))
        };
        wait_status(cluster.node(node)?, "the group is blocked", blocked)?;
        has_lines(
            &output_of(cluster, node, &["status"])?,
            &[
                "  * web (group): BLOCKED a*",
                "  * webserver monitor on a: timed out*",
                "  * webserver stop on a: timed out*",
            ],
        )?;
    }
    ensure!(cluster.node("b")?.apache()?.is_empty());
    cluster.node("a")?.signal_apache(Signal::SIGKILL)?;
    clean(cluster)?;
    pages_again(cluster, &mut trial, at)?;
    trial.finish(cluster).map(drop)
}

/// Apache is killed and has a broken configuration: the group leaves until the file is repaired.
fn it_cannot_start(cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::of(GROUP, "Apache broken", client(cluster, "a")?, cluster)?;
    let a = cluster.node("a")?;
    let config = a.apache_config();
    let good = fs::read_to_string(&config)?;
    fs::write(&config, format!("{good}\nNoSuchDirective on\n"))?;
    let at = boottime();
    a.apache_parent()?.signal(Signal::SIGKILL)?;
    wait_pages(&trial.client, "b")?;
    trial.note(longest_silence(&trial.client, at));
    // The resource agent polls each second whether Apache runs, until its timeout.
    wait_barred(cluster, "timed out, at *")?;

    // Eligible again, the first node gets the group, and has to give it up once more.
    fs::remove_file(&config)?;
    let at = boottime();
    output_of(cluster, "a", &["cleanup"])?;
    wait_failed(cluster, &mut trial, "a", "start")?;
    wait_barred(cluster, "not installed (5), at *")?;
    wait_pages(&trial.client, "b")?;
    trial.note(longest_silence(&trial.client, at));

    fs::write(&config, good)?;
    clean(cluster)?;
    for node in ["a", "b"] {
        let fit = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| group.barred.is_empty())
        };
        wait_status(cluster.node(node)?, "it may run on a again", fit)?;
    }
    // A node on which the group failed to start is not tried again for a minute.
    let back = boottime();
    output_of(cluster, "b", &["move", GROUP, "a"])?;
    wait_pages(&trial.client, "a")?;
    trial.note(longest_silence(&trial.client, back));
    wait_started(cluster, "a")?;
    trial.listen(cluster)?;
    for node in ["a", "b"] {
        let steps = order_kept(&trial.event_log, node)?;
        ensure!(steps > 0, "{node} told of no step");
    }
    trial.finish(cluster).map(drop)
}

/// Waits until all nodes know that Apache failed to start on the first node with this `outcome`,
/// and the other node serves.
fn wait_barred(cluster: &Cluster, outcome: &str) -> Result<()> {
    wait_started(cluster, "b")?;
    for node in ["a", "b"] {
        let barred = |status: &Status| {
            let group = status.groups.iter().find(|group| group.name == GROUP);
            group.is_some_and(|group| *group.barred == ["a".to_owned()]) && runs_on(status, "b")
        };
        wait_status(cluster.node(node)?, "it has failed on a", barred)?;
        has_lines(
            &output_of(cluster, node, &["status"])?,
            &[
                "  * web (group): Started b (failed on a)",
                "    * webserver (ocf:heartbeat:apache): Started b",
                &format!("  * webserver start on a: {outcome}"),
            ],
        )?;
    }
    let left = cluster.node("a")?.apache()?;
    ensure!(left.is_empty(), "an Apache is left on a: {left:?}");
    Ok(())
}
