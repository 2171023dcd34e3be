//! Groups: their state on the nodes, and waiting for it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_user::control::protocol::{FailedAction, Group, Status};

use super::{Actors, Ended, SOON, shortcuts::wait_status};
use crate::{Cluster, Options, client::Client, config::Family, wait_until};

/// The output of `heartbeat WORDS` on `node`, if it succeeds.
pub fn output_of(cluster: &Cluster, node: &str, words: &[&str]) -> Result<String> {
    result_of(cluster, node, words)?.success()
}

/// The result of `heartbeat WORDS` on `node`.
pub fn result_of(cluster: &Cluster, node: &str, words: &[&str]) -> Result<Ended> {
    cluster.node(node)?.heartbeat(words)
}

/// The state of a group in `status`.
pub fn group_in<'a>(status: &'a Status, name: &str) -> Result<&'a Group> {
    let group = status.groups.iter().find(|group| group.name == name);
    group.with_context(|| format!("no group {name} in {status:?}"))
}

/// The nodes whose agents run.
fn awake(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().iter().filter(|node| node.agent.is_some());
    nodes.map(|node| node.name.clone()).collect()
}

/// Waits until a group is as `wanted` on all nodes that run.
pub fn wait_group(
    cluster: &Cluster,
    name: &str,
    what: &str,
    wanted: impl Fn(&Group) -> bool,
) -> Result<()> {
    for node in awake(cluster) {
        wait_status(cluster.node(&node)?, &format!("{name} {what}"), |status| {
            group_in(status, name).is_ok_and(&wanted)
        })?;
    }
    Ok(())
}

/// Waits until all nodes that run report that the whole group runs on `owner`.
pub fn wait_runs(cluster: &Cluster, name: &str, owner: &str) -> Result<()> {
    wait_group(cluster, name, &format!("runs on {owner}"), |group| {
        let here = |node: Option<&String>| node.is_some_and(|node| node == owner);
        group.running
            && here(group.owner.as_ref())
            && group
                .resources
                .iter()
                .all(|one| one.state == "started" && here(one.node.as_ref()))
    })
}

/// Waits until all nodes that run report that nothing of a group runs.
pub fn wait_stopped(cluster: &Cluster, name: &str) -> Result<()> {
    wait_group(cluster, name, "is stopped", |group| {
        group.owner.is_none() && group.resources.iter().all(|one| one.state == "stopped")
    })
}

/// Waits until all nodes that run report such a failed action, and returns it.
pub fn wait_failure(
    cluster: &Cluster,
    what: &str,
    wanted: impl Fn(&FailedAction) -> bool,
) -> Result<FailedAction> {
    let mut found = None;
    for node in awake(cluster) {
        let node = cluster.node(&node)?;
        wait_status(node, what, |status| status.failures.iter().any(&wanted))?;
        found = node.control.status()?.failures.into_iter().find(&wanted);
    }
    found.with_context(|| format!("no node knows of: {what}"))
}

/// Waits until the agent of `node` answers.
pub fn wait_agent(cluster: &mut Cluster, node: &str) -> Result<()> {
    wait_until(SOON, &format!("the agent of {node} answers"), || {
        cluster.check_agents()?;
        Ok(cluster.node(node)?.control.status().is_ok())
    })
}

/// Waits until all nodes that run see each other eligible.
pub fn wait_all_active(cluster: &Cluster) -> Result<()> {
    let awake = awake(cluster);
    for node in &awake {
        wait_status(cluster.node(node)?, "all are fit", |status| {
            let is_fit = |name: &String| {
                let node = status.nodes.iter().find(|node| node.name == *name);
                node.is_some_and(|node| node.state == "up" && node.agent == "active")
            };
            awake.iter().all(is_fit)
        })?;
    }
    Ok(())
}

/// Waits until all nodes that run have probed the resources of a group. A node that need not serve
/// it may do so late.
fn wait_probed(cluster: &Cluster, actors: &Actors, name: &str) -> Result<()> {
    let status = cluster.node("a")?.control.status()?;
    let calls = actors.calls()?;
    for resource in &group_in(&status, name)?.resources {
        // Addresses and resources of other classes do not call the actors.
        if !calls.iter().any(|call| call.resource == resource.name) {
            continue;
        }
        for node in awake(cluster) {
            actors.wait_call(0, &node, &resource.name, "probe")?;
        }
    }
    Ok(())
}

/// Runs `test` with a cluster of actors, once each of `groups` runs on node a.
pub fn with_groups(
    actors: &Actors,
    options: Options,
    groups: &[&str],
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    Cluster::run(options, |cluster| {
        let test = |cluster: &mut Cluster| {
            cluster.start_agents()?;
            wait_all_active(cluster)?;
            for group in groups {
                wait_runs(cluster, group, "a")?;
                wait_probed(cluster, actors, group)?;
            }
            test(cluster)
        };
        test(cluster).inspect_err(|_| eprintln!("{}", actors.report(0)))
    })
}

/// Starts a client of the address with this last part.
pub fn client(cluster: &Cluster, host: u8, period: Duration) -> Result<Client> {
    let address = Family::V4.address(0, host);
    Client::start(cluster.client_namespace(), address, period)
}
