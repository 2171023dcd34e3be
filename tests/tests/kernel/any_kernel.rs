//! The whole work of an agent, which must succeed on every kernel that heartbeat supports.
//!
//! `cargo xtask test` runs this on the running kernel, and `cargo xtask test --vm` on older ones.
//! Those machines are emulated and slow: `HEARTBEAT_TEST_SLOWNESS=20` multiplies all times by 20.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, programs::SchedClassifier, util::KernelVersion};
use heartbeat_tests::{
    Cluster, Fault, Options,
    config::interface,
    e2e::{
        MILLISECOND, Program, SOON,
        availability::{servers, wait_served},
        heartbeat,
        shortcuts::{emulated, node_in, wait_logged, wait_status},
    },
    kernel, needs,
    netns::Namespace,
    node::Node,
    sys::boottime,
    wait::slowness,
    wait_until,
};
use heartbeat_user::net::{EgressFilter, Netlink};
use nix::errno::Errno;

/// The first kernel where the TC programs hang on links, not on filters.
const LINKS: KernelVersion = KernelVersion::new(6, 6, 0);

fn options() -> Options {
    // The lease is long enough for a restart of the agent.
    let lease = 2_000 * MILLISECOND * slowness();
    Options {
        lease,
        max_lease: lease,
        ..emulated()
    }
}

/// Our TC filters on the egress of a node's link, as `tc` shows them.
fn filters(node: &Node) -> Result<Vec<String>> {
    let shown = node.tool("tc", ["filter", "show", "dev", &interface(0), "egress"])?;
    let ours = shown.lines().filter(|line| line.contains("direct-action"));
    Ok(ours.map(str::to_owned).collect())
}

/// Checks that the egress of `node` has one stamp and one guard, whatever happened before. Kernels
/// with links have no filters at all.
fn once_attached(node: &Node) -> Result<()> {
    let filters = filters(node)?;
    if KernelVersion::current()? >= LINKS {
        ensure!(filters.is_empty(), "{}: {filters:#?}", node.name);
        return Ok(());
    }
    let ours = |pin: &str| {
        let name = node.pins.path().join(pin).display().to_string();
        filters.iter().filter(|line| line.contains(&name)).count()
    };
    let (guard, stamp) = (ours("link_guard_egress_hb0"), ours("link_tc_hb0"));
    ensure!((guard, stamp, filters.len()) == (1, 1, 2), "{filters:#?}");
    ensure!(
        filters[0].contains("pref 1 "),
        "the guard is first: {filters:#?}"
    );
    Ok(())
}

fn kill(cluster: &mut Cluster, node: &str) -> Result<()> {
    cluster.inject(node, Fault::Kill)
}

