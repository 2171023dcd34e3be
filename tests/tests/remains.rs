//! What the others say of a node that cannot be asked: what may still run there, and why its agent does
//! not answer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault,
    e2e::{
        SOON, Stage,
        groups::{group_in, perform, said, tried, wait_agent},
        lines::has_lines,
        scene::{node_in, options, wait_status},
        stage::{actor, group, vip},
    },
    skip::rig_runs,
    wait_until,
};

const QUICK: Duration = Duration::from_millis(500);
const NODES: [&str; 3] = ["a", "b", "c"];
/// What the kernel does with TCP from the agents' port: nothing. As a firewall that drops it.
const FIREWALL: [&str; 6] = ["ipproto", "tcp", "sport", "694", "blackhole", "pref"];

fn groups() -> String {
    group("web", "", &[vip("webip", 101), actor("one", QUICK, "")])
        + &group("address", "", &[vip("addressip", 102)])
}

/// After `fault` at a, b says that what a had may run on there, for this `cause`, until a's agent has looked.
fn remains(test: &str, fault: Fault, cause: &str) -> Result<()> {
    if !rig_runs(test) {
        return Ok(());
    }
    let stage = Stage::new()?;
    perform(
        &stage,
        stage.options(groups()),
        &["web", "address"],
        |cluster| {
            cluster.inject("a", fault)?;
            wait_status(cluster.node("b")?, "web may still run on a", |status| {
                group_in(status, "web").is_ok_and(|web| {
                    let remains = web
                        .remains
                        .iter()
                        .any(|one| one.node == "a" && one.cause == cause);
                    remains && web.owner.as_deref() == Some("b")
                })
            })?;
            let line = format!("    * may still run on a ({cause} for * s)");
            has_lines(&said(cluster, "b", &["status"])?, &[&line])?;
            let line = format!(
                "  ! it may still run on a ({cause} for * s): nothing is known to stop it there"
            );
            has_lines(&said(cluster, "b", &["explain", "web"])?, &[&line])?;
            let log = cluster.node("b")?.logged()?;
            ensure!(
                log.contains("web may run on there"),
                "the log does not tell"
            );
            // The kernel of a keeps an address silent.
            let status = cluster.node("b")?.control.status()?;
            ensure!(group_in(&status, "address")?.remains.is_empty());

            cluster.heal("a", fault)?;
            wait_agent(cluster, "a")?;
            wait_status(cluster.node("b")?, "nothing remains on a", |status| {
                group_in(status, "web").is_ok_and(|web| web.remains.is_empty())
            })
        },
    )
}

#[test]
fn a_group_of_a_dead_agent_may_still_run_there() -> Result<()> {
    remains(
        "a_group_of_a_dead_agent_may_still_run_there",
        Fault::Kill,
        "agent dead",
    )
}

#[test]
fn a_group_of_a_node_that_is_cut_off_may_still_run_there() -> Result<()> {
    const TEST: &str = "a_group_of_a_node_that_is_cut_off_may_still_run_there";
    remains(TEST, Fault::Silent, "unreachable")
}

fn firewall(cluster: &Cluster, node: &str, what: &str) -> Result<()> {
    let [a, b, c, d, e, f] = FIREWALL;
    let rule = ["rule", what, a, b, c, d, e, f, "100"];
    cluster.node(node)?.tool("ip", rule).map(drop)
}

#[test]
fn a_closed_tcp_port_is_told_while_heartbeats_arrive() -> Result<()> {
    if !rig_runs("a_closed_tcp_port_is_told_while_heartbeats_arrive") {
        return Ok(());
    }
    Cluster::play(options(), |cluster| {
        for node in NODES {
            firewall(cluster, node, "add")?;
        }
        // Each has something new that nobody can be told of.
        cluster.start_agents()?;
        let mut pair = None;
        wait_until(
            SOON,
            "an owner that does not answer serves by its lease",
            || {
                for observer in NODES {
                    let status = cluster.node(observer)?.control.status()?;
                    let service = group_in(&status, "service")?;
                    let owner = service.owner.clone().filter(|owner| *owner != observer);
                    if let Some(owner) = owner.filter(|_| service.running)
                        && node_in(&status, &owner)?.unanswered_ns.is_some()
                    {
                        pair = Some((observer, owner));
                    }
                }
                Ok(pair.is_some())
            },
        )?;
        let (observer, owner) = pair.context("nobody serves")?;
        let status = said(cluster, observer, &["status"])?;
        let started = format!("  * service (10.77.0.100/24 on hb0): Started {owner}");
        let silent = "    * its agent has not answered by TCP for * s, though its heartbeats arrive: does a firewall *";
        has_lines(&status, &[silent, &started])?;
        wait_until(SOON, "the log tells of the port", || {
            let log = cluster.node(observer)?.logged()?;
            Ok(log.contains("does not answer on TCP port 694, though its heartbeats arrive"))
        })?;
        tried(cluster, observer, &["standby", &owner])?
            .refusal(&["a firewall drops TCP port 694"])?;

        for node in NODES {
            firewall(cluster, node, "del")?;
        }
        for node in NODES {
            wait_status(cluster.node(node)?, "all answer again", |status| {
                status.nodes.iter().all(|node| node.unanswered_ns.is_none())
            })?;
        }
        Ok(())
    })
}
