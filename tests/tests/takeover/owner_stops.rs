//! An agent that is told to stop releases its addresses first, and runs the hooks for that.

use std::fs;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Options,
    e2e::{
        MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs,
    workdir::WorkDir,
};

#[test]
fn release_hook_runs_before_the_agent_ends() -> Result<()> {
    needs!(Cluster);
    let dir = WorkDir::new(false)?;
    let told = dir.path().join("told");
    let extra = format!(
        "[[hook]]\non = \"release\"\n\
         exec = [\"/bin/sh\", \"-c\", \"sleep 0.2; echo $HEARTBEAT_NODE $HEARTBEAT_VIP >> {}\"]\n",
        told.display()
    );
    with_cluster(Options { extra, ..options() }, |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let status = cluster.node_mut("a")?.agent()?.terminate(SOON)?;
        ensure!(status.success(), "the agent ended with {status}");
        // Another node may have served for a moment while the cluster started, and run the hook as
        // well.
        let told = fs::read_to_string(&told)?;
        ensure!(told.lines().any(|line| line == "a service"), "{told:?}");
        wait_served(&client, "b", SOON)?;
        wait_holder(cluster, Some("b"))
    })
}
