//! Links and virtual addresses on VLAN interfaces. These tests need a kernel with 802.1Q, as in the
//! machine that `cargo xtask test --vm` starts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::{Family, interface},
    e2e::{
        MILLISECOND, Program, SOON,
        availability::{servers, wait_served},
        heartbeat,
        shortcuts::{emulated, node_in, wait_logged, wait_status},
    },
    node::Node,
    sys::boottime,
    wait::slowness,
    wait_until,
};
use heartbeat_user::control::protocol::{Link, Status};

const VLAN: u16 = 5;
/// The first link, a VLAN interface on top of the second link.
const TAGGED: &str = "hb0.5";
const PARENT: &str = "hb0";

fn options() -> Options {
    Options {
        links: 2,
        vlan: Some(VLAN),
        ..emulated()
    }
}

fn patience() -> Duration {
    SOON * slowness()
}

/// Puts the second link onto the wire of the first, without a tag.
fn share_the_wire(cluster: &Cluster) -> Result<()> {
    for (node, host) in cluster.nodes().iter().zip(1..) {
        node.tool("ip", ["link", "del", &interface(1)])?;
        address_parent(node, host)?;
        let line = |name| format!("interface = \"{name}\"\n");
        node.reconfigure(&line(interface(1).as_str()), &line(PARENT))?;
    }
    Ok(())
}

/// Gives the parent the address that the second link has.
fn address_parent(node: &Node, host: u8) -> Result<()> {
    let (address, length) = (Family::V4.address(1, host), Family::V4.prefix_len());
    node.ns.add_address(PARENT, address, length)
}

fn own_link(status: &Status, number: usize) -> Result<&Link> {
    let own = node_in(status, &status.node)?;
    own.links.get(number).context("no such link")
}

/// Waits until all is well and the agents receive each other on both links. The witness answers on
/// the first.
fn wait_both_links(cluster: &mut Cluster) -> Result<()> {
    cluster.wait_well(patience(), "a")?;
    for (name, other) in [("a", "b"), ("b", "a")] {
        wait_status(cluster.node(name)?, "both links are up", |status| {
            let links = node_in(status, other).map(|node| &node.links);
            let up = |link: &Link| link.state.as_deref() == Some("up");
            links.is_ok_and(|links| links.len() == 2 && links.iter().all(up))
        })?;
    }
    Ok(())
}

/// Waits until the tagged link is in skb mode with the reason, and its parent in native mode.
fn wait_modes(node: &Node) -> Result<()> {
    wait_status(node, "skb on the VLAN, native below it", |status| {
        let mode = |link| own_link(status, link).ok()?.xdp_mode.as_deref();
        (mode(0), mode(1)) == (Some("skb"), Some("native"))
    })?;
    let status = node.control.status()?;
    let tagged = own_link(&status, 0)?;
    let why = tagged.xdp_fallback.as_deref().unwrap_or_default();
    ensure!(
        why.contains("native XDP was refused") && why.contains("a VLAN interface never can"),
        "{tagged:#?}"
    );
    let problems = [0, 1].map(|link| own_link(&status, link).map(|link| link.problem.clone()));
    ensure!(
        problems.iter().all(|p| matches!(p, Ok(None))),
        "{problems:?}"
    );
    Ok(())
}

/// Checks that the address is on the VLAN interface of `node`, and on no other interface.
fn has_the_address(cluster: &Cluster, node: &str) -> Result<()> {
    let addresses = cluster.node(node)?.ns.addresses()?;
    let on: Vec<_> = addresses
        .iter()
        .filter(|(_, address)| *address == cluster.vip())
        .map(|(interface, _)| interface.as_str())
        .collect();
    ensure!(on == [TAGGED], "{node} has the address on {on:?}");
    Ok(())
}

