//! Addresses that others change: interfaces are renamed, addresses are removed or added by hand,
//! and other hosts claim them.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    config::Family,
    e2e::{
        EventLog, GRACE, MILLISECOND, SOON,
        availability::{longest_silence, wait_served},
        shortcuts::{node_in, options, wait_holder, wait_logged, wait_status, with_cluster},
    },
    needs,
    netns::Namespace,
    sys::boottime,
    wait_until,
};
use heartbeat_user::{
    control::protocol::{EventKind, GroupEvent, Status, VipEvent},
    net::{Announcer, Claims, Netlink},
};

/// The time in which answers to a request are collected.
const ANSWERS: Duration = Duration::from_millis(100);
/// The longest gap for a client on a busy machine. The test prints the measured gap.
const BACK: Duration = Duration::from_millis(1_000);

/// The time after which the effects of a network event have begun.
const SETTLED: Duration = Duration::from_millis(300);

/// Two links: the second one keeps the lease, whatever happens to the first, which has the address.
/// The lease is long enough to outlive the set-up of a new interface on a busy machine.
fn with(family: Family) -> Options {
    Options {
        family,
        links: 2,
        lease: 500 * MILLISECOND,
        max_lease: 500 * MILLISECOND,
        ..options()
    }
}

/// The interfaces of `node` that have the address.
fn places(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let all = cluster.node(node)?.ns.addresses()?;
    let own = all.into_iter().filter(|(_, a)| *a == cluster.vip());
    // The label of an address is the interface's name, with a number where there are several.
    let name = |label: String| label.split(':').next().map(str::to_owned);
    Ok(own.filter_map(|(label, _)| name(label)).collect())
}

/// The prefix lengths with which `node` has the address.
fn lengths(cluster: &Cluster, node: &str) -> Result<Vec<u8>> {
    let all = cluster
        .node(node)?
        .ns
        .enter(|| Ok(Netlink::open()?.all_addresses()?))?;
    let own = all
        .iter()
        .filter(|(_, prefix)| prefix.address == cluster.vip());
    Ok(own.map(|(_, prefix)| prefix.len).collect())
}

/// Restricts the address to node a, so that it stays there whatever happens to its interface.
fn bind_to_a(cluster: &Cluster) -> Result<()> {
    for other in ["b", "c"] {
        let node = cluster.node(other)?;
        node.heartbeat(&["standby", other, "--force"])?.success()?;
        wait_status(cluster.node("a")?, "it knows that", |status| {
            node_in(status, other).is_ok_and(|node| node.agent == "standby")
        })?;
    }
    Ok(())
}

fn online(cluster: &Cluster, node: &str) -> Result<()> {
    let cli = cluster.node(node)?;
    cli.heartbeat(&["online", node])?.success().map(drop)
}

fn wait_place(cluster: &Cluster, node: &str, interface: &str) -> Result<()> {
    wait_until(
        SOON,
        &format!("{node} has the address on {interface} alone"),
        || Ok(places(cluster, node)? == [interface]),
    )
}

/// The Ethernet addresses that answer an ARP request of the client for the address.
fn answers(cluster: &Cluster) -> Result<Vec<[u8; 6]>> {
    let vip = cluster.vip();
    cluster.client_namespace().enter(|| {
        let mut netlink = Netlink::open()?;
        let interface = netlink.interface("hb0")?;
        let claims = Claims::open()?;
        claims.listen_for(&[vip])?;
        let own = netlink.addresses(interface.index)?;
        let link_local = own.iter().find_map(|prefix| match prefix.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        });
        let announcer = Announcer::open(&interface)?;
        let mut macs = Vec::new();
        for _ in 0..5 {
            announcer.probe(vip, link_local)?;
            // More than one interface may answer, so no condition ends the wait.
            thread::sleep(ANSWERS);
            let received = claims.received(64);
            macs.extend(
                received
                    .iter()
                    .filter(|one| one.address == vip)
                    .map(|one| one.mac),
            );
        }
        Ok(macs)
    })
}

