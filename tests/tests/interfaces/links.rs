//! Interfaces that go and come, routers, and large frames: agents adapt without a restart.

use std::{
    env,
    net::UdpSocket,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    programs::{
        Xdp, XdpMode,
        links::{FdLink, PinnedLink},
    },
};
use heartbeat_tests::{
    Cluster, Fault, Options,
    cluster::OBJECT,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{node_in, options, wait_holder, wait_logged, wait_status, with_cluster},
    },
    needs,
    netns::Namespace,
};
use heartbeat_user::control::protocol::{EventKind, GroupEvent, Link, Status};

/// A program that passes every frame.
fn pass(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let pass: &mut Xdp = ebpf.program_mut("pass").context("no `pass`")?.try_into()?;
    pass.load()?;
    Ok(pass)
}

/// Replaces the program of the link that is pinned at `pin`.
fn usurp(other: &mut Xdp, pin: &Path) -> Result<()> {
    let link = FdLink::from(PinnedLink::from_pin(pin)?);
    let id = other.attach_to_link(link.try_into()?)?;
    drop(other.take_link(id)?);
    Ok(())
}

fn rig_programs() -> Result<Ebpf> {
    let object = env::var_os(OBJECT).map(PathBuf::from).context(OBJECT)?;
    Ok(Ebpf::load_file(object)?)
}

/// Waits until `author` reports that `interface` is `state`, with `part` in the message.
fn wait_turn(
    event_log: &mut EventLog,
    cluster: &Cluster,
    author: &str,
    (interface, state, part): (&str, &str, &str),
) -> Result<()> {
    let what = format!("{interface} is {state}: {part}");
    let told = |what: &EventKind| {
        matches!(what, EventKind::Interface { interface: i, state: s, message }
            if i == interface && s == state && message.contains(part))
    };
    event_log.wait(cluster, author, SOON, &what, told).map(drop)
}

/// Waits until the agent of `name` sees all links of all others up.
fn wait_all_links(cluster: &Cluster, name: &str) -> Result<()> {
    wait_status(cluster.node(name)?, "all links are up", |status| {
        let mut links = status.nodes.iter().flat_map(|node| &node.links);
        links.all(|link| link.state.as_deref().is_none_or(|state| state == "up"))
    })
}

fn own_link(status: &Status, number: usize) -> Result<&Link> {
    let own = node_in(status, &status.node)?;
    own.links.get(number).context("no such link")
}

fn delete(ns: &Namespace, interface: &str) -> Result<()> {
    ns.tool("ip", ["link", "delete", interface]).map(drop)
}

