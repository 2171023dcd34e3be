//! The socket guard: a node without its lease is not reached at its addresses by its own processes
//! and containers either, whatever state its agent is in.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::wait_served,
        kernel::guards,
        reach::{BRIEF, Connection, Echo, ask},
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs,
    netns::Namespace,
    node::Node,
    wait_until,
};
use heartbeat_user::control::protocol::EventKind;

/// One group with an address of each family.
const BOTH: &str = r#"
[[group]]
name = "service"
stickiness = 100

[[group.resource]]
name = "service"
type = "vip"
address = "10.77.0.100/24"

[[group.resource]]
name = "six"
type = "vip"
address = "fd77::64/64"
"#;

fn addresses() -> [IpAddr; 2] {
    Family::ALL.map(Family::vip)
}

/// Makes a container behind a veth pair, as container engines do. Its default route is the node
/// `host`.
fn container(host: &Node) -> Result<Namespace> {
    let container = Namespace::new("container")?;
    host.ns.join("box0", &container, "eth0")?;
    let (v4, v6) = (
        |host| IpAddr::from(Ipv4Addr::new(172, 31, 7, host)),
        |host| IpAddr::from(Ipv6Addr::new(0xfd31, 0, 0, 7, 0, 0, 0, host)),
    );
    for (ns, interface, number) in [(&host.ns, "box0", 1), (&container, "eth0", 2)] {
        ns.set_up(interface, true)?;
        ns.add_address(interface, v4(number), 24)?;
        ns.add_address(interface, v6(number.into()), 64)?;
    }
    container.tool("ip", ["route", "add", "default", "via", "172.31.7.1"])?;
    container.tool(
        "ip",
        ["-6", "route", "add", "default", "via", "fd31:0:0:7::1"],
    )?;
    Ok(container)
}

/// Waits until `node` answers a datagram from `ns` to `address`.
fn wait_answer(ns: &Namespace, address: IpAddr, node: &str) -> Result<()> {
    let mut last = None;
    let what = format!("{node} answers at {address}");
    let waited = wait_until(SOON, &what, || {
        last = ask(ns, address, BRIEF)?;
        Ok(last.as_deref() == Some(node))
    });
    waited.with_context(|| format!("the last answer was of {last:?}"))
}

fn wait_talk(ns: &Namespace, address: IpAddr) -> Result<Connection> {
    let mut talk =
        Connection::open(ns, address, SOON)?.with_context(|| format!("no TCP to {address}"))?;
    ensure!(talk.echoes(SOON)?, "no echo at {address}");
    Ok(talk)
}

/// Checks that `ns` gets no answer from `address`.
fn unreachable(ns: &Namespace, address: IpAddr) -> Result<()> {
    for _ in 0..3 {
        let answer = ask(ns, address, BRIEF)?;
        ensure!(answer.is_none(), "{answer:?} answered at {address}");
    }
    let talk = Connection::open(ns, address, 2 * BRIEF)?;
    ensure!(talk.is_none(), "a new connection to {address}");
    Ok(())
}

/// The packets that the guard of a node dropped, by direction.
fn dropped(node: &Node) -> Result<(u64, u64)> {
    let rows = guards(node)?;
    let rows = rows.iter().collect::<Result<Vec<_>, _>>()?;
    let sum = |count: fn(&heartbeat_common::maps::GuardRow) -> u64| rows.iter().map(count).sum();
    Ok((sum(|row| row.dropped_in), sum(|row| row.dropped_out)))
}

fn stale_owner_is_not_reached(fault: Fault) -> Result<()> {
    let both = Options {
        groups: Some(BOTH.to_owned()),
        ..options()
    };
    with_cluster(both, |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let (a, b) = (cluster.node("a")?, cluster.node("b")?);
        let container = container(a)?;
        let _echoes = [Echo::start(&a.ns)?, Echo::start(&b.ns)?];
        let mut talks = Vec::new();
        for address in addresses() {
            for ns in [&container, &a.ns] {
                wait_answer(ns, address, "a")?;
                talks.push((address, wait_talk(ns, address)?));
            }
            // A node that does not serve the address is an ordinary client of it.
            wait_answer(&b.ns, address, "a")?;
            wait_answer(&cluster.node("c")?.ns, address, "a")?;
        }

        cluster.inject("a", fault)?;
        wait_served(&client, "b", SOON)?;
        let a = cluster.node("a")?;
        ensure!(
            cluster.holders()?.contains(&"a"),
            "nobody was there to remove it"
        );
        let before = dropped(a)?;
        for (address, talk) in &mut talks {
            ensure!(
                !talk.echoes(2 * BRIEF)?,
                "{address} was heard after the lease"
            );
        }
        for address in addresses() {
            for ns in [&container, &a.ns] {
                unreachable(ns, address)?;
            }
            // Node b is in another network namespace of the same kernel, and its guard is open.
            wait_answer(&cluster.node("b")?.ns, address, "b")?;
            wait_answer(&cluster.node("c")?.ns, address, "b")?;
        }
        let after = dropped(a)?;
        ensure!(
            after.0 > before.0 && after.1 > before.1,
            "{before:?}, {after:?}"
        );

        // Without the stale address the node and its container are ordinary clients.
        cluster.heal("a", fault)?;
        wait_holder(cluster, Some("b"))?;
        cluster.wait_well(SOON, "b")?;
        for address in addresses() {
            wait_answer(&cluster.node("a")?.ns, address, "b")?;
        }
        let (a, b) = (cluster.node("a")?, cluster.node("b")?);
        a.tool("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        b.tool("ip", ["route", "add", "172.31.7.0/24", "via", "10.77.0.1"])?;
        wait_answer(&container, Family::V4.vip(), "b")
    })
}

