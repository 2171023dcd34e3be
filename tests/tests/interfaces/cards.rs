//! Network cards with a broken driver. These tests need the machine that `cargo xtask test --vm`
//! starts. Its two cards are connected, and the driver of the first one accepts an XDP program but
//! never runs it.

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    config::interface,
    e2e::{
        SOON,
        shortcuts::{emulated, node_in, wait_logged, wait_status},
    },
    wait::slowness,
};
use heartbeat_user::control::protocol::{Link, Status};

const CARDS: [&str; 2] = ["eth0", "eth1"];

fn own_link(status: &Status) -> Result<&Link> {
    let link = node_in(status, &status.node)?.links.first();
    link.context("no link")
}

#[test]
#[ignore = "needs the cards of `cargo xtask test --vm`"]
fn program_that_the_driver_never_runs_is_moved_to_skb_mode() -> Result<()> {
    let patience = SOON * slowness();
    Cluster::run(emulated(), |cluster| {
        let a = cluster.node("a")?;
        a.tool("ip", ["link", "del", &interface(0)])?;
        cluster.plug_cards("a", 0, CARDS)?;

        // The driver accepts the program, frames arrive, and the program sees none of them.
        cluster.start_agents()?;
        wait_status(cluster.node("a")?, "it fell back", |status| {
            own_link(status).is_ok_and(|link| link.xdp_mode.as_deref() == Some("skb"))
        })?;
        let status = cluster.node("a")?.control.status()?;
        let link = own_link(&status)?;
        let why = link.xdp_fallback.as_deref().unwrap_or_default();
        ensure!(
            why.contains("in native mode and DOES NOT RUN") && link.problem.is_none(),
            "{link:#?}"
        );
        wait_logged(cluster.node("a")?, "FELL BACK")?;
        // In skb mode the program answers, votes and guards.
        cluster.wait_well(patience, "a")?;

        // With native mode required, the agent says so and does not change the mode.
        ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
        let line = format!("interface = \"{}\"\n", interface(0));
        let native = format!("{line}mode = \"native\"\n");
        cluster.node("a")?.reconfigure(&line, &native)?;
        cluster.start_agent("a")?;
        wait_status(cluster.node("a")?, "it says so", |status| {
            own_link(status).is_ok_and(|link| link.problem.is_some())
        })?;
        let status = cluster.node("a")?.control.status()?;
        let link = own_link(&status)?;
        let problem = link.problem.as_deref().unwrap_or_default();
        ensure!(
            problem.contains("DOES NOT RUN") && problem.contains("mode = \"auto\""),
            "{link:#?}"
        );
        ensure!(link.xdp_mode.as_deref() == Some("native"), "{link:#?}");
        Ok(())
    })
}