fn mac(ns: &Namespace, interface: &str) -> Result<[u8; 6]> {
    ns.enter(|| Ok(Netlink::open()?.interface(interface)?.mac))
}

/// Checks that the address answers, and that all answers come from `interface` of `node`.
fn answered_by(cluster: &Cluster, node: &str, interface: &str) -> Result<()> {
    let expected = mac(&cluster.node(node)?.ns, interface)?;
    let macs = answers(cluster)?;
    ensure!(
        !macs.is_empty() && macs.iter().all(|mac| *mac == expected),
        "answers came from {macs:02x?}, not from {node}'s {interface}, {expected:02x?}, alone"
    );
    println!("{} answers, all from {node}'s {interface}", macs.len());
    Ok(())
}

/// Renames hb0 of `node` to `old`, and gives the name to a new interface on the same network.
fn usurp(cluster: &mut Cluster, node: &str, old: &str) -> Result<()> {
    let a = cluster.node(node)?;
    a.tool("ip", ["link", "set", "hb0", "name", old])?;
    // The rig plugs interfaces into namespaces that are no nodes, so a spare name is used.
    let spare = format!("{old}n");
    a.ns.add_pair("hb0", &spare)?;
    a.ns.set_up(&spare, true)?;
    a.ns.set_up("hb0", true)
}

fn failures(status: &Status) -> u32 {
    let groups = status.groups.iter();
    groups
        .flat_map(|group| &group.resources)
        .map(|resource| resource.failures)
        .sum()
}

fn no_failures(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let failures = failures(&node.control.status()?);
        ensure!(failures == 0, "{} counts {failures} failures", node.name);
    }
    Ok(())
}

/// Waits until the client is answered again, and returns its longest gap since `from`.
fn gap_since(client: &Client, from: Boottime) -> Result<Duration> {
    let settled = from.after(SETTLED);
    wait_until(SOON, "the client is answered again", || {
        Ok(longest_silence(client, settled) != Duration::MAX)
    })?;
    wait_served(client, "a", SOON)?;
    Ok(longest_silence(client, from))
}

/// Changes the owner's address, waits until it is on hb0 again, and returns the client's gap.
fn gap_of(
    cluster: &Cluster,
    client: &Client,
    what: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<Duration> {
    wait_served(client, "a", SOON)?;
    let from = boottime();
    act()?;
    wait_place(cluster, "a", "hb0")?;
    let gap = gap_since(client, from)?;
    println!("{what}: nobody served for {gap:?}");
    Ok(gap)
}

#[test]
fn interface_renamed_while_another_gets_its_name_keeps_no_address() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        with_cluster(with(family), |cluster| {
            // The new interfaces lead nowhere, so the group would move to another node.
            bind_to_a(cluster)?;
            let a = cluster.node("a")?;
            // Each interface answers for its own addresses alone, so an answer shows where the
            // address is.
            let ignore = "/proc/sys/net/ipv4/conf/all/arp_ignore";
            a.ns.enter(|| Ok(std::fs::write(ignore, "1")?))?;
            a.tool("ip", ["link", "set", "hb0", "name", "old0"])?;
            wait_place(cluster, "a", "old0")?;
            answered_by(cluster, "a", "old0")?;
            let ns = &cluster.node("a")?.ns;
            // A bridge takes the name, as when an operator builds it over a port. The port is not
            // in it yet.
            ns.tool("ip", ["link", "add", "hb0", "type", "bridge"])?;
            ns.set_up("hb0", true)?;
            wait_place(cluster, "a", "hb0")?;
            let macs = answers(cluster)?;
            ensure!(
                macs.is_empty(),
                "the former interface, or another node, answers: {macs:02x?}"
            );
            // The port joins the bridge.
            let ns = &cluster.node("a")?.ns;
            ns.tool("ip", ["link", "set", "old0", "master", "hb0"])?;
            answered_by(cluster, "a", "hb0")?;

            // A second interface gets the name while the first one still exists.
            usurp(cluster, "a", "older0")?;
            wait_place(cluster, "a", "hb0")?;
            let said = cluster
                .node("a")?
                .heartbeat(&["standby", "a", "--force"])?
                .success()?;
            ensure!(said.contains("serves nothing"), "{said}");
            wait_holder(cluster, None)?;
            online(cluster, "b")?;
            wait_holder(cluster, Some("b"))?;
            answered_by(cluster, "b", "hb0")?;
            bind_to_a(cluster)?;
            online(cluster, "a")?;
            wait_holder(cluster, Some("a"))?;

            // The agent stops while no interface has the name.
            let a = cluster.node("a")?;
            a.tool("ip", ["link", "set", "hb0", "name", "last0"])?;
            ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
            ensure!(places(cluster, "a")?.is_empty(), "it left the address");
            ensure!(!cluster.node("a")?.pins.path().exists(), "it left pins");
            online(cluster, "b")?;
            wait_holder(cluster, Some("b"))
        })?;
    }
    Ok(())
}