#[test]
fn interfaces_that_go_and_come_are_used_without_a_restart() -> Result<()> {
    needs!(Cluster);
    // The lease is long enough to outlive the set-up of a new interface on a busy machine.
    let two_links = Options {
        links: 2,
        lease: 300 * MILLISECOND,
        max_lease: 300 * MILLISECOND,
        ..options()
    };
    with_cluster(two_links, |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;

        // Another program replaces ours without the agent's knowledge.
        let mut ebpf = rig_programs()?;
        let pass = pass(&mut ebpf)?;
        let pin = cluster.node("a")?.pins.path().join("link_xdp_hb1");
        usurp(pass, &pin)?;
        let turn = ("hb1", "attached", "had removed or replaced");
        wait_turn(&mut event_log, cluster, "a", turn)?;
        wait_all_links(cluster, "b")?;

        // A renamed interface goes on working, and so it does when it gets its name back.
        let a = cluster.node("a")?;
        a.tool("ip", ["link", "set", "hb1", "name", "away1"])?;
        let turn = ("hb1", "renamed", "its name is away1 now");
        wait_turn(&mut event_log, cluster, "a", turn)?;
        a.tool("ip", ["link", "set", "away1", "name", "hb1"])?;
        wait_turn(
            &mut event_log,
            cluster,
            "a",
            ("hb1", "attached", "its name again"),
        )?;

        // The agent notices a missing program under the other name, too.
        a.tool("ip", ["link", "set", "hb1", "name", "away1"])?;
        usurp(pass, &pin)?;
        let turn = ("hb1", "failed", "rename the interface back");
        wait_turn(&mut event_log, cluster, "a", turn)?;
        a.tool("ip", ["link", "set", "away1", "name", "hb1"])?;
        let turn = ("hb1", "attached", "had removed or replaced");
        wait_turn(&mut event_log, cluster, "a", turn)?;
        wait_all_links(cluster, "b")?;

        // An interface is deleted and made again. Going down and up alone changes nothing.
        delete(&cluster.node("a")?.ns, "hb1")?;
        wait_turn(&mut event_log, cluster, "a", ("hb1", "missing", ""))?;
        let what = "link 1 to a is down";
        event_log.wait(cluster, "b", SOON, what, |what| {
            matches!(what, EventKind::Link { node, link: 1, to, .. } if node == "a" && to == "down")
        })?;
        cluster.plug_anew("a", 1)?;
        wait_turn(
            &mut event_log,
            cluster,
            "a",
            ("hb1", "attached", "it is there"),
        )?;
        let ns = &cluster.node("a")?.ns;
        ns.set_up("hb1", false)?;
        ns.set_up("hb1", true)?;
        for node in ["a", "b", "c"] {
            wait_all_links(cluster, node)?;
        }
        event_log.no_down_reports()?;

        for node in ["a", "b", "c"] {
            event_log.listen(cluster, node)?;
            let moved = event_log.reported_by(node).find(|event| {
                matches!(
                    event.what.of_group(),
                    Some(GroupEvent::LeaseGivenUp(_) | GroupEvent::LeaseAcquired { .. })
                )
            });
            ensure!(moved.is_none(), "{node} moved the lease: {moved:#?}");
        }

        // The interface with the address is deleted. The address moves to a node with a working
        // network, and returns once the interface has worked for long enough.
        delete(&cluster.node("a")?.ns, "hb0")?;
        wait_turn(&mut event_log, cluster, "a", ("hb0", "missing", ""))?;
        wait_served(&client, "b", SOON)?;
        cluster.plug_anew("a", 0)?;
        wait_turn(
            &mut event_log,
            cluster,
            "a",
            ("hb0", "attached", "it is there"),
        )?;
        wait_served(&client, "a", SOON)?;
        wait_holder(cluster, Some("a"))?;
        for node in ["a", "b", "c"] {
            wait_all_links(cluster, node)?;
        }
        event_log.no_down_reports()
    })
}

#[test]
fn detached_tc_programs_are_attached_again_and_reported() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        // A node without the address may lose its own frames for a moment.
        for (node, program, name) in [
            ("a", "guard_egress", "the guard's TC program"),
            ("c", "tc", "the TC program that stamps probes"),
            // A program that was attached again can be detached again.
            ("a", "guard_egress", "the guard's TC program"),
        ] {
            let mut event_log = EventLog::begin(cluster)?;
            let pin = cluster.node(node)?.pins.path();
            let pin = pin.join(format!("link_{program}_hb0"));
            let pin = pin.display().to_string();
            let detach = ["link", "detach", "pinned", &pin];
            cluster.node(node)?.tool("bpftool", detach)?;
            wait_turn(&mut event_log, cluster, node, ("hb0", "attached", name))?;
            for part in ["WARN", name] {
                wait_logged(cluster.node(node)?, part)?;
            }
        }
        cluster.wait_well(SOON, "a")
    })
}

#[test]
fn address_on_loopback_is_refused_and_stops_nothing() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let a = cluster.node("a")?;
        let shared = "[[vip]]\nname = \"anycast\"\naddress = \"10.9.9.9/32\"\n\
                      interface = \"lo\"\n\n[[vip]]\nname = \"service\"";
        a.reconfigure("[[vip]]\nname = \"service\"", shared)?;
        for command in ["check", "reload"] {
            let ended = a.heartbeat(&[command])?;
            let said = format!("{}{}", ended.out, ended.err);
            ensure!(!ended.status.success(), "{command}: {said}");
            for part in ["vip \"anycast\"", "\"lo\" is no Ethernet interface"] {
                ensure!(said.contains(part), "{command}: no `{part}` in {said}");
            }
        }
        wait_holder(cluster, Some("a"))?;
        // An agent does not start with such a file, and gives the same reason.
        let c = cluster.node_mut("c")?;
        ensure!(c.stop()?, "the agent of c failed");
        c.reconfigure("[[vip]]\nname = \"service\"", shared)?;
        let ended = c.heartbeat(&["run"])?;
        ensure!(
            !ended.status.success() && ended.err.contains("is no Ethernet interface"),
            "{ended:?}"
        );
        wait_holder(cluster, Some("a"))
    })
}

