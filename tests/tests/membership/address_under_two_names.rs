//! One address under two names while a changed configuration reaches node after node. Two nodes
//! must never pass its traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault,
    client::Record,
    e2e::{
        MILLISECOND, SOON,
        availability::wait_served,
        groups::{group_in, output_of, wait_agent},
        kernel::guard,
        shortcuts::{options, wait_status, with_cluster},
    },
    needs,
    sys::boottime,
    wait::observe,
    wait_until,
};

/// The time that a node has to take what it must not have: many leases.
const TEMPTATION: Duration = Duration::from_millis(800);
const OLD: &str = "name = \"service\"";
const NEW: &str = "name = \"web\"";

/// The nodes whose kernels let the address's traffic pass now.
fn open(cluster: &Cluster) -> Result<Vec<&str>> {
    let mut open = Vec::new();
    for node in cluster.nodes() {
        let until = Boottime::from_nanos(guard(node)?.open_until);
        if until > boottime() {
            open.push(&*node.name);
        }
    }
    Ok(open)
}

fn at_most_one_is_open(cluster: &Cluster) -> Result<()> {
    let open = open(cluster)?;
    ensure!(open.len() <= 1, "the address is open on {open:?}");
    Ok(())
}

/// Gives the address another name on `node`, and restarts its agent.
fn rename(cluster: &mut Cluster, node: &str) -> Result<()> {
    cluster.node(node)?.reconfigure(OLD, NEW)?;
    ensure!(
        cluster.node_mut(node)?.stop()?,
        "the agent of {node} failed"
    );
    cluster.heal(node, Fault::Kill)?;
    wait_agent(cluster, node)?;
    wait_status(cluster.node(node)?, "all peers are up", |status| {
        status
            .nodes
            .iter()
            .all(|peer| peer.local || peer.state == "up")
    })
}

#[test]
fn address_under_two_names_is_open_on_one_node() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;

        // The address is taken under its old name.
        rename(cluster, "b")?;
        observe(TEMPTATION, || at_most_one_is_open(cluster))?;
        wait_served(&client, "a", SOON)?;
        let web = cluster.node("b")?.control.status()?;
        ensure!(group_in(&web, "web")?.owner.is_none());
        ensure!(output_of(cluster, "b", &["status"])?.contains("DIFFERS"));

        // One node acquires the address, under either name.
        cluster.inject("a", Fault::Kill)?;
        wait_until(SOON, "another node serves it", || {
            at_most_one_is_open(cluster)?;
            let server = client.steady(100 * MILLISECOND);
            Ok(server.is_some_and(|server| *server != *"a"))
        })?;

        // The other nodes get the new name, too.
        cluster.node("a")?.reconfigure(OLD, NEW)?;
        cluster.heal("a", Fault::Kill)?;
        wait_agent(cluster, "a")?;
        observe(TEMPTATION, || at_most_one_is_open(cluster))?;
        rename(cluster, "c")?;
        wait_until(SOON, "the best node serves it by its new name", || {
            at_most_one_is_open(cluster)?;
            Ok(client.steady(100 * MILLISECOND).as_deref() == Some("a"))
        })?;
        let answers = client.with_records(|records| {
            let twice = |record: &&Record| {
                let mut nodes: Vec<_> = record.answers().map(|answer| &answer.node).collect();
                nodes.dedup();
                nodes.len() > 1
            };
            records.iter().filter(twice).count()
        });
        ensure!(
            answers == 0,
            "{answers} questions were answered by two nodes"
        );
        Ok(())
    })
}