#[test]
fn interface_renamed_while_agent_is_dead_loses_address_at_start() -> Result<()> {
    needs!(Cluster);
    with_cluster(with(Family::V4), |cluster| {
        cluster.inject("a", Fault::Kill)?;
        usurp(cluster, "a", "old0")?;
        ensure!(places(cluster, "a")? == ["old0"]);
        wait_until(SOON, "b serves", || Ok(places(cluster, "b")? == ["hb0"]))?;
        cluster.start_agent("a")?;
        wait_until(SOON, "the address left the former interface", || {
            Ok(!places(cluster, "a")?.contains(&"old0".to_owned()))
        })?;
        wait_logged(
            cluster.node("a")?,
            "from old0, where an earlier run had left it",
        )
    })
}

#[test]
fn interface_back_from_another_namespace_gets_address_again() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        // The prefix length is that of the interface's network, which leaves and returns with it.
        let vip = format!(
            "[[vip]]\nname = \"service\"\naddress = \"{}\"\n",
            family.vip()
        );
        let options = Options {
            groups: Some(vip),
            ..with(family)
        };
        with_cluster(options, |cluster| {
            // Moving an interface by hand takes time, so the group must not leave meanwhile.
            bind_to_a(cluster)?;
            let client = cluster.client(MILLISECOND)?;
            let mut event_log = EventLog::begin(cluster)?;
            wait_served(&client, "a", SOON)?;
            let elsewhere = Namespace::new("elsewhere")?;
            let ns = &cluster.node("a")?.ns;
            ns.enter(|| elsewhere.take("hb0", "hb0"))?;
            let missing = |what: &EventKind| {
                matches!(what, EventKind::Interface { interface, state, .. }
                    if interface == "hb0" && state == "missing")
            };
            event_log.wait(cluster, "a", SOON, "hb0 is missing", missing)?;
            ensure!(elsewhere.addresses()?.is_empty(), "the address went along");
            let ns = &cluster.node("a")?.ns;
            elsewhere.enter(|| ns.take("hb0", "hb0"))?;
            ns.set_up("hb0", true)?;
            // The address returns with its former prefix length.
            wait_place(cluster, "a", "hb0")?;
            ns.add_address("hb0", family.address(0, 1), family.prefix_len())?;
            wait_served(&client, "a", SOON)?;
            answered_by(cluster, "a", "hb0")?;
            ensure!(lengths(cluster, "a")? == [family.prefix_len()]);
            network_that_appears_late(cluster, &client, &elsewhere, family)
        })?;
    }
    Ok(())
}