#[test]
fn stacked_links_work_in_any_order() -> Result<()> {
    needs!(Cluster);
    let two_links = Options {
        links: 2,
        ..options()
    };
    play_on_top(two_links, |cluster| {
        let modes = |status: &Status| -> Result<_> {
            let mode = |link| own_link(status, link).map(|link| link.xdp_mode.clone());
            Ok([mode(0)?, mode(1)?].map(Option::unwrap_or_default))
        };
        let a = cluster.node("a")?;
        ensure!(modes(&a.control.status()?)? == ["skb", "native"]);

        // The program of the lower interface is detached. It is attached again, as is that of the
        // upper one.
        let mut event_log = EventLog::begin(cluster)?;
        let pin = a.pins.path().join("link_xdp_hb0").display().to_string();
        a.tool("bpftool", ["link", "detach", "pinned", &pin])?;
        let turn = ("hb0", "attached", "had removed or replaced the XDP program");
        wait_turn(&mut event_log, cluster, "a", turn)?;
        wait_all_links(cluster, "b")?;
        let a = cluster.node("a")?;
        ensure!(modes(&a.control.status()?)? == ["skb", "native"]);

        // The next agent adopts the programs of a killed one, and an orderly stop detaches all of
        // them.
        cluster.inject("a", Fault::Kill)?;
        cluster.start_agent("a")?;
        cluster.wait_well(SOON, "a")?;
        wait_all_links(cluster, "b")?;
        wait_logged(cluster.node("a")?, "took over leases and guard")?;
        let a = cluster.node_mut("a")?;
        ensure!(a.stop()?, "the agent of a failed");
        ensure!(!a.pins.path().exists(), "it left pins");
        let shown = a.tool("ip", ["link"])?;
        ensure!(!shown.contains("prog/xdp"), "{shown}");
        Ok(())
    })
}

/// Runs `test` with the first link on top of the second. Its name has a dot, like that of a VLAN
/// interface.
fn play_on_top(options: Options, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    Cluster::run(options, |cluster| {
        for (node, host) in cluster.nodes().iter().zip(1..) {
            delete(&node.ns, "hb1")?;
            // Both interfaces receive all ARP requests, and each answers for its own addresses.
            let answer = "/proc/sys/net/ipv4/conf/all/arp_ignore";
            node.ns.enter(|| Ok(std::fs::write(answer, "1")?))?;
            let [first, second] = [0, 1].map(|link| Family::V4.address(link, host));
            node.ns.del_address("hb0", first, 24)?;
            let top = [
                "link", "add", "link", "hb0", "name", "hb0.5", "type", "macvlan",
            ];
            node.tool("ip", top)?;
            node.ns.set_up("hb0.5", true)?;
            node.ns.add_address("hb0.5", first, 24)?;
            node.ns.add_address("hb0", second, 24)?;
            node.reconfigure("interface = \"hb0\"", "interface = \"hb0.5\"")?;
            node.reconfigure("interface = \"hb1\"", "interface = \"hb0\"")?;
        }
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        for node in ["a", "b", "c"] {
            wait_all_links(cluster, node)?;
        }
        test(cluster)
    })
}

#[test]
fn link_missing_at_start_is_used_when_it_comes() -> Result<()> {
    needs!(Cluster);
    let two_links = Options {
        links: 2,
        ..options()
    };
    Cluster::run(two_links, |cluster| {
        // The first link is also that of the address.
        delete(&cluster.node("a")?.ns, "hb0")?;
        cluster.start_agents()?;
        let a = cluster.node("a")?;
        wait_status(a, "it is active, and says what is missing", |status| {
            let problem = own_link(status, 0)
                .ok()
                .and_then(|link| link.problem.as_ref());
            status.state == "active" && problem.is_some_and(|why| why.contains("no such interface"))
        })?;
        let status = a.control.status()?;
        let modes = [0, 1].map(|link| own_link(&status, link).map(|link| link.xdp_mode.clone()));
        let [missing, there] = modes;
        ensure!(
            missing?.is_none() && there?.as_deref() == Some("native"),
            "{status:#?}"
        );
        let shown = a.heartbeat(&["status"])?.success()?;
        ensure!(shown.contains("hb0, NO XDP"), "{shown}");
        ensure!(shown.contains(", loss "), "{shown}");
        wait_logged(a, "link 0 is OUT OF USE")?;

        cluster.plug_anew("a", 0)?;
        for node in ["a", "b", "c"] {
            wait_all_links(cluster, node)?;
        }
        let what = "what failed for want of the interface may run again";
        wait_status(cluster.node("a")?, what, |status| {
            let mut groups = status.groups.iter();
            groups.all(|group| !group.barred.iter().any(|node| node == "a"))
        })
    })
}

