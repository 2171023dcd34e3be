//! The network of an address fails at its owner while heartbeats pass on another link. The address
//! moves to a node that is not cut off.

use std::time::Duration;

use anyhow::{Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Options,
    client::Client,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::{longest_silence, wait_served},
        shortcuts::{node_in, options, wait_holder, wait_logged, wait_status, with_cluster},
    },
    needs,
    wait::observe,
};
use heartbeat_user::{
    clock,
    control::protocol::{EventKind, Group, GroupEvent, Reason, Status},
};

/// The longest time without an answer on a busy machine.
const BUSY: Duration = Duration::from_millis(1_500);

fn two_links(family: Family) -> Options {
    Options {
        links: 2,
        family,
        ..options()
    }
}

fn service(status: &Status) -> Option<&Group> {
    status.groups.iter().find(|group| group.name == "service")
}

/// Waits until `node` serves, and prints the time without an answer.
fn wait_taken(client: &Client, node: &str, since: Boottime, fault: &str) -> Result<()> {
    wait_served(client, node, SOON)?;
    let gap = longest_silence(client, since);
    println!("{fault}: {node} serves, and nobody did for {gap:?}");
    ensure!(gap < BUSY, "{fault}: nobody served for {gap:?}");
    Ok(())
}

/// Waits until the agent of `author` reports that the group stops there because it is cut off.
fn wait_left(event_log: &mut EventLog, cluster: &Cluster, author: &str) -> Result<()> {
    let what = "the group leaves as one that is cut off";
    let told = |what: &EventKind| {
        matches!(
            what.of_group(),
            Some(GroupEvent::LeaseGivenUp(Reason::CutOff))
        )
    };
    event_log.wait(cluster, author, SOON, what, told).map(drop)
}

fn wait_cut_off(cluster: &Cluster, at: &str, nodes: &[&str]) -> Result<()> {
    let what = format!("cut off are {nodes:?}");
    wait_status(cluster.node(at)?, &what, |status| {
        service(status).is_some_and(|group| group.cut_off == nodes)
    })
}

#[test]
fn owner_with_a_failed_service_network_hands_over() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_links(Family::V4), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;

        let since = clock::now();
        cluster.set_forwarding("a", 0, false)?;
        wait_taken(&client, "b", since, "a silent switch")?;
        wait_left(&mut event_log, cluster, "a")?;
        wait_cut_off(cluster, "c", &["a"])?;
        let shown = cluster.node("c")?.heartbeat(&["status"])?.success()?;
        ensure!(shown.contains("(cut off on a)"), "{shown}");
        let shown = cluster.node("c")?.heartbeat(&["explain", "service"])?;
        let shown = shown.success()?;
        ensure!(shown.contains("a: CANNOT have it"), "{shown}");
        let moved = cluster.node("b")?.heartbeat(&["move", "service", "a"])?;
        ensure!(!moved.status.success(), "it went where nobody reaches it");

        // Node a is received again on this link, but it is not eligible yet.
        cluster.set_forwarding("a", 0, true)?;
        wait_status(cluster.node("c")?, "a is heard there again", |status| {
            let links = node_in(status, "a").map(|node| node.links.clone());
            links.is_ok_and(|links| links[0].state.as_deref() == Some("up"))
        })?;
        let since = clock::now();
        cluster.set_carrier("b", 0, false)?;
        wait_taken(&client, "c", since, "no carrier")?;
        wait_left(&mut event_log, cluster, "b")?;
        event_log.no_down_reports()
    })
}