/// An agent that never knew the network of its interface serves as soon as the network appears.
fn network_that_appears_late(
    cluster: &mut Cluster,
    client: &Client,
    elsewhere: &Namespace,
    family: Family,
) -> Result<()> {
    ensure!(cluster.node_mut("a")?.stop()?, "the agent of a failed");
    let a = cluster.node("a")?;
    // The address is on the other interface, as a host's boot configuration may leave it.
    a.ns.add_address("hb1", cluster.vip(), family.prefix_len())?;
    let warned = a.heartbeat(&["check"])?.err;
    ensure!(
        warned.contains("is on \"hb1\" already, and no agent has put it there"),
        "{warned}"
    );
    a.tool("ip", ["address", "flush", "dev", "hb0", "scope", "global"])?;
    for command in ["check", "run"] {
        let lacks = "has no prefix length, and no network of \"hb0\" holds it";
        a.heartbeat(&[command])?.refusal(&[lacks])?;
    }
    a.ns.enter(|| elsewhere.take("hb0", "hb0"))?;
    cluster.start_agent("a")?;
    let a = cluster.node("a")?;
    wait_until(SOON, "the agent runs without hb0", || {
        Ok(a.control.status().is_ok())
    })?;
    elsewhere.enter(|| a.ns.take("hb0", "hb0"))?;
    a.ns.set_up("hb0", true)?;
    wait_logged(a, "from hb1, where it was before the agent came")?;
    wait_logged(a, "hb0 has no network that holds it")?;
    ensure!(places(cluster, "a")?.is_empty(), "it guessed a length");
    a.ns.add_address("hb0", family.address(0, 1), family.prefix_len())?;
    wait_place(cluster, "a", "hb0")?;
    ensure!(lengths(cluster, "a")? == [family.prefix_len()]);
    wait_served(client, "a", SOON)?;
    // The start without the network failed, and its record goes when the network comes. The other
    // nodes learn this with the next report.
    for node in cluster.nodes() {
        wait_status(node, "no failure is on record", |status| {
            failures(status) == 0
        })?;
    }
    Ok(())
}

#[test]
fn guarded_interfaces_with_swapped_names_stay_guarded() -> Result<()> {
    needs!(Cluster);
    let swapped = Options {
        links: 3,
        ..with(Family::V4)
    };
    with_cluster(swapped, |cluster| {
        let a = cluster.node("a")?;
        for (from, to) in [("hb0", "x"), ("hb1", "hb0"), ("x", "hb1")] {
            a.tool("ip", ["link", "set", from, "name", to])?;
        }
        wait_until(SOON, "the guard is on both, by their names", || {
            let a = cluster.node("a")?;
            let status = a.control.status()?;
            let own = node_in(&status, "a")?;
            let well = own.links.iter().all(|link| link.xdp_mode.is_some());
            Ok(well && places(cluster, "a")? == ["hb0"])
        })?;
        cluster
            .node("a")?
            .heartbeat(&["standby", "a", "--force"])?
            .success()?;
        wait_holder(cluster, Some("b"))
    })
}

