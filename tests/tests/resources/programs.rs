//! Resources of class `program`: their output, their user, and the signal that stops them.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        Actors, SOON,
        actors::{group, vip},
        groups::{
            output_of, result_of, wait_agent, wait_group, wait_runs, wait_stopped, with_groups,
        },
        lines::has_lines,
        shortcuts::{wait_logged, wait_status},
    },
    needs, wait_until,
};

/// A server that refuses root, ends slowly on SIGTERM and at once on SIGINT.
const SERVER: &str = r#"#!/bin/sh
if [ "$(id -u)" = 0 ]; then
    echo '"root" execution of the server is not permitted.' >&2
    echo 'The server must be started under an unprivileged user.' >&2
    exit 1
fi
trap '' TERM
trap 'echo "fast shutdown"; exit 0' INT
echo "ready as $(id -un)"
turn=0
while :; do sleep 0.1; turn=$((turn + 1)); echo "turn $turn"; done
"#;

/// The settings that repair it.
const REPAIRED: &str = "user = \"daemon\"\nstop_signal = \"INT\"\nstop_timeout = \"10s\"";
const STUBBORN: &str = "user = \"daemon\"\nstop_timeout = \"500ms\"";
const MEMBERS: [&str; 2] = ["a", "b"];
const AS_ROOT: &str = "stop_timeout = \"11s\"";

/// Changes the configuration on both members, then reloads one after the other.
fn reload(cluster: &Cluster, from: &str, to: &str) -> Result<()> {
    for name in MEMBERS {
        cluster.node(name)?.reconfigure(from, to)?;
    }
    for name in MEMBERS {
        output_of(cluster, name, &["reload"])?;
    }
    Ok(())
}

/// The number of the last line of the server on `node` that its agent has logged.
fn turn(cluster: &Cluster, node: &str) -> Result<u64> {
    let log = cluster.node(node)?.logged()?;
    let mut turns = log.lines().filter_map(|line| {
        let (_, turn) = line.split_once("resource db: turn ")?;
        turn.parse().ok()
    });
    Ok(turns.next_back().unwrap_or(0))
}

fn times(cluster: &Cluster, node: &str, part: &str) -> Result<usize> {
    Ok(cluster.node(node)?.logged()?.matches(part).count())
}

#[test]
fn program_that_refuses_root_is_reported_repaired_and_stopped_by_its_signal() -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    // The other user must be able to reach the program.
    fs::set_permissions(actors.path(""), fs::Permissions::from_mode(0o711))?;
    let server = actors.program("server", SERVER)?;
    let db = format!(
        "\n[[group.resource]]\nname = \"db\"\ntype = \"exec\"\nrun = [\"{}\"]\n\
         monitor_interval = \"never\"\n{AS_ROOT}\n",
        server.display()
    );
    let options = Options {
        lease: Duration::from_secs(5),
        max_lease: Duration::from_secs(5),
        ..actors.options(group("web", "", &[vip("webip", 101), db]))
    };
    with_groups(&actors, options, &[], |cluster| {
        wait_group(cluster, "web", "failed everywhere", |group| {
            group.barred == ["a", "b"] && group.owner.is_none()
        })?;
        wait_stopped(cluster, "web")?;
        told_in_its_own_words(cluster)?;
        result_of(cluster, "b", &["cleanup", "db"])?.refusal(&[
            "cleaned up `db` on a, b, but:",
            "web does not run: start of db on",
            "failed again: error (1)",
        ])?;

        reload(cluster, AS_ROOT, REPAIRED)?;
        wait_runs(cluster, "web", "a")?;
        wait_status(cluster.node("b")?, "a clean record", |status| {
            status.failures.is_empty()
        })?;
        wait_logged(cluster.node("a")?, "resource db: ready as daemon")?;
        outlives_its_agent(cluster)?;

        output_of(cluster, "b", &["move", "web", "b"])?;
        wait_runs(cluster, "web", "b")?;
        wait_logged(cluster.node("a")?, "resource db: fast shutdown")?;
        let events = output_of(cluster, "a", &["events"])?;
        ensure!(!events.contains("killed"), "{events}");

        killed_at_the_timeout_is_said(cluster)
    })
}

fn told_in_its_own_words(cluster: &Cluster) -> Result<()> {
    for asked in ["a", "b"] {
        let shown = output_of(cluster, asked, &["status"])?;
        has_lines(
            &shown,
            &[
                "  * web * (group): Stopped (failed on a, b)",
                "Failed Resource Actions:",
                "  * db start on a: error (1), at *",
                "    */server ended at once (exit status: 1); it wrote last:",
                "    \"root\" execution of the server is not permitted.",
                "    The server must be started under an unprivileged user.",
            ],
        )?;
        ensure!(!shown.contains("background"), "a wrong guess in {shown}");
        has_lines(
            &output_of(cluster, asked, &["explain", "web"])?,
            &[
                "  ! db start on a: error (1), at *",
                "      \"root\" execution of the server is not permitted.",
            ],
        )?;
    }
    let line = "resource db: \"root\" execution of the server is not permitted.";
    wait_logged(cluster.node("a")?, line)
}

/// The server runs on without an agent, and its output reaches the log of the next one.
fn outlives_its_agent(cluster: &mut Cluster) -> Result<()> {
    wait_until(SOON, "the server writes", || Ok(turn(cluster, "a")? > 0))?;
    cluster.inject("a", Fault::Kill)?;
    let before = turn(cluster, "a")?;
    cluster.heal("a", Fault::Kill)?;
    wait_agent(cluster, "a")?;
    wait_runs(cluster, "web", "a")?;
    wait_until(SOON, "the server goes on writing", || {
        Ok(turn(cluster, "a")? > before + 5)
    })?;
    let started = times(cluster, "a", "resource db: ready as")?;
    ensure!(started == 1, "it was started anew");
    Ok(())
}

fn killed_at_the_timeout_is_said(cluster: &Cluster) -> Result<()> {
    reload(cluster, REPAIRED, STUBBORN)?;
    wait_until(SOON, "the changed resource runs", || {
        Ok(times(cluster, "b", "resource db: ready as")? == 2)
    })?;
    wait_runs(cluster, "web", "b")?;
    output_of(cluster, "a", &["move", "web", "a"])?;
    wait_runs(cluster, "web", "a")?;
    let killed = "did not stop within 0.5 s after SIGTERM: killed";
    wait_logged(
        cluster.node("b")?,
        &format!("resource db: {killed}; the stop took "),
    )?;
    has_lines(
        &output_of(cluster, "b", &["events"])?,
        &[&format!("* resource db: stopped ({killed})")],
    )
}
