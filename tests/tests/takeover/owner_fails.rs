//! Faults of the owner of an address: another node serves it soon, and never two nodes at a time.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use heartbeat_tests::{
    Cluster, Fault, Options,
    e2e::{
        MILLISECOND, SOON, Trial,
        availability::{servers, wait_served, wait_silent},
        kernel::{guard, guards},
        load::Spinners,
        machine_stalls::MachineStalls,
        reach::{BRIEF, ask},
        shortcuts::{start_first_by, swift, wait_holder, with_cluster},
        trial::{runs, starve_time},
    },
    needs,
    netns::Namespace,
    node::Node,
    sys::boottime,
    wait::observe,
    wait_until,
};
use heartbeat_user::{
    control::protocol::{EventKind, VipEvent},
    net::{Announcer, Netlink},
};

/// The time for which an agent is stopped.
const STOPPED: Duration = Duration::from_secs(5);

/// Repeats a fault of the present owner of the address, and heals it.
fn again_and_again(
    name: &'static str,
    fault: Fault,
    meanwhile: impl Fn(&mut Cluster, &Trial, &str) -> Result<()>,
    afterwards: impl Fn(&Cluster, &mut Trial, &str, Boottime) -> Result<()>,
) -> Result<()> {
    with_cluster(swift(), |cluster| {
        let mut trial = Trial::begin(name, cluster)?;
        for _ in 0..runs()? {
            let owner = trial.settle(cluster)?;
            let at = trial.strike(cluster, &owner, fault)?;
            trial.succeeded(cluster, &owner, at)?;
            meanwhile(cluster, &trial, &owner)?;
            let healed_at = boottime();
            trial.heal(cluster, &owner, fault)?;
            afterwards(cluster, &mut trial, &owner, healed_at)?;
        }
        let owner = trial.settle(cluster)?;
        wait_holder(cluster, Some(&owner))?;
        trial.finish(cluster).map(drop)
    })
}

/// Waits until `node` reports that it has removed the address after `since`.
fn gave_it_up(cluster: &Cluster, trial: &mut Trial, node: &str, since: Boottime) -> Result<()> {
    let released = |what: &EventKind| {
        matches!(what.of_vip(), Some(VipEvent::Release { address_ns, .. })
            if Boottime::from_nanos(*address_ns) >= since)
    };
    let what = "the address is gone";
    let event_log = &mut trial.event_log;
    event_log
        .wait(cluster, node, SOON, what, released)
        .map(drop)
}

#[test]
fn owner_with_a_killed_agent_is_succeeded() -> Result<()> {
    needs!(Cluster);
    again_and_again(
        "agent killed",
        Fault::Kill,
        |cluster, trial, owner| {
            // The killed agent could not remove the address; the kernel drops its traffic.
            ensure!(cluster.holders()?.contains(&owner));
            trial.silent_since_closed(cluster.node(owner)?)
        },
        |cluster, _, owner, _| {
            wait_until(SOON, "the log tells of the stale address", || {
                let log = cluster.node(owner)?.logged()?;
                Ok(log.contains("where an earlier run had left it"))
            })
        },
    )
}

#[test]
fn owner_with_a_stopped_agent_is_succeeded_and_gives_up_when_it_resumes() -> Result<()> {
    needs!(Cluster);
    again_and_again(
        "agent stopped for 5 s, then continued",
        Fault::Stop,
        |cluster, trial, owner| {
            observe(STOPPED, || Ok(()))?;
            ensure!(cluster.holders()?.contains(&owner));
            trial.silent_since_closed(cluster.node(owner)?)
        },
        gave_it_up,
    )
}

