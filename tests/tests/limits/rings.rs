//! Full ring buffers and busy maps. An event without room in the ring is counted, and its state is
//! still in the maps. Another process may read the maps at full speed.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{HashMap, Map, MapData};
use heartbeat_common::{
    lease::Operation,
    time::Boottime,
    wire::{
        self, ClusterId, HEADER_LEN, Header, Incarnation, Kind, LEASE_LEN, LeaseEntry, LinkId,
        Liveness, NodeId, Sequence, offset,
    },
};
use heartbeat_tests::{
    Cluster, Fault, Options,
    client::Client,
    config::Family,
    e2e::{
        EventLog, MILLISECOND, Program, SOON,
        availability::{longest_silence, servers, wait_served},
        machine_stalls::MachineStalls,
        shortcuts::{options, wait_status, with_cluster},
    },
    kernel::cookie_of,
    needs,
    node::Node,
    sys::boottime,
    wait::observe,
    wait_until,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, setsockopt,
    socket, sockopt,
};
use serde_json::Value;

use crate::{ALL, never_two_at_once};

/// The most replies with votes that fit into the ring buffer of 256 KiB: each takes over 150 bytes.
const FIT: u64 = 256 * 1024 / 150;
/// The replies beyond these that are asked for while the agent is stopped.
const LOST: u64 = 200;
const AT_ONCE: u64 = 50;
const PORT: u16 = 694;
/// The maps that change with each packet, and all others.
const HOT: &[&str] = &["peers", "leases", "watch", "local"];
const OTHERS: &[&str] = &[
    "guard", "vips", "counters", "arrivals", "allow", "links", "config",
];
/// A group without an owner.
const NOBODYS: u16 = 7;

/// The entries of a map, as bpftool reads them.
fn dump(node: &Node, map: &str) -> Result<Value> {
    let mut command = Command::new("bpftool");
    command.args(["-j", "map", "dump", "pinned"]);
    command.arg(node.pins.path().join(map));
    let text = Program::run(None, command, SOON)?.success()?;
    serde_json::from_str(&text).with_context(|| format!("{map} is no JSON: {text}"))
}

/// A field of an entry's value, by its name in the BTF.
fn field(map: &Value, entry: usize, name: &str) -> Result<u64> {
    let value = map[entry]["formatted"]["value"][name].as_u64();
    value.with_context(|| format!("no {name} in {map:#}"))
}

/// An impostor of a node's agent: its identity in probes, and a socket that the kernel takes for
/// the agent's. Only root can have one.
struct Mask {
    socket: OwnedFd,
    packet: Vec<u8>,
    payload: usize,
    to: IpAddr,
    /// The sequence number of the last probe.
    sequence: u64,
}

impl Mask {
    /// An impostor of the first node that speaks to the second.
    fn of(node: &Node) -> Result<Self> {
        let (local, config) = (dump(node, "local")?, dump(node, "config")?);
        let header = Header {
            kind: Kind::Probe,
            key_id: 1,
            lease_count: 1,
            cluster: ClusterId(field(&config, 0, "cluster")? as u32),
            source: NodeId(1),
            destination: NodeId(2),
            link: LinkId(0),
            liveness: Liveness::default(),
            incarnation: Incarnation(field(&local, 0, "incarnation")?),
            sequence: Sequence::default(),
            nonce: field(&local, 0, "nonce")?,
            t1: Boottime::default(),
            t2: Boottime::default(),
            t3: Boottime::default(),
            responder_incarnation: Incarnation::default(),
        };
        let entry = LeaseEntry {
            group: NOBODYS,
            operation: Operation::Prepare as u8,
            vote: 0,
            micros: 0,
            ballot: 1,
        };
        let (from, to) = (Family::V4.address(0, 1), Family::V4.address(0, 2));
        let mut packet = headers(from, to, wire::len(1))?;
        let payload = packet.len();
        packet.resize(payload + wire::len(1), 0);
        if let Some(start) = packet[payload..].first_chunk_mut::<HEADER_LEN>() {
            header.encode(start);
        }
        packet[payload + offset::LEASES..][..LEASE_LEN].copy_from_slice(&entry.encode());
        Ok(Self {
            socket: registered(node)?,
            packet,
            payload,
            to,
            sequence: field(&dump(node, "peers")?, 0, "last_probe_seq")?,
        })
    }

    fn ask(&mut self) -> Result<()> {
        let to = SockaddrStorage::from(SocketAddr::new(self.to, 0));
        for _ in 0..AT_ONCE {
            self.sequence += 1;
            let place = &mut self.packet[self.payload + offset::SEQUENCE..][..8];
            place.copy_from_slice(&self.sequence.to_be_bytes());
            sendto(
                self.socket.as_raw_fd(),
                &self.packet,
                &to,
                MsgFlags::empty(),
            )?;
        }
        Ok(())
    }
}

