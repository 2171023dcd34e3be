//! The owner of a group cannot be reached: the other nodes say what may still run there.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_tests::{
    Fault,
    e2e::{
        Actors,
        actors::{actor, group, vip},
        groups::{group_in, output_of, wait_agent, with_groups},
        lines::has_lines,
        shortcuts::{wait_logged, wait_status},
    },
    needs,
};

const QUICK: Duration = Duration::from_millis(500);
fn groups() -> String {
    group("web", "", &[vip("webip", 101), actor("one", QUICK, "")])
        + &group("address", "", &[vip("addressip", 102)])
}

/// After `fault` at a, node b says that the group may still run there because of `cause`, until the
/// agent of a has probed it.
fn remains(fault: Fault, cause: &str) -> Result<()> {
    needs!(Cluster);
    let actors = Actors::new()?;
    with_groups(
        &actors,
        actors.options(groups()),
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
            has_lines(&output_of(cluster, "b", &["status"])?, &[&line])?;
            let line = format!(
                "  ! it may still run on a ({cause} for * s): nothing is known to stop it there"
            );
            has_lines(&output_of(cluster, "b", &["explain", "web"])?, &[&line])?;
            wait_logged(cluster.node("b")?, "web may run on there")?;
            // For a group of an address alone nothing can run on: the guard of a drops its traffic.
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
fn group_of_a_dead_agent_is_shown_as_maybe_running() -> Result<()> {
    remains(Fault::Kill, "agent dead or stalled")
}

#[test]
fn group_of_an_isolated_node_is_shown_as_maybe_running() -> Result<()> {
    remains(Fault::Silent, "unreachable")
}