#[test]
fn agents_probe_vote_guard_and_take_over_on_any_kernel() -> Result<()> {
    needs!(Cluster);
    let patience = SOON * slowness();
    Cluster::run(options(), |cluster| {
        // The programs load, attach, probe and reply, and three kernels vote for a lease.
        cluster.start_agents()?;
        cluster.wait_well(patience, "a")?;
        let client = cluster.client(MILLISECOND * slowness())?;
        wait_served(&client, "a", patience)?;
        once_attached(cluster.node("a")?)?;
        let ping = cluster.node("a")?.control.ping("b", 1)?;
        let taken = |times: &[u64]| !times.is_empty() && times.iter().all(|time| *time > 0);
        ensure!(taken(&ping.links[0].rtt_ns), "{ping:?}");

        // An agent that is back within its lease goes on unnoticed.
        let killed = boottime();
        kill(cluster, "a")?;
        cluster.start_agent("a")?;
        wait_until(patience, "the agent of a runs again", || {
            cluster.check_agents()?;
            Ok(cluster.node("a")?.control.status().is_ok())
        })?;
        let away = boottime().since(killed);
        cluster.wait_well(patience, "a")?;
        let went_on = "took over leases and guard";
        wait_logged(cluster.node("a")?, went_on)?;
        once_attached(cluster.node("a")?)?;
        wait_served(&client, "a", patience)?;
        let served = servers(&client, killed);
        // If a start takes longer than the lease, another node takes over, as it should.
        ensure!(
            *served == ["a".into()] || away > options().lease,
            "{served:?} served, {away:?} after a was killed it was back"
        );

        // Without an agent the kernel answers, and the guard closes before another node serves.
        let killed = boottime();
        kill(cluster, "a")?;
        wait_status(cluster.node("b")?, "the kernel of a answers", |status| {
            node_in(status, "a").is_ok_and(|a| a.state == "agent-stalled")
        })?;
        wait_served(&client, "b", patience)?;
        ensure!(
            *servers(&client, killed) == ["a".into(), "b".into()],
            "{:?} served",
            servers(&client, killed)
        );
        once_attached(cluster.node("a")?)?;
        let holders = cluster.holders()?;
        ensure!(
            holders == ["a", "b"],
            "the guard was not needed: {holders:?}"
        );
        cluster.start_agent("a")?;
        cluster.wait_well(patience, "a")?;
        once_attached(cluster.node("a")?)?;

        // The kernel's timer reports a silent peer at its deadline; the vote of the witness keeps
        // the lease.
        cluster.inject("b", Fault::Silent)?;
        wait_status(cluster.node("a")?, "b is down, a serves", |status| {
            node_in(status, "b").is_ok_and(|b| b.state == "down") && status.vips[0].held
        })?;
        cluster.heal("b", Fault::Silent)?;
        cluster.wait_well(patience, "a")?;

        // After `unload` nothing is left, whichever way the agent ended.
        kill(cluster, "a")?;
        unload(cluster.node("a")?)?;
        ensure!(cluster.node_mut("b")?.stop()?, "the agent of b failed");
        for name in ["a", "b"] {
            let left = filters(cluster.node(name)?)?;
            ensure!(left.is_empty(), "{name}: {left:#?}");
        }
        ensure!(cluster.holders()?.is_empty(), "the address is still there");
        Ok(())
    })
}

fn unload(node: &Node) -> Result<()> {
    let instance = node.pins.path().file_name().and_then(|name| name.to_str());
    let instance = instance.context("pins without an instance")?;
    let unload = heartbeat(&["unload", "--instance", instance])?;
    let said = Program::run(Some(&node.ns), unload, SOON * slowness())?.success()?;
    ensure!(
        said == format!("instance `{instance}` unloaded\n"),
        "{said}"
    );
    Ok(())
}

/// TC filters, which stand in for links before Linux 6.6, work on every kernel.
#[test]
fn tc_filter_is_replaced_in_place_and_others_are_left_alone() -> Result<()> {
    needs!(Kernel);
    let object = kernel::object()?;
    let mut ebpf = Ebpf::load_file(&object)?;
    let program = ebpf.program_mut("guard_egress").context("no program")?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    let program = program.fd()?.as_fd();
    let ns = Namespace::new("filters")?;
    ns.add_pair("left", "right")?;
    let index = ns.index("left")?;
    let mut netlink = ns.enter(|| Ok(Netlink::open()?))?;
    let filter = |priority, name: &str| EgressFilter {
        priority,
        handle: 0x6862,
        name: name.to_owned(),
    };
    let (ours, others) = (filter(1, "ours"), filter(2, "others"));
    ensure!(netlink.egress_filters(index)?.is_empty());
    for filter in [&ours, &others] {
        netlink.put_egress_filter(index, filter, program, false)?;
    }
    let again = netlink.put_egress_filter(index, &ours, program, false);
    let refused = again.err().and_then(|error| error.errno());
    ensure!(refused == Some(Errno::EEXIST), "{refused:?}");

    let renamed = filter(1, "renamed");
    netlink.put_egress_filter(index, &renamed, program, true)?;
    let found = netlink.egress_filters(index)?;
    ensure!(found == [renamed.clone(), others.clone()], "{found:#?}");
    let shown = ns.tool("tc", ["filter", "show", "dev", "left", "egress"])?;
    ensure!(shown.matches("direct-action").count() == 2, "{shown}");

    ensure!(netlink.remove_egress_filter(index, &renamed)?);
    ensure!(!netlink.remove_egress_filter(index, &renamed)?, "twice");
    let found = netlink.egress_filters(index)?;
    ensure!(found == [others], "{found:#?}");
    Ok(())
}