#[test]
fn address_removed_by_others_is_back_at_once_without_a_failure() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        with_cluster(with(family), |cluster| {
            let (vip, len) = (cluster.vip(), family.prefix_len());
            let own = family.address(0, 1);
            let ns = &cluster.node("a")?.ns;
            let client = cluster.client(MILLISECOND)?;
            let mut event_log = EventLog::begin(cluster)?;
            let mut gaps = Vec::new();

            gaps.push(gap_of(cluster, &client, "removed", || {
                ns.del_address("hb0", vip, len)
            })?);
            // From here on the node's own address is removed, too, which ends heartbeats on this
            // link.
            bind_to_a(cluster)?;
            gaps.push(gap_of(cluster, &client, "flushed", || {
                ns.tool("ip", ["address", "flush", "dev", "hb0"]).map(drop)
            })?);
            ns.add_address("hb0", own, len)?;
            if family == Family::V4 {
                wait_source(cluster, own)?;
                // The kernel removes a secondary address with its primary one.
                let promote = "/proc/sys/net/ipv4/conf/hb0/promote_secondaries";
                ns.enter(|| Ok(std::fs::write(promote, "0")?))?;
                ns.enter(|| Ok(std::fs::write(promote.replace("hb0", "all"), "0")?))?;
                gaps.push(gap_of(
                    cluster,
                    &client,
                    "its primary address removed",
                    || ns.del_address("hb0", own, len),
                )?);
                ns.add_address("hb0", own, len)?;
                wait_source(cluster, own)?;
            }
            gaps.push(gap_of(cluster, &client, "interface down and up", || {
                ns.set_up("hb0", false)?;
                ns.set_up("hb0", true)
            })?);
            if family == Family::V6 {
                ns.add_address("hb0", own, len)?;
            }
            let what = |what: &EventKind| matches!(what.of_vip(), Some(VipEvent::PutBack { .. }));
            event_log.wait(cluster, "a", SOON, "it put the address back", what)?;
            no_failures(cluster)?;
            ensure!(gaps[0] < BACK, "it took {gaps:?}");

            // The agent keeps restoring the address, and names a likely cause.
            for _ in 0..6 {
                let ns = &cluster.node("a")?.ns;
                ns.del_address("hb0", vip, len)?;
                wait_place(cluster, "a", "hb0")?;
            }
            for cause in ["systemd-networkd", "NetworkManager"] {
                wait_logged(cluster.node("a")?, cause)?;
            }
            let shown = cluster.node("a")?.heartbeat(&["status"])?.success()?;
            ensure!(shown.contains("another process had removed"), "{shown}");
            no_failures(cluster)?;

            // A node that does not serve the address leaves a removal alone.
            let removed = removals(cluster, "a")?;
            online(cluster, "b")?;
            cluster
                .node("a")?
                .heartbeat(&["standby", "a", "--force"])?
                .success()?;
            wait_holder(cluster, Some("b"))?;
            wait_served(&client, "b", SOON)?;
            wait_holder(cluster, Some("b"))?;
            ensure!(
                removals(cluster, "a")? == removed,
                "it put the address back in its stop"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// The number of times that the log of `node` says that the address was restored.
fn removals(cluster: &Cluster, node: &str) -> Result<usize> {
    Ok(cluster
        .node(node)?
        .logged()?
        .matches("another process had removed")
        .count())
}

/// Waits until new connections of node a have `own` as their source.
fn wait_source(cluster: &Cluster, own: IpAddr) -> Result<()> {
    let client = Family::V4.client();
    let mut from = None;
    wait_until(SOON, &format!("connections of a come from {own}"), || {
        let ns = &cluster.node("a")?.ns;
        from = ns.enter(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((client, 9))?;
            Ok(Some(socket.local_addr()?.ip()))
        })?;
        Ok(from == Some(own))
    })
    .with_context(|| format!("the last came from {from:?}"))
}

#[test]
fn address_removed_in_maintenance_is_left_alone() -> Result<()> {
    needs!(Cluster);
    with_cluster(with(Family::V4), |cluster| {
        cluster
            .node("a")?
            .heartbeat(&["maintenance", "on"])?
            .success()?;
        wait_status(cluster.node("a")?, "it is in maintenance", |status| {
            status.groups.iter().all(|group| group.maintenance)
        })?;
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let ns = &cluster.node("a")?.ns;
        ns.del_address("hb0", cluster.vip(), Family::V4.prefix_len())?;
        // The agent has handled later changes, so it has seen this one.
        for _ in 0..3 {
            ns.set_up("hb0", false)?;
            ns.set_up("hb0", true)?;
            answers(cluster)?;
        }
        ensure!(cluster.holders()?.is_empty(), "the agent put it back");
        cluster
            .node("a")?
            .heartbeat(&["maintenance", "off"])?
            .success()?;
        wait_served(&client, "a", SOON)?;
        no_failures(cluster)
    })
}

#[test]
fn address_without_lease_is_removed_and_reported() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        with_cluster(with(family), |cluster| {
            let (vip, len) = (cluster.vip(), family.prefix_len());
            let mut event_log = EventLog::begin(cluster)?;
            // The address is removed also from an interface on which it is not configured.
            for interface in ["hb0", "hb1"] {
                cluster.node("b")?.ns.add_address(interface, vip, len)?;
                wait_holder(cluster, Some("a"))?;
                let what = |what: &EventKind| matches!(what.of_vip(), Some(VipEvent::Stray { message }) if message.contains(interface));
                event_log.wait(cluster, "b", SOON, "a stray address", what)?;
            }
            let shown = cluster.node("b")?.heartbeat(&["status"])?.success()?;
            ensure!(shown.contains("without the lease"), "{shown}");
            answered_by(cluster, "a", "hb0")
        })?;
    }
    Ok(())
}

