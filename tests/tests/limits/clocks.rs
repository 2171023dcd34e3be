//! Clocks that jump, and machines that are suspended.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Fault,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::{wait_served, wait_silent},
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs,
    node::Node,
};
use heartbeat_user::clock;

use crate::{ALL, launcher, never_two_at_once, unstarted};

/// The file with the incarnation, which grows with each start of the agent.
fn incarnation(node: &Node) -> Result<std::path::PathBuf> {
    let instance = node.pins.path().file_name().context("no instance")?;
    Ok(node.dir().join("state").join(instance).join("incarnation"))
}

#[test]
fn node_with_a_wall_clock_set_back_serves_as_before() -> Result<()> {
    unstarted(|cluster| {
        // The last start of the agent was with a clock a month ahead.
        let month = Duration::from_secs(30 * 24 * 3_600);
        let ahead = u128::from(clock::wall()) + month.as_nanos();
        let file = incarnation(cluster.node("b")?)?;
        fs::create_dir_all(file.parent().context("no directory")?)?;
        fs::write(&file, format!("{ahead}\n"))?;
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let kept = fs::read_to_string(&file)?;
        ensure!(kept.trim().parse::<u128>()? == ahead + 1, "{kept}");
        // Ballots begin with the incarnation, too; a node with the right clock outbids them all the
        // same.
        let client = cluster.client(MILLISECOND)?;
        for to in ["b", "a"] {
            cluster
                .node("c")?
                .heartbeat(&["move", "service", to])?
                .success()?;
            wait_served(&client, to, SOON)?;
            wait_holder(cluster, Some(to))?;
        }
        // The next incarnation is greater again.
        cluster.inject("b", Fault::Kill)?;
        cluster.heal("b", Fault::Kill)?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn agent_with_another_clock_than_its_kernel_does_not_start() -> Result<()> {
    unstarted(|cluster| {
        let script =
            r#"exec unshare --time --boottime 86400 --fork --kill-child "$HEARTBEAT_BIN" "$@""#;
        let launcher = launcher(cluster.node("a")?, script)?;
        let a = cluster.node_mut("a")?;
        a.start_by(&launcher)?;
        let status = a.agent()?.wait(SOON)?;
        ensure!(status.code() == Some(1), "{status}");
        let logged = a.logged()?;
        ensure!(
            logged.contains("CLOCK_BOOTTIME is 86400 s off that of the kernel"),
            "{logged}"
        );
        ensure!(!a.pins.path().exists(), "it left its pins");
        Ok(())
    })
}

/// All nodes stop at once, as virtual machines of one suspended host do. The first that resumes
/// finds every lease ended, and must not declare the others dead.
#[test]
fn cluster_suspended_as_a_whole_resumes_without_two_owners() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;
        for name in ALL {
            cluster.inject(name, Fault::Stop)?;
        }
        wait_silent(&client, SOON)?;
        for name in ALL.into_iter().rev() {
            cluster.heal(name, Fault::Stop)?;
        }
        cluster.wait_well(SOON, "a")?;
        wait_served(&client, "a", SOON)?;
        never_two_at_once(cluster, &mut event_log, &client)
    })
}