#[test]
fn isolated_owner_is_succeeded_and_gives_up() -> Result<()> {
    needs!(Cluster);
    for (name, fault) in [
        ("cut off both ways, then healed", Fault::Silent),
        ("carrier lost, then healed", Fault::Cut),
        ("nothing reaches it, then healed", Fault::Deaf),
        ("nothing of it arrives, then healed", Fault::Mute),
    ] {
        let gave_up = |cluster: &mut Cluster, _: &Trial, owner: &str| {
            wait_until(SOON, "the owner that is cut off lets go", || {
                Ok(!cluster.holders()?.contains(&owner))
            })
        };
        again_and_again(name, fault, gave_up, |_, _, _, _| Ok(())).context(name)?;
    }
    Ok(())
}

#[test]
fn guard_silences_a_stopped_owner_for_clients_with_an_old_neighbour_entry() -> Result<()> {
    needs!(Cluster);
    with_cluster(swift(), |cluster| {
        let mut trial = Trial::begin("stopped, its neighbours deceived", cluster)?;
        wait_served(&trial.client, "a", SOON)?;
        let vip = cluster.vip().to_string();
        let mac = |cluster: &Cluster, node: &str| -> Result<String> {
            let mac = cluster.node(node)?.ns.mac("hb0")?;
            mac.context("an interface without an address")
        };
        // A permanent entry: the client believes it, whatever is announced.
        let believe = |cluster: &Cluster, node: &str| -> Result<()> {
            let mac = mac(cluster, node)?;
            let client = cluster.client_namespace();
            let words = [
                "neigh",
                "replace",
                &vip,
                "lladdr",
                &mac,
                "dev",
                "hb0",
                "nud",
                "permanent",
            ];
            client.tool("ip", words).map(drop)
        };
        believe(cluster, "a")?;
        let at = trial.strike(cluster, "a", Fault::Stop)?;
        wait_silent(&trial.client, SOON)?;
        wait_holder_too(cluster, "b")?;
        let before = guard(cluster.node("a")?)?.dropped_in;
        wait_until(
            SOON,
            "the guard has dropped a hundred requests more",
            || Ok(guard(cluster.node("a")?)?.dropped_in >= before + 100),
        )?;
        trial.silent_since_closed(cluster.node("a")?)?;
        ensure!(servers(&trial.client, at.after(swift().lease)).is_empty());

        believe(cluster, "b")?;
        wait_served(&trial.client, "b", SOON)?;
        trial.heal(cluster, "a", Fault::Stop)?;
        gave_it_up(cluster, &mut trial, "a", at)?;
        trial.finish(cluster).map(drop)
    })
}

/// An address on the first link, one on the second, and one on an interface that carries no
/// heartbeats.
const EVERYWHERE: &str = r#"
[[group]]
name = "service"

[[group.resource]]
name = "service"
type = "vip"
address = "10.77.0.100/24"
interface = "hb0"

[[group.resource]]
name = "second"
type = "vip"
address = "10.77.1.100/24"
interface = "hb1"

[[group.resource]]
name = "third"
type = "vip"
address = "10.88.0.100/24"
interface = "aux0"
"#;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
const THIRD: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);

/// The packets of an address that the guard of `node` dropped: received and sent.
fn dropped(node: &Node, address: Ipv4Addr) -> Result<(u64, u64)> {
    let rows = guards(node)?;
    let mut rows = rows.iter().filter_map(Result::ok);
    let row = rows.find(|row| IpAddr::from(row.address) == address);
    let row = row.with_context(|| format!("{} does not guard {address}", node.name))?;
    Ok((row.dropped_in, row.dropped_out))
}

/// Gives `ns` a permanent neighbour entry that maps `address` to `interface` of `node`.
fn deceive(
    ns: &Namespace,
    dev: &str,
    address: Ipv4Addr,
    (node, interface): (&Node, &str),
) -> Result<()> {
    let mac = node.ns.mac(interface)?;
    let mac = mac.context("an interface without an address")?;
    let address = address.to_string();
    let words = [
        "neigh",
        "replace",
        &address,
        "lladdr",
        &mac,
        "dev",
        dev,
        "nud",
        "permanent",
    ];
    ns.tool("ip", words).map(drop)
}