/// Opens a raw socket on the first link whose packets the kernel signs.
fn registered(node: &Node) -> Result<OwnedFd> {
    let raw = node.ns.enter(|| {
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let raw = socket(AddressFamily::Inet, kind, flags, SockProtocol::Raw)?;
        setsockopt(&raw, sockopt::BindToDevice, &"hb0".into())?;
        Ok(raw)
    })?;
    let pinned = MapData::from_pin(node.pins.path().join("senders"))?;
    let mut senders: HashMap<_, u64, u32> = Map::HashMap(pinned).try_into()?;
    senders.insert(cookie_of(&raw)?, 0, 0)?;
    Ok(raw)
}

/// Builds IPv4 and UDP headers; the kernel completes them.
fn headers(from: IpAddr, to: IpAddr, len: usize) -> Result<Vec<u8>> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else {
        bail!("no addresses of IPv4: {from}, {to}");
    };
    let mut headers = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    headers.extend(from.octets());
    headers.extend(to.octets());
    let udp = u16::try_from(len + 8)?;
    for number in [PORT, PORT, udp, 0] {
        headers.extend(number.to_be_bytes());
    }
    Ok(headers)
}

#[test]
fn full_ring_and_maps_read_at_full_speed_cost_no_lease() -> Result<()> {
    needs!(Cluster);
    let options = Options {
        // Readers at full speed take all CPU time that is free, and the control task has none
        // reserved.
        agent_stall: Duration::from_secs(3),
        ..options()
    };
    with_cluster(options, |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        maps_are_read_at_full_speed(cluster, &client)?;
        votes_find_no_room(cluster, &client)
    })
}

fn maps_are_read_at_full_speed(cluster: &Cluster, client: &Client) -> Result<()> {
    // Load of ordinary priority does not delay these threads; only a host that withholds a CPU
    // does.
    let machine = MachineStalls::of_the_machine()?;
    let (mut event_log, from) = (EventLog::begin(cluster)?, boottime());
    let (a, stop) = (cluster.node("a")?, AtomicBool::new(false));
    let read = |maps: &[&str]| -> Result<usize> {
        let mut read = 0;
        while !stop.load(Relaxed) {
            for map in maps {
                let entries = dump(a, map)?;
                ensure!(entries.is_array(), "{map}: {entries}");
                read += 1;
            }
        }
        Ok(read)
    };
    let read = thread::scope(|scope| -> Result<usize> {
        let readers = [HOT, OTHERS].map(|maps| scope.spawn(|| read(maps)));
        let waited = observe(Duration::from_secs(2), || Ok(()));
        stop.store(true, Relaxed);
        let mut all = 0;
        for reader in readers {
            all += reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        waited?;
        Ok(all)
    })?;
    ensure!(read > 20, "only {read} maps were read");
    for name in ALL {
        event_log.listen(cluster, name)?;
    }
    let mut down_reports = event_log.down_reports();
    down_reports.retain(|report| !machine.explain(Boottime::from_nanos(report.at_ns)));
    ensure!(down_reports.is_empty(), "called dead: {down_reports:#?}");
    let mut taken = event_log.acquisitions("service");
    taken.retain(|taken| !machine.explain(taken.majority));
    ensure!(taken.is_empty(), "the lease was lost: {taken:#?}");
    let stood = machine.since(from);
    ensure!(!stood.is_zero() || servers(client, from).iter().all(|node| **node == *"a"));
    let silence = longest_silence(client, from);
    let most = options().lease + stood;
    ensure!(silence < most, "nobody served for {silence:?}");
    Ok(())
}

fn votes_find_no_room(cluster: &mut Cluster, client: &Client) -> Result<()> {
    let mut event_log = EventLog::begin(cluster)?;
    ensure!(cluster.node("a")?.control.status()?.pulse.votes_lost == 0);
    cluster.inject("a", Fault::Stop)?;
    wait_served(client, "b", SOON)?;
    let a = cluster.node("a")?;
    let replies = |node| field(&dump(node, "peers")?, 0, "replies");
    let (mut mask, before, mut heard) = (Mask::of(a)?, replies(a)?, 0);
    wait_until(SOON, "more votes came than there is room for", || {
        mask.ask()?;
        heard = replies(a)? - before;
        Ok(heard > FIT + LOST)
    })?;

    cluster.heal("a", Fault::Stop)?;
    // The agent asks again after the lost votes, and gets its service back.
    let a = cluster.node("a")?;
    wait_status(a, "its kernel counted what was lost", |status| {
        (LOST..heard).contains(&status.pulse.votes_lost)
    })?;
    cluster.wait_well(SOON, "a")?;
    wait_served(client, "a", SOON)?;
    let shown = cluster.node("a")?.heartbeat(&["status"])?.success()?;
    ensure!(shown.contains(" events lost"), "{shown}");
    never_two_at_once(cluster, &mut event_log, client)
}