/// A host beside the cluster, on the network of the address.
fn stranger(cluster: &mut Cluster) -> Result<Namespace> {
    let ns = Namespace::new("stranger")?;
    cluster.plug(&ns, "st0", 0)?;
    Ok(ns)
}

#[test]
fn address_announced_by_another_host_is_defended() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        with_cluster(with(family), |cluster| {
            let ns = stranger(cluster)?;
            let vip = cluster.vip();
            let client = cluster.client(MILLISECOND)?;
            let mut event_log = EventLog::begin(cluster)?;
            wait_served(&client, "a", SOON)?;
            // A guest announces all its addresses like this after a migration.
            for round in 0..3 {
                let from = boottime();
                ns.enter(|| {
                    let interface = Netlink::open()?.interface("st0")?;
                    Announcer::open(&interface)?.announce(vip)
                })?;
                let gap = gap_since(&client, from)?;
                println!("{family:?}, claim {round}: nobody served for {gap:?}");
                ensure!(gap < BACK + GRACE, "it took {gap:?}");
            }
            let told = |what: &EventKind| matches!(what.of_vip(), Some(VipEvent::Claimed { .. }));
            event_log.wait(cluster, "a", SOON, "another host claims it", told)?;
            let shown = cluster.node("a")?.heartbeat(&["status"])?.success()?;
            ensure!(shown.contains("claimed by another host"), "{shown}");
            cluster.wait_well(SOON, "a")?;
            let mut told = event_log.reported_by("a").map(|event| &event.what);
            ensure!(
                told.all(|what| !matches!(what.of_group(), Some(GroupEvent::LeaseGivenUp(_)))),
                "it gave up the lease"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn address_in_use_by_another_host_is_reported_at_takeover() -> Result<()> {
    needs!(Cluster);
    for family in Family::ALL {
        with_cluster(with(family), |cluster| {
            let ns = stranger(cluster)?;
            ns.add_address("st0", cluster.vip(), family.prefix_len())?;
            let theirs = mac(&ns, "st0")?.map(|byte| format!("{byte:02x}")).join(":");
            let mut event_log = EventLog::begin(cluster)?;
            cluster
                .node("a")?
                .heartbeat(&["standby", "a", "--force"])?
                .success()?;
            let told = |what: &EventKind| matches!(what.of_vip(), Some(VipEvent::Claimed { mac, .. }) if *mac == theirs);
            event_log.wait(cluster, "b", SOON, "another host has the address", told)?;
            let took = event_log
                .reported_by("b")
                .find_map(|event| match event.what.of_vip() {
                    Some(VipEvent::Takeover {
                        decided_ns,
                        announced_ns,
                        ..
                    }) => Some(Duration::from_nanos(announced_ns - decided_ns)),
                    _ => None,
                });
            println!("{family:?}: from the decision to the announcement {took:?}");
            let shown = cluster.node("b")?.heartbeat(&["status"])?.success()?;
            ensure!(shown.contains(&theirs), "{shown}");
            Ok(())
        })?;
    }
    Ok(())
}
