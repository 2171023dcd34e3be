//! A full disk: state cannot be written, and the service goes on.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Fault,
    e2e::{
        MILLISECOND, SOON,
        availability::{servers, wait_served},
        shortcuts::wait_status,
    },
    node::Node,
    sandbox::Sandbox,
    sys::boottime,
    wait_until,
};

use crate::{launcher, unstarted};

/// The log is on the same disk as the state.
const LOG_TO_STATE: &str = r#"exec "$HEARTBEAT_BIN" "$@" 2>>"${3%/*}/state/agent.log""#;

/// Fills the disk, so that not even a log line fits.
const FILL: &str = r#"! cat /dev/zero 2>/dev/null >>"$1/agent.log""#;
const LOST: &str = "lines of this log were lost here: the log could not be written: ENOSPC";

/// Runs a shell script among the files of `node`.
fn shell(node: &Node, script: &str) -> Result<String> {
    let mut command = Command::new("sh");
    command
        .arg("-ec")
        .arg(script)
        .arg("sh")
        .arg(node.dir().join("state"));
    node.run(command)?.success()
}

#[test]
fn agent_with_a_full_disk_serves_and_starts() -> Result<()> {
    unstarted(|cluster| {
        let sandbox = Sandbox::new(cluster.dir(), &[])?;
        let a = cluster.node_mut("a")?;
        a.set_sandbox(sandbox);
        shell(a, r#"mount -t tmpfs -o size=64k,mode=700 none "$1""#)?;
        let launcher: PathBuf = launcher(a, LOG_TO_STATE)?;
        cluster.node_mut("a")?.start_by(&launcher)?;
        for name in ["b", "c"] {
            cluster.start_agent(name)?;
        }
        cluster.wait_well(SOON, "a")?;
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;

        let a = cluster.node("a")?;
        let from = boottime();
        shell(a, FILL)?;
        // A decision must outlive a restart, so it is refused here.
        a.heartbeat(&["standby"])?
            .refusal(&["state/", "/standby", "No space left on device"])?;
        a.heartbeat(&["maintenance", "on"])?
            .refusal(&["decisions.json", "No space left on device"])?;
        // A decision from another node holds here for the life of this agent.
        let b = cluster.node("b")?;
        for (state, is) in [("on", true), ("off", false)] {
            b.heartbeat(&["maintenance", state])?.success()?;
            wait_status(a, "it heard of the maintenance", |status| {
                status.maintenance == is
            })?;
        }
        ensure!(servers(&client, from).iter().all(|node| **node == *"a"));

        // After a crash the new incarnation is written in the place of the old one.
        cluster.inject("a", Fault::Kill)?;
        cluster.node_mut("a")?.start_by(&launcher)?;
        cluster.wait_well(SOON, "a")?;
        wait_served(&client, "a", SOON)?;

        let a = cluster.node("a")?;
        shell(a, r#": >"$1/agent.log""#)?;
        a.heartbeat(&["standby"])?.success()?;
        a.heartbeat(&["online"])?.success()?;
        wait_until(SOON, "the log goes on", || {
            let log = shell(a, r#"cat "$1/agent.log""#)?;
            Ok(log.contains(LOST))
        })?;
        let left = shell(a, r#"find "$1" -name "*.new""#)?;
        ensure!(left.is_empty(), "half-written files are left: {left}");
        Ok(())
    })
}

#[test]
fn first_start_with_a_full_disk_names_what_it_could_not_write() -> Result<()> {
    unstarted(|cluster| {
        let sandbox = Sandbox::new(cluster.dir(), &[])?;
        cluster.node_mut("a")?.set_sandbox(sandbox);
        let a = cluster.node("a")?;
        shell(
            a,
            r#"mount -t tmpfs -o size=64k,mode=700 none "$1"; ! cat /dev/zero >"$1/other""#,
        )?;
        let mut run = Command::new(std::env::var_os("HEARTBEAT_BIN").unwrap_or_default());
        run.arg("run").arg("--config").arg(a.config());
        a.run(run)?
            .refusal(&["could not write", "/incarnation", "No space left on device"])?;
        ensure!(!a.pins.path().exists(), "it left its pins");
        ensure!(
            fs::read_dir(a.dir().join("run"))?.count() == 0,
            "it left a lock"
        );
        Ok(())
    })
}