#[test]
fn address_of_a_killed_agent_is_closed_to_local_processes_and_containers() -> Result<()> {
    needs!(Cluster);
    stale_owner_is_not_reached(Fault::Kill)
}

#[test]
fn address_of_a_stopped_agent_is_closed_to_local_processes_and_containers() -> Result<()> {
    needs!(Cluster);
    stale_owner_is_not_reached(Fault::Stop)
}

const PINS: [&str; 2] = ["link_guard_received", "link_guard_sent"];

fn pin(node: &Node, name: &str) -> PathBuf {
    node.pins.path().join(name)
}

/// The socket links in the kernel: the id of each, and of its cgroup.
fn links(node: &Node) -> Result<Vec<(u64, u64)>> {
    let link = |name| {
        let path = pin(node, name).display().to_string();
        let text = node.tool("bpftool", ["--json", "link", "show", "pinned", &path])?;
        let shown: serde_json::Value = serde_json::from_str(&text)?;
        let number = |key: &str| {
            shown[key]
                .as_u64()
                .with_context(|| format!("no {key}: {text}"))
        };
        Ok((number("id")?, number("cgroup_id")?))
    };
    PINS.into_iter().map(link).collect()
}

fn is_attached(node: &Node) -> Result<bool> {
    let guard = node.control.status()?.socket_guard;
    Ok(guard.is_some_and(|guard| guard.attached && guard.problem.is_none()))
}

#[test]
fn detached_socket_guard_is_attached_again() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let mut event_log = EventLog::begin(cluster)?;
        for name in PINS {
            let a = cluster.node("a")?;
            ensure!(is_attached(a)?);
            let path = pin(a, name).display().to_string();
            a.tool("bpftool", ["link", "detach", "pinned", &path])?;
            let at = Instant::now();
            event_log.wait(cluster, "a", SOON, "it is attached again", |what| {
                matches!(what, EventKind::SocketGuard { state, message }
                    if state == "attached" && message.contains("another process had removed it"))
            })?;
            eprintln!("{name}: put back after {:?}", at.elapsed());
            let links = links(a)?;
            ensure!(links.iter().all(|(_, cgroup)| *cgroup != 0), "{links:?}");
            event_log = EventLog::begin(cluster)?;
        }
        // The pin is removed, too.
        let a = cluster.node("a")?;
        fs::remove_file(pin(a, PINS[0]))?;
        wait_until(SOON, "it is pinned again", || Ok(pin(a, PINS[0]).exists()))
    })
}

#[test]
fn socket_guard_outlives_a_killed_agent_is_adopted_and_ends_with_a_stop() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let before = links(cluster.node("a")?)?;
        cluster.inject("a", Fault::Kill)?;
        ensure!(
            links(cluster.node("a")?)? == before,
            "they did not outlive it"
        );
        cluster.heal("a", Fault::Kill)?;
        cluster
            .wait_well(SOON, "b")
            .or_else(|_| cluster.wait_well(SOON, "a"))?;
        ensure!(links(cluster.node("a")?)? == before, "they were made anew");
        let a = cluster.node_mut("a")?;
        ensure!(is_attached(a)?);
        ensure!(a.stop()?, "it did not end well");
        ensure!(!a.pins.path().exists(), "pins are left");
        wait_until(SOON, "the kernel has let the links go", || {
            let text = a.tool("bpftool", ["--json", "link", "show"])?;
            let shown: Vec<serde_json::Value> = serde_json::from_str(&text)?;
            let ids: Vec<u64> = shown
                .iter()
                .filter_map(|link| link["id"].as_u64())
                .collect();
            Ok(before.iter().all(|(id, _)| !ids.contains(id)))
        })
    })
}

#[test]
fn node_without_addresses_has_no_socket_guard() -> Result<()> {
    needs!(Cluster);
    let without = Options {
        groups: Some(String::new()),
        ..options()
    };
    Cluster::run(without, |cluster| {
        cluster.start_agents()?;
        let a = cluster.node("a")?;
        ensure!(a.control.status()?.socket_guard.is_none());
        ensure!(PINS.iter().all(|name| !pin(a, name).exists()));
        Ok(())
    })
}
