//! The order of a planned move, read from the kernel while it happens: the guard closes, then the
//! addresses are removed, then the lease is released.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, Map, MapData};
use heartbeat_common::{
    maps::{Address, GUARD_ROWS, GuardRow, LeaseRow},
    time::Boottime,
};
use heartbeat_tests::{
    Cluster, Options,
    e2e::{
        MILLISECOND, SOON,
        actors::{group, vip},
        groups::{output_of, wait_all_active, wait_runs},
        guards::GuardWatch,
        shortcuts::{options, wait_status},
    },
    needs,
    node::Node,
    sys::{boottime, realtime},
    wait_until,
};
use nix::ifaddrs::getifaddrs;

/// The number of addresses in the group: enough that their removal takes a while.
const ADDRESSES: u8 = 12;
/// `BPF_F_LOCK`, include/uapi/linux/bpf.h: reads the slot under its own lock.
const LOCKED: u64 = 4;

fn groups() -> String {
    let addresses = (0..ADDRESSES).map(|number| vip(&format!("ip{number}"), 101 + number));
    group("many", "", &addresses.collect::<Vec<_>>())
}

/// The group in one kernel: the guards of its addresses, and the slot of the node's acceptor.
struct Kernel {
    guard: Array<MapData, GuardRow>,
    rows: Vec<u32>,
    leases: HashMap<MapData, u32, LeaseRow>,
    group: u32,
}

impl Kernel {
    fn of(node: &Node) -> Result<Self> {
        let open = |map: &str| -> Result<MapData> {
            let path = node.pins.path().join(map);
            MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))
        };
        let guard: Array<MapData, GuardRow> = Map::Array(open("guard")?).try_into()?;
        let used = |index: &u32| {
            let row = guard.get(index, 0);
            row.is_ok_and(|row| row.address != Address::default())
        };
        let rows: Vec<u32> = (0..GUARD_ROWS as u32).filter(used).collect();
        ensure!(
            rows.len() == usize::from(ADDRESSES),
            "{} rows of guards",
            rows.len()
        );
        let group = guard.get(&rows[0], 0)?.group.into();
        let leases = Map::HashMap(open("leases")?).try_into()?;
        Ok(Self {
            guard,
            rows,
            leases,
            group,
        })
    }

    fn is_open(&self) -> Result<bool> {
        let open = |index: &u32| -> Result<bool> {
            Ok(Boottime::from_nanos(self.guard.get(index, 0)?.open_until) > boottime())
        };
        let open: Vec<bool> = self.rows.iter().map(open).collect::<Result<_>>()?;
        Ok(open.contains(&true))
    }

    /// Whether the node's own acceptor has granted the group to this node.
    fn is_granted_to(&self, id: u32) -> Result<bool> {
        Ok(self.leases.get(&self.group, LOCKED)?.slot.owner == id)
    }
}

/// The number of the group's addresses in this namespace.
fn addresses_here() -> Result<usize> {
    let of_the_group = |last: u8| (101..101 + ADDRESSES).contains(&last);
    let mut count = 0;
    for entry in getifaddrs()? {
        let address = entry.address;
        let ip = address
            .as_ref()
            .and_then(|storage| storage.as_sockaddr_in());
        let octets = ip.map(|ip| ip.ip().octets());
        count += usize::from(matches!(octets, Some([10, 77, 0, last]) if of_the_group(last)));
    }
    Ok(count)
}

/// The samples that were taken while the group moved.
#[derive(Debug, Default)]
struct Seen {
    samples: usize,
    /// Samples after the guard closed and before the last address was removed. They show that the
    /// reader is fast enough.
    between: usize,
    wrong: Vec<String>,
}