#[test]
fn interface_switched_off_is_left_and_reported() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_links(Family::V6), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;
        let since = clock::now();
        cluster.set_carrier("a", 0, false)?;
        wait_taken(&client, "b", since, "no carrier, IPv6")?;
        wait_left(&mut event_log, cluster, "a")?;
        let told = |what: &EventKind| {
            matches!(what, EventKind::Interface { interface, state, message }
                if interface == "hb0" && state == "lost" && message.contains("NO CARRIER"))
        };
        event_log.wait(cluster, "a", SOON, "hb0 has no carrier", told)?;
        let a = cluster.node("a")?;
        wait_logged(a, "WARN")?;
        let shown = a.heartbeat(&["status"])?.success()?;
        ensure!(shown.contains("NO CARRIER for"), "{shown}");
        ensure!(
            shown.contains("unknown: own link no carrier for"),
            "{shown}"
        );
        wait_status(a, "the peers are heard by the other link", |status| {
            let peer = node_in(status, "b");
            peer.is_ok_and(|node| {
                let state = |link: usize| node.links[link].state.as_deref();
                node.state == "up" && state(0) == Some("unknown") && state(1) == Some("up")
            })
        })?;

        // The address returns once the port has worked for some time.
        cluster.set_carrier("a", 0, true)?;
        wait_served(&client, "a", SOON)?;
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn address_stays_when_the_whole_network_fails() -> Result<()> {
    needs!(Cluster);
    with_cluster(two_links(Family::V4), |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        // The owner last: until all nodes are cut off, one that is not could take the address.
        for node in ["c", "b", "a"] {
            cluster.set_carrier(node, 0, false)?;
        }
        wait_cut_off(cluster, "a", &["a", "b", "c"])?;
        observe(Duration::from_secs(1), || {
            ensure!(cluster.holders()? == ["a"]);
            Ok(())
        })?;
        event_log.listen(cluster, "a")?;
        let left = |event: &&_| {
            let heartbeat_user::control::protocol::Event { what, .. } = *event;
            matches!(what.of_group(), Some(GroupEvent::LeaseGivenUp(_)))
        };
        ensure!(event_log.reported_by("a").find(left).is_none());
        Ok(())
    })
}

#[test]
fn address_leaves_a_failed_interface_without_heartbeats() -> Result<()> {
    needs!(Cluster);
    let group = "[[vip]]\nname = \"service\"\naddress = \"10.77.0.100/24\"\ninterface = \"front\"\n\
                 prefer = [\"a\", \"b\", \"c\"]\n";
    let other_card = Options {
        groups: Some(group.to_owned()),
        ..options()
    };
    Cluster::run(other_card, |cluster| {
        for node in ["a", "b", "c"] {
            let front = format!("front-{node}");
            let ns = &cluster.node(node)?.ns;
            let (far, name) = (format!("far-{node}"), front.as_str());
            ns.add_pair(name, &far)?;
            for end in [name, &far] {
                ns.set_up(end, true)?;
            }
            let setting = format!("interface = \"{front}\"");
            cluster
                .node(node)?
                .reconfigure("interface = \"front\"", &setting)?;
        }
        cluster.start_agents()?;
        wait_holder(cluster, Some("a"))?;
        let mut event_log = EventLog::begin(cluster)?;
        cluster.node("a")?.ns.set_up("far-a", false)?;
        wait_holder(cluster, Some("b"))?;
        wait_left(&mut event_log, cluster, "a")?;
        cluster.node("b")?.ns.set_up("front-b", false)?;
        wait_holder(cluster, Some("c"))?;
        delete_front(cluster, "c")?;
        wait_cut_off(cluster, "a", &["a", "b", "c"])
    })
}

fn delete_front(cluster: &Cluster, node: &str) -> Result<()> {
    let front = format!("front-{node}");
    let ns = &cluster.node(node)?.ns;
    ns.tool("ip", ["link", "delete", &front]).map(drop)
}

#[test]
fn node_without_any_link_knows_nothing_of_the_others() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let c = cluster.node("c")?;
        c.ns.set_up("hb0", false)?;
        wait_status(c, "it says that its own link is down", |status| {
            let peers = status.nodes.iter().filter(|node| !node.local);
            let unknown = peers.map(|node| node.state == "unknown");
            !status.quorum.quorate && unknown.min() == Some(true)
        })?;
        let shown = c.heartbeat(&["status"])?.success()?;
        for part in [
            "hb0, native XDP, DOWN for",
            "Node c (id 3, this node): online (no quorum)",
            "Node a (id 1): unknown (own link down)",
        ] {
            ensure!(shown.contains(part), "no `{part}` in\n{shown}");
        }
        let shown = c.heartbeat(&["explain", "service"])?.success()?;
        ensure!(shown.contains("no quorum"), "{shown}");
        wait_logged(c, "DOWN: it is switched off")?;
        c.ns.set_up("hb0", true)?;
        cluster.wait_well(SOON, "a")
    })
}
