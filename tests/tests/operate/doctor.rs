//! `heartbeat doctor`: the causes that it finds in a running cluster.

use std::fs;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{
        Ended, SOON,
        shortcuts::{node_in, options, wait_status, with_cluster},
    },
    needs,
};

/// The findings of node a about node b.
fn doctor(cluster: &Cluster) -> Result<Ended> {
    cluster.node("a")?.heartbeat(&["doctor", "b"])
}

fn wait_b(cluster: &Cluster, state: &str) -> Result<()> {
    wait_status(cluster.node("a")?, &format!("b is {state}"), |status| {
        node_in(status, "b").is_ok_and(|b| b.state == state)
    })
}

/// Restarts the agent of b with another text in one of its files.
fn restart_b(cluster: &mut Cluster, file: &str, old: &str, new: &str) -> Result<()> {
    let b = cluster.node_mut("b")?;
    b.stop()?;
    let path = b.dir().join(file);
    let text = fs::read_to_string(&path)?;
    ensure!(text.contains(old), "no {old} in {text}");
    fs::write(&path, text.replacen(old, new, 1))?;
    cluster.start_agent("b")
}

#[test]
fn cause_of_a_silent_node_is_named() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let well = doctor(cluster)?.success()?;
        ensure!(well.contains("errors: 0"), "{well}");

        // Another key under the same id.
        restart_b(cluster, "key", "000102", "ff0102")?;
        wait_b(cluster, "down")?;
        let ended = doctor(cluster)?;
        ensure!(ended.status.code() == Some(1), "{ended:#?}");
        ensure!(
            ended
                .out
                .contains("node b is down: its heartbeats have bad tags"),
            "{ended:#?}"
        );
        restart_b(cluster, "key", "ff0102", "000102")?;
        cluster.wait_well(SOON, "a")?;

        // Another cluster.
        restart_b(
            cluster,
            "heartbeat.toml",
            "name = \"rig\"",
            "name = \"other\"",
        )?;
        wait_b(cluster, "down")?;
        let ended = doctor(cluster)?;
        ensure!(ended.out.contains("another cluster arrive"), "{ended:#?}");

        cluster.node_mut("b")?.stop()?;
        let ended = doctor(cluster)?;
        ensure!(
            ended.out.contains("no heartbeat of it arrives"),
            "{ended:#?}"
        );
        ensure!(ended.out.contains("connection refused"), "{ended:#?}");
        Ok(())
    })
}

#[test]
fn host_without_an_agent_is_told_to_start_one() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        cluster.node_mut("a")?.stop()?;
        let ended = cluster.node("a")?.heartbeat(&["doctor"])?;
        ensure!(ended.status.code() == Some(1), "{ended:#?}");
        ensure!(
            ended.out.contains("error: no agent runs here\n  start it"),
            "{ended:#?}"
        );
        cluster
            .node("b")?
            .heartbeat(&["doctor", "x"])?
            .refusal(&["no node is called `x`"])
    })
}