/// Samples slot, addresses and guard in this order, without a pause, until `ends`. So each value is
/// older than the next.
fn read(kernel: &Kernel, id: u32, ends: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen::default();
    // Real-time priority lets the reader run beside the agent's real-time threads.
    realtime();
    while !ends.load(Relaxed) {
        let granted = kernel.is_granted_to(id)?;
        let there = addresses_here()?;
        let open = kernel.is_open()?;
        seen.samples += 1;
        seen.between += usize::from(!open && there > 0);
        if !granted && there > 0 {
            let at = boottime();
            seen.wrong.push(format!(
                "at {at} the lease was free, and {there} addresses were there"
            ));
        }
        if there < usize::from(ADDRESSES) && open {
            let at = boottime();
            seen.wrong.push(format!(
                "at {at} {there} addresses were left, and the guard was open"
            ));
        }
    }
    Ok(seen)
}

/// Moves the group from `from` to `to` while the kernel of `from` is read.
fn moved(cluster: &Cluster, from: &str, id: u32, to: &str) -> Result<Seen> {
    let node = cluster.node(from)?;
    let kernel = Kernel::of(node)?;
    let ends = AtomicBool::new(false);
    let seen = thread::scope(|scope| -> Result<Seen> {
        let reader = scope.spawn(|| node.ns.enter(|| read(&kernel, id, &ends)));
        let moved = output_of(cluster, to, &["move", "many", to]);
        let gone = wait_until(SOON, "the addresses are gone", || {
            Ok(cluster.node(from)?.ns.enter(addresses_here)? == 0)
        });
        ends.store(true, Relaxed);
        let seen = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        moved?;
        gone?;
        Ok(seen)
    })?;
    wait_runs(cluster, "many", to)?;
    Ok(seen)
}

#[test]
fn planned_move_closes_the_guard_then_removes_the_address_then_releases() -> Result<()> {
    needs!(Cluster);
    let patient = Options {
        interval: MILLISECOND,
        lease: Duration::from_secs(1),
        max_lease: Duration::from_secs(1),
        groups: Some(groups()),
        ..options()
    };
    Cluster::run(patient, |cluster| {
        cluster.start_agents()?;
        wait_all_active(cluster)?;
        wait_runs(cluster, "many", "a")?;
        let watch = GuardWatch::begin(cluster)?;
        let mut all = Seen::default();
        for _ in 0..2 {
            for (from, id, to) in [("a", 1, "b"), ("b", 2, "a")] {
                let seen = moved(cluster, from, id, to)?;
                ensure!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
                all.samples += seen.samples;
                all.between += seen.between;
            }
        }
        eprintln!("handed over 4 times: {all:?}");
        ensure!(all.between > 0, "the reader saw no hand-over: {all:?}");
        watch.end()
    })
}

#[test]
fn reloaded_acceptors_grant_nothing_within_an_isolated_owners_lease() -> Result<()> {
    needs!(Cluster);
    // The owner's lease outlives the restart of both other nodes, whose acceptors then know nothing
    // of it.
    let long = Options {
        lease: Duration::from_secs(8),
        max_lease: Duration::from_secs(8),
        ..options()
    };
    Cluster::run(long, |cluster| {
        cluster.start_agents()?;
        wait_status(cluster.node("a")?, "a serves", |status| {
            status.vips.iter().any(|vip| vip.held)
        })?;
        let watch = GuardWatch::begin(cluster)?;
        cluster.inject("a", heartbeat_tests::Fault::Silent)?;
        let cut_at = boottime();
        for name in ["b", "c"] {
            ensure!(
                cluster.node_mut(name)?.stop()?,
                "the agent of {name} failed"
            );
        }
        for name in ["b", "c"] {
            cluster.start_agent(name)?;
        }
        wait_status(cluster.node("b")?, "b and c are back", |status| {
            status.quorum.quorate
        })?;
        let back = boottime();
        ensure!(
            back < cut_at.after(Duration::from_secs(7)),
            "the restart took as long as the lease: nothing was shown"
        );
        let mut owner = None;
        wait_until(2 * SOON, "another serves in the end", || {
            let status = cluster.node("b")?.control.status()?;
            owner = status.vips.into_iter().find_map(|vip| vip.owner);
            Ok(owner.is_some())
        })?;
        ensure!(owner.as_deref() != Some("a"), "{owner:?}");
        watch.end()
    })
}