#[test]
#[ignore = "needs a kernel with 802.1Q, as in `cargo xtask test --vm`"]
fn vlan_is_a_link_and_serves_an_address_beside_its_parent() -> Result<()> {
    Cluster::run(options(), |cluster| {
        share_the_wire(cluster)?;
        refuses_native_mode(cluster.node("w")?)?;

        // Both links, tagged and untagged, use one wire. The witness votes on the tagged one.
        cluster.start_agents()?;
        wait_both_links(cluster)?;
        for name in ["a", "b"] {
            wait_modes(cluster.node(name)?)?;
            for part in ["hb0.5: native XDP was refused", "FALLING BACK to skb mode"] {
                wait_logged(cluster.node(name)?, part)?;
            }
        }
        // Probes are stamped as they leave, and replies as they arrive.
        let ping = cluster.node("a")?.control.ping("b", 1)?;
        let taken = |times: &[u64]| !times.is_empty() && times.iter().all(|time| *time > 0);
        ensure!(
            ping.links.len() == 2 && ping.links.iter().all(|link| taken(&link.rtt_ns)),
            "{ping:?}"
        );
        has_the_address(cluster, "a")?;
        let client = cluster.client(MILLISECOND * slowness())?;
        wait_served(&client, "a", patience())?;

        // A VLAN interface goes down and up with its parent. The lease outlives that.
        let flapped = boottime();
        let a = cluster.node("a")?;
        a.ns.set_up(PARENT, false)?;
        a.ns.set_up(PARENT, true)?;
        let served = || servers(&client, flapped);
        wait_until(
            patience(),
            "answers come again",
            || Ok(!served().is_empty()),
        )?;
        wait_both_links(cluster)?;
        ensure!(*served() == ["a".into()], "{:?} served", served());

        // Without an agent the kernel answers, and closes the guard before another node serves.
        let killed = boottime();
        cluster.inject("a", Fault::Kill)?;
        wait_status(cluster.node("b")?, "the kernel of a answers", |status| {
            node_in(status, "a").is_ok_and(|a| a.state == "agent-stalled")
        })?;
        wait_served(&client, "b", patience())?;
        let served = servers(&client, killed);
        ensure!(*served == ["a".into(), "b".into()], "{served:?} served");
        for node in ["a", "b"] {
            // Both nodes have the address, so only the guard keeps a silent.
            has_the_address(cluster, node)?;
        }
        cluster.start_agent("a")?;
        wait_both_links(cluster)?;
        wait_served(&client, "a", patience())?;

        // The VLAN interface is deleted with its parent, and is used again once it is made again.
        let b = cluster.node("b")?;
        b.tool("ip", ["link", "del", PARENT])?;
        wait_status(b, "both interfaces are missing", |status| {
            let problem = |link| own_link(status, link).ok()?.problem.as_deref();
            let missing = |link| problem(link).is_some_and(|why| why.contains("no such interface"));
            missing(0) && missing(1)
        })?;
        cluster.plug_anew("b", 0)?;
        address_parent(cluster.node("b")?, 2)?;
        wait_both_links(cluster)?;
        wait_modes(cluster.node("b")?)?;

        // An orderly stop detaches every program.
        for name in ["a", "b"] {
            let node = cluster.node_mut(name)?;
            ensure!(node.stop()?, "the agent of {name} failed");
            let filters = node.tool("tc", ["filter", "show", "dev", TAGGED, "egress"])?;
            ensure!(!filters.contains("direct-action"), "{name}: {filters}");
            ensure!(!node.pins.path().exists(), "{name} left pins");
        }
        Ok(())
    })
}

/// With native mode required, the agent says what the kernel refused, and the remedy.
fn refuses_native_mode(node: &Node) -> Result<()> {
    let mut load = heartbeat(&["load", "--iface", TAGGED, "--mode", "native", "--config"])?;
    load.arg(node.config());
    let refused = [
        "hb0.5: native XDP was refused",
        "a VLAN interface never can",
        "mode = \"auto\"",
    ];
    Program::run(Some(&node.ns), load, patience())?.refusal(&refused)
}