/// Announces `address` on `interface`, as an agent does that believes it holds the lease.
fn announce(node: &Node, interface: &str, address: Ipv4Addr) -> Result<()> {
    node.ns.enter(|| {
        let found = Netlink::open()?.interface(interface)?;
        // An error only says that the guard dropped the announcement.
        let _ = Announcer::open(&found)?.announce(address.into());
        Ok(())
    })
}

#[test]
fn guard_silences_a_stopped_owner_on_every_interface() -> Result<()> {
    needs!(Cluster);
    let everywhere = Options {
        links: 2,
        groups: Some(EVERYWHERE.to_owned()),
        ..swift()
    };
    Cluster::run(everywhere, |cluster| {
        let (second, annex) = (Namespace::new("second")?, Namespace::new("annex")?);
        cluster.plug(&second, "hb1", 1)?;
        second.add_address("hb1", Ipv4Addr::new(10, 77, 1, 200).into(), 24)?;
        for (node, number) in cluster.nodes().iter().zip(1..) {
            let there = format!("to-{}", node.name);
            node.ns.join("aux0", &annex, &there)?;
            node.ns.set_up("aux0", true)?;
            annex.set_up(&there, true)?;
            node.ns
                .add_address("aux0", Ipv4Addr::new(10, 88, 0, number).into(), 24)?;
        }
        annex.add_address("to-a", Ipv4Addr::new(10, 88, 0, 200).into(), 24)?;
        // A host accepts packets for each of its addresses on each interface.
        second.tool("ip", ["route", "add", "10.77.0.100/32", "via", "10.77.1.1"])?;
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;

        let a = cluster.node("a")?;
        deceive(cluster.client_namespace(), "hb0", FIRST, (a, "hb0"))?;
        deceive(&second, "hb1", SECOND, (a, "hb1"))?;
        deceive(&annex, "to-a", THIRD, (a, "aux0"))?;
        let ways = |cluster: &Cluster, look: &dyn Fn(&Namespace, Ipv4Addr) -> Result<()>| {
            look(cluster.client_namespace(), FIRST)?;
            look(&second, SECOND)?;
            look(&second, FIRST)?;
            look(&annex, THIRD)
        };
        ways(cluster, &|ns, address| {
            wait_until(SOON, &format!("a answers at {address}"), || {
                Ok(ask(ns, address.into(), BRIEF)?.as_deref() == Some("a"))
            })
        })?;
        cluster.inject("a", Fault::Stop)?;
        wait_holder_too(cluster, "b")?;
        let a = cluster.node("a")?;
        ways(cluster, &|ns, address| {
            let before = dropped(a, address)?.0;
            for _ in 0..3 {
                let answer = ask(ns, address.into(), BRIEF)?;
                ensure!(answer.is_none(), "{answer:?} answered at {address}");
            }
            let after = dropped(a, address)?.0;
            ensure!(
                after >= before + 3,
                "{address}: {before}, then {after} dropped"
            );
            Ok(())
        })?;
        for (interface, address) in [
            ("hb0", FIRST),
            ("hb1", FIRST),
            ("hb1", SECOND),
            ("aux0", FIRST),
            ("aux0", THIRD),
        ] {
            let before = dropped(a, address)?.1;
            announce(a, interface, address)?;
            let after = dropped(a, address)?.1;
            // An announcement is a request and a reply.
            ensure!(
                after >= before + 2,
                "{address} on {interface}: {before}, then {after} dropped"
            );
        }
        // The start of the group adds all addresses. The interface monitor had none to repair.
        for node in cluster.nodes() {
            ensure!(
                !node.logged()?.contains("the agent attached it again"),
                "{}",
                node.logged()?
            );
        }
        cluster.heal("a", Fault::Stop)?;
        wait_holder(cluster, Some("b"))
    })
}