#[test]
fn nodes_behind_a_router_with_large_frames_take_over() -> Result<()> {
    needs!(Cluster);
    Cluster::run(options(), |cluster| {
        let router = Namespace::new("router")?;
        beyond(cluster, &router)?;
        // The router and its node exchange jumbo frames in native mode.
        let b = cluster.node("b")?;
        for (ns, interface) in [(&router, "rb"), (&b.ns, "hb0")] {
            ns.tool("ip", ["link", "set", interface, "mtu", "9000"])?;
        }
        // The far end needs an XDP program: without one, frames that ours transmits are lost.
        let mut ebpf = rig_programs()?;
        let pass = pass(&mut ebpf)?;
        router.enter(|| Ok(pass.attach("rb", XdpMode::Driver)?))?;
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let status = cluster.node("b")?.control.status()?;
        let mode = own_link(&status, 0)?.xdp_mode.as_deref();
        ensure!(mode == Some("native"), "{status:#?}");
        large_datagram_passes(&router, &cluster.node("b")?.ns)?;

        // The route to b changes to another router's address.
        let a = cluster.node("a")?;
        a.tool("ip", ["route", "del", "10.78.0.0/24"])?;
        // Without the route the kernel asks for b as a neighbour, and no host answers.
        wait_status(a, "probes find no way", |status| {
            age(status, "b") > status.timeout_ns
        })?;
        let way = ["route", "add", "10.78.0.0/24", "via", "10.77.0.253"];
        a.tool("ip", way)?;
        wait_status(a, "b answers again", |status| {
            age(status, "b") < status.timeout_ns
        })?;
        cluster.wait_well(SOON, "a")
    })
}

/// The time since the last reply of a node.
fn age(status: &Status, node: &str) -> u64 {
    let link = node_in(status, node)
        .ok()
        .and_then(|node| node.links.first());
    let age = link.and_then(|link| link.peer.as_ref()?.last_reply_age_ns);
    age.unwrap_or(u64::MAX)
}

/// Moves node b into a network of its own behind `router`.
fn beyond(cluster: &mut Cluster, router: &Namespace) -> Result<()> {
    cluster.plug(router, "r0", 0)?;
    for address in ["10.77.0.254", "10.77.0.253"] {
        router.add_address("r0", address.parse()?, 24)?;
    }
    let b = cluster.node("b")?;
    delete(&b.ns, "hb0")?;
    b.ns.join("hb0", router, "rb")?;
    b.ns.add_address("hb0", "10.78.0.2".parse()?, 24)?;
    router.add_address("rb", "10.78.0.254".parse()?, 24)?;
    for (ns, interface) in [(&b.ns, "hb0"), (router, "rb")] {
        ns.set_up(interface, true)?;
    }
    b.tool("ip", ["route", "add", "default", "via", "10.78.0.254"])?;
    for node in ["a", "c"] {
        let way = ["route", "add", "10.78.0.0/24", "via", "10.77.0.254"];
        cluster.node(node)?.tool("ip", way)?;
    }
    router.enter(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
    for node in cluster.nodes() {
        node.reconfigure("[\"10.77.0.2\"]", "[\"10.78.0.2\"]")?;
    }
    Ok(())
}

/// Sends a datagram of several pages in one direction.
fn large_datagram_passes(from: &Namespace, to: &Namespace) -> Result<()> {
    const LENGTH: usize = 8_900;
    let receiver = to.enter(|| Ok(UdpSocket::bind("10.78.0.2:9999")?))?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    let sender = from.enter(|| Ok(UdpSocket::bind("10.78.0.254:0")?))?;
    sender.send_to(&[7; LENGTH], "10.78.0.2:9999")?;
    let mut buffer = [0; LENGTH + 1];
    let (length, _) = receiver.recv_from(&mut buffer)?;
    ensure!(length == LENGTH && buffer[..length] == [7; LENGTH]);
    Ok(())
}
