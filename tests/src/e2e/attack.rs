//! Attackers that impersonate one node towards another, by `fixtures/attacker.py`.

use anyhow::{Context as _, Result, ensure};

use super::{SOON, python::Script};
use crate::{
    Cluster,
    config::{Family, host, interface},
    netns::Namespace,
    node::Node,
    wait_until,
};

/// Starts an attacker on the client's machine.
pub fn stranger(cluster: &Cluster, source: &str, target: &str) -> Result<Script> {
    let at = interface(0);
    attacker(
        cluster,
        cluster.client_namespace(),
        (&at, &at),
        source,
        target,
    )
}

/// Starts an attacker in the switch. It records the frames of `source`, and sends to `target`.
pub fn wiretap(cluster: &Cluster, source: &str, target: &str) -> Result<Script> {
    let port = |node: &str| -> Result<&String> {
        cluster
            .node(node)?
            .ports
            .first()
            .context("a node without ports")
    };
    let (mouth, ear) = (port(target)?, port(source)?);
    attacker(
        cluster,
        cluster.switch().namespace(),
        (mouth, ear),
        source,
        target,
    )
}

/// Starts an attacker in `ns` that sends on one interface and receives on another.
fn attacker(
    cluster: &Cluster,
    ns: &Namespace,
    (mouth, ear): (&str, &str),
    source: &str,
    target: &str,
) -> Result<Script> {
    let number = |name: &str| -> Result<u8> {
        let index = cluster.nodes().iter().position(|node| node.name == name);
        index
            .map(host)
            .with_context(|| format!("there is no node {name}"))
    };
    let (source, target_id) = (number(source)?, number(target)?);
    let target = cluster.node(target)?;
    let mac = target
        .ns
        .mac(&interface(0))?
        .context("the target has no MAC address")?;
    let key = target.key();
    let args = [
        ("--interface", mouth),
        ("--hear", ear),
        ("--cluster", "rig"),
        ("--key", key.to_str().context("a path in UTF-8")?),
        ("--target-mac", &mac),
        ("--target-ip", &Family::V4.address(0, target_id).to_string()),
        ("--target-id", &target_id.to_string()),
        ("--source-ip", &Family::V4.address(0, source).to_string()),
        ("--source-id", &source.to_string()),
    ];
    let args: Vec<&str> = args
        .iter()
        .flat_map(|(name, value)| [*name, value])
        .collect();
    Script::start(ns, "attacker.py", &args)
}

/// Waits until `counter` of `node` has grown by exactly `count` since it was `before`.
pub fn counted(node: &Node, counter: &str, before: u64, count: u64) -> Result<()> {
    let mut now = before;
    wait_until(SOON, "all frames are counted", || {
        now = node.counter(counter)?;
        Ok(now >= before + count)
    })
    .with_context(|| format!("{counter} went from {before} to {now} by {count} frames"))?;
    ensure!(
        now == before + count,
        "{counter} went from {before} to {now} by {count} frames"
    );
    Ok(())
}