/// Waits until `name` has the address on an interface, whether or not others have it.
fn wait_holder_too(cluster: &Cluster, name: &str) -> Result<()> {
    wait_until(SOON, &format!("{name} has the address"), || {
        Ok(cluster.holders()?.contains(&name))
    })
}

/// Starves all nodes of CPU time, and checks how often the lease changed its owner.
fn starved(name: &'static str, cluster: &mut Cluster) -> Result<()> {
    let mut trial = Trial::begin(name, cluster)?;
    let owner = trial.settle(cluster)?;
    trial.listen(cluster)?;
    let before = trial.event_log.acquisitions("service").len();
    // Load of ordinary priority does not delay these threads; only a host that withholds a CPU
    // does.
    let machine = MachineStalls::of_the_machine()?;
    let spinners = Spinners::start(4)?;
    let mut heard = boottime();
    observe(starve_time(5)?, || {
        cluster.check_agents()?;
        // An agent keeps only so many events: they are collected before it drops any.
        if boottime().since(heard) > Duration::from_secs(1) {
            trial.listen(cluster)?;
            heard = boottime();
        }
        Ok(())
    })?;
    drop(spinners);
    trial.settle(cluster)?;
    trial.listen(cluster)?;
    let mut taken = trial.event_log.acquisitions("service").split_off(before);
    taken.retain(|taken| !machine.explain(taken.majority));
    ensure!(
        name != ALL_REAL_TIME || taken.is_empty(),
        "{owner} lost the lease: {taken:#?}"
    );
    trial.finish(cluster).map(drop)
}

const ALL_REAL_TIME: &str = "starved, four processes to a CPU";

#[test]
fn starved_owner_keeps_the_lease() -> Result<()> {
    needs!(Cluster);
    let defaults = Options {
        interval: 10 * MILLISECOND,
        timeout: 30 * MILLISECOND,
        lease: 60 * MILLISECOND,
        ..swift()
    };
    with_cluster(defaults, |cluster| starved(ALL_REAL_TIME, cluster))
}

#[test]
fn starved_owner_without_real_time_never_shares_the_lease() -> Result<()> {
    needs!(Cluster);
    Cluster::run(swift(), |cluster| {
        let script = "exec prlimit --rtprio=0 setpriv --bounding-set=-sys_nice \
            \"$HEARTBEAT_BIN\" \"$@\"";
        start_first_by(cluster, script)?;
        let pulse = cluster.node("a")?.control.status()?.pulse;
        ensure!(pulse.scheduling == "other", "{pulse:?}");
        starved("starved, the owner without real time", cluster)
    })
}

#[test]
fn agent_back_within_its_lease_serves_on() -> Result<()> {
    needs!(Cluster);
    let long = Options {
        lease: Duration::from_secs(3),
        max_lease: Duration::from_secs(3),
        ..swift()
    };
    with_cluster(long, |cluster| {
        let mut trial = Trial::begin("agent restarted within its lease", cluster)?;
        for _ in 0..runs()? {
            let owner = trial.settle(cluster)?;
            let at = trial.strike(cluster, &owner, Fault::Kill)?;
            trial.heal(cluster, &owner, Fault::Kill)?;
            // The wait is longer than the lease of the dead agent.
            observe(Duration::from_secs(4), || {
                ensure!(cluster.holders()? == [owner.as_str()], "the address moved");
                Ok(())
            })?;
            ensure!(*servers(&trial.client, at) == [owner.as_str().into()]);
            let guard = guard(cluster.node(&owner)?)?;
            ensure!(
                (guard.dropped_in, guard.dropped_out) == (0, 0),
                "the guard closed in between: {guard:?}"
            );
            let gap = trial.within_a_lease(cluster, at)?;
            trial.note(gap);
            ensure!(trial.settle(cluster)? == owner);
        }
        let acquisitions = trial.finish(cluster)?.acquisitions;
        ensure!(
            acquisitions == 0,
            "the lease was acquired {acquisitions} times"
        );
        Ok(())
    })
}
