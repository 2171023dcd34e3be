//! `net` against a real kernel: two network namespaces joined by a veth pair.
//!
//! A namespace belongs to a thread of the test and ends with it, so nothing is left behind even when
//! a test panics. Needs root and `ip` of iproute2; without, each test says SKIP and passes.

use heartbeat_user::net::{
    Announcer, Interface, IpPrefix, Netlink, ProbeBatch, ProbeSocket, SendReport,
};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        socket::{MsgFlags, recv, setsockopt, sockopt},
        time::TimeVal,
    },
    unistd::{Uid, gettid},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    any::Any,
    cell::Cell,
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(5);
const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const PORT: u16 = 694;

#[test]
fn an_address_comes_and_goes_and_leaves_the_others() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        for vip in ["10.9.0.100/24", "fd09::100/64"].map(prefix) {
            let before = netlink.addresses(index).unwrap();
            assert!(!netlink.has_address(index, vip.address).unwrap());
            assert!(
                !netlink.remove_address(index, vip.address).unwrap(),
                "it is not there yet"
            );

            assert!(netlink.add_address(index, vip).unwrap());
            assert!(netlink.has_address(index, vip.address).unwrap());
            assert!(netlink.addresses(index).unwrap().contains(&vip));
            assert!(
                !netlink.add_address(index, vip).unwrap(),
                "it is there already"
            );

            assert!(netlink.remove_address(index, vip.address).unwrap());
            assert!(!netlink.has_address(index, vip.address).unwrap());
            assert!(
                !netlink.remove_address(index, vip.address).unwrap(),
                "it is gone"
            );
            assert_eq!(netlink.addresses(index).unwrap(), before);
        }
    });
}

#[test]
fn an_address_is_usable_at_once() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        for vip in ["10.9.0.100/24", "fd09::100/64"].map(prefix) {
            netlink.add_address(index, vip).unwrap();
            UdpSocket::bind((vip.address, 0)).unwrap();
        }
        let shown = ip("-6 -o address show dev hb0 to fd09::100");
        assert!(!shown.contains("tentative"), "{shown}");
        assert!(
            shown.contains("deprecated") && shown.contains("valid_lft forever"),
            "{shown}"
        );
        // Whether or not the kernel's own route has come yet.
        let bridge = "local fd09::100 dev hb0 proto static metric 1 expires";
        assert!(ip("-6 route show table local").contains(bridge));
        netlink.remove_address(index, address("fd09::100")).unwrap();
        assert!(!ip("-6 route show table local").contains("fd09::100"));
    });
}

#[test]
fn the_nodes_own_connections_never_come_from_the_address() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        // A secondary; one whose subnet lies within the node's; one with no subnet; and IPv6.
        for (vip, peer, own) in [
            ("10.9.0.100/24", "10.9.0.2", "10.9.0.1"),
            ("10.9.0.100/28", "10.9.0.97", "10.9.0.1"),
            ("10.9.0.100/32", "10.9.0.2", "10.9.0.1"),
            ("fd09::100/64", "fd09::2", "fd09::1"),
            ("fd09::100/120", "fd09::101", "fd09::1"),
            ("fd09::100/128", "fd09::2", "fd09::1"),
        ] {
            let vip = prefix(vip);
            netlink.add_address(index, vip).unwrap();
            assert_eq!(source_towards(address(peer)), address(own), "with {vip}");
            netlink.remove_address(index, vip.address).unwrap();
        }
        // Where the node has no address, the subnet's neighbours are reached from the new one.
        for (vip, peer) in [("10.8.0.100/24", "10.8.0.2"), ("fd08::100/64", "fd08::2")] {
            let vip = prefix(vip);
            netlink.add_address(index, vip).unwrap();
            assert!(ip(&format!("route get {peer}")).contains("dev hb0"));
        }
        assert_eq!(source_towards(address("10.8.0.2")), address("10.8.0.100"));
    });
}

#[test]
fn removing_a_primary_keeps_its_secondaries() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        for promote in ["0", "1"] {
            for scope in ["all", "hb0"] {
                let path = format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries");
                fs::write(path, promote).unwrap();
            }
            netlink.add_address(index, prefix("10.8.0.100/24")).unwrap();
            netlink.add_address(index, prefix("10.8.0.101/24")).unwrap();
            ip("address add 10.8.0.102/24 broadcast 10.8.0.255 label hb0:x dev hb0");

            assert!(
                netlink
                    .remove_address(index, address("10.8.0.100"))
                    .unwrap()
            );

            let shown = ip("-4 -o address show dev hb0");
            assert!(!shown.contains("10.8.0.100/"), "{shown}");
            assert!(shown.contains("10.8.0.101/24"), "{shown}");
            let full = "10.8.0.102/24 brd 10.8.0.255 scope global secondary";
            assert!(shown.contains(full) && shown.contains("hb0:x"), "{shown}");
            assert!(ip("route show 10.8.0.0/24").contains("dev hb0"));
            netlink
                .remove_address(index, address("10.8.0.101"))
                .unwrap();
            netlink
                .remove_address(index, address("10.8.0.102"))
                .unwrap();
            assert!(ip("route show 10.8.0.0/24").is_empty());
        }
    });
}

#[test]
fn an_address_with_another_prefix_length_counts_as_present() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        for (by_hand, vip) in [
            ("10.9.0.100/32", "10.9.0.100/24"),
            ("fd09::100/128", "fd09::100/64"),
        ] {
            ip(&format!("address add {by_hand} dev hb0"));
            let vip = prefix(vip);
            assert!(netlink.has_address(index, vip.address).unwrap());
            assert!(!netlink.add_address(index, vip).unwrap());
            assert!(netlink.remove_address(index, vip.address).unwrap());
            assert!(!netlink.has_address(index, vip.address).unwrap());
        }
    });
}

#[test]
fn an_interface_is_described() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let found = netlink.interface("hb0").unwrap();
        let expected = Interface {
            index: found.index,
            name: "hb0".to_owned(),
            mac: NODE_MAC,
            up: true,
            carrier: true,
            mtu: 1500,
        };
        assert_eq!(found, expected);
        ip("link set hb0 mtu 1400 down");
        let found = netlink.interface("hb0").unwrap();
        assert_eq!((found.up, found.carrier, found.mtu), (false, false, 1400));

        for name in ["hb9", "", "a-name-that-is-too-long"] {
            let error = netlink.interface(name).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("no interface `{name}` on this host; there are: lo, hb0")
            );
        }
    });
}

#[test]
fn refusals_say_what_and_why() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        let vip = prefix("10.9.0.100/24");

        let error = netlink.add_address(999, vip).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENODEV));
        let told = error.to_string();
        assert!(
            told.starts_with("cannot add 10.9.0.100/24 to interface 999: no such device"),
            "{told}"
        );
        assert!(
            !netlink.remove_address(999, vip.address).unwrap(),
            "no interface, no address"
        );

        fs::write("/proc/sys/net/ipv6/conf/hb0/disable_ipv6", "1").unwrap();
        let told = netlink
            .add_address(index, prefix("fd09::100/64"))
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("(EACCES)") && told.contains("disable_ipv6"),
            "{told}"
        );

        // This thread alone, which ends after the test; libc's own call would change every thread.
        // SAFETY: no pointers.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65_534, -1) };
        assert_eq!(result, 0);
        let told = Netlink::open()
            .unwrap()
            .add_address(index, vip)
            .unwrap_err()
            .to_string();
        let expected = "cannot add 10.9.0.100/24 to hb0: operation not permitted (EPERM); \
                        run as root or grant CAP_NET_ADMIN";
        assert_eq!(told, expected);
    });
}

#[test]
fn an_announcement_reaches_the_neighbour() {
    let Some(rig) = Rig::new() else { return };
    let capture = rig.peer.run(|| {
        ip("neigh add 10.9.0.100 lladdr 02:00:00:00:00:99 dev hb1 nud stale");
        ip("neigh add fd09::100 lladdr 02:00:00:00:00:99 dev hb1 nud stale");
        Capture::on("hb1")
    });
    rig.node.run(|| {
        let announcer =
            Announcer::open(&Netlink::open().unwrap().interface("hb0").unwrap()).unwrap();
        announcer.announce(address("10.9.0.100")).unwrap();
        announcer.announce(address("fd09::100")).unwrap();
    });

    let mac = NODE_MAC;
    let vip = [10, 9, 0, 100];
    let arp = |operation: u8, target: [u8; 6]| {
        let head = [
            &[0xff; 6][..],
            &mac,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
        ]
        .concat();
        [&head[..], &mac, &vip, &target, &vip].concat()
    };
    capture.wait_for("the request form", |frame| frame == arp(1, [0; 6]));
    capture.wait_for("the reply form", |frame| frame == arp(2, mac));
    let advertisement = capture.wait_for("the advertisement", |frame| {
        frame.len() == 86 && frame[..6] == [0x33, 0x33, 0, 0, 0, 1] && frame[54] == 136
    });
    assert_eq!(advertisement[6..12], mac);
    assert_eq!(advertisement[21], 255, "hop limit");
    let vip: Ipv6Addr = "fd09::100".parse().unwrap();
    assert_eq!(advertisement[22..38], vip.octets(), "source");
    assert_eq!(advertisement[62..78], vip.octets(), "target");

    // The neighbour's kernel checks the checksum and the hop limit before it believes.
    rig.peer.run(|| {
        for vip in ["10.9.0.100", "fd09::100"] {
            eventually(&format!("the neighbour knows where {vip} is"), || {
                ip(&format!("neigh show {vip} dev hb1")).contains("02:00:00:00:00:01")
            });
        }
    });
}

#[test]
fn an_announcement_carries_the_mac_of_now() {
    let Some(rig) = Rig::new() else { return };
    let capture = rig.peer.run(|| Capture::on("hb1"));
    rig.node.run(|| {
        let announcer =
            Announcer::open(&Netlink::open().unwrap().interface("hb0").unwrap()).unwrap();
        ip("link set hb0 address 02:00:00:00:00:07");
        announcer.announce(address("10.9.0.100")).unwrap();
    });
    capture.wait_for("the new address", |frame| {
        frame.len() == 42 && frame[6..12] == [2, 0, 0, 0, 0, 7] && frame[22..28] == frame[6..12]
    });
}

#[test]
fn where_nothing_can_be_announced_it_says_so() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let told = Announcer::open(&netlink.interface("lo").unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            told.starts_with("cannot announce on lo: it is not an Ethernet interface"),
            "{told}"
        );

        let announcer = Announcer::open(&netlink.interface("hb0").unwrap()).unwrap();
        ip("link set hb0 down");
        let told = format!(
            "{:#}",
            announcer.announce(address("10.9.0.100")).unwrap_err()
        );
        assert!(
            told.starts_with("cannot announce 10.9.0.100 on hb0: Network is down"),
            "{told}"
        );
        ip("link set hb0 up");
        announcer.announce(address("10.9.0.100")).unwrap();
        ip("link delete hb0");
        announcer.announce(address("10.9.0.100")).unwrap_err();
    });
}

#[test]
fn probes_arrive_without_a_udp_checksum_for_tc_to_fill_in() {
    let Some(rig) = Rig::new() else { return };
    for (local, remote) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
        let remote = SocketAddr::new(address(remote), PORT);
        let (capture, receiver) = rig.peer.run(move || {
            let receiver = UdpSocket::bind(remote).unwrap();
            receiver.set_read_timeout(Some(PATIENCE)).unwrap();
            if remote.is_ipv6() {
                accept_zero_checksums(&receiver);
            }
            (Capture::on("hb1"), receiver)
        });
        rig.node.run(move || {
            let socket = probe_socket(local);
            let mut batch = ProbeBatch::new(&[remote; 3], 104);
            for index in 0..batch.len() {
                batch.payload_mut(index).fill(0xa0 + index as u8);
            }
            assert_eq!(batch.send(&socket), all_sent(3));
        });

        for index in 0..3 {
            let mut bytes = [0; 256];
            let (len, from) = receiver.recv_from(&mut bytes).unwrap();
            assert_eq!(bytes[..len], [0xa0 + index; 104]);
            assert_eq!(from, SocketAddr::new(address(local), PORT));
        }
        let frame = capture.wait_for("a probe", |frame| {
            let udp = if remote.is_ipv4() { 34 } else { 54 };
            frame.len() == udp + 8 + 104 && frame[udp + 2..udp + 4] == PORT.to_be_bytes()
        });
        if remote.is_ipv4() {
            assert_eq!(frame[15], 0xc0, "traffic class");
            assert_eq!(frame[20..22], [0x40, 0], "do not fragment");
            assert_eq!(frame[40..42], [0, 0], "no checksum");
        } else {
            assert_eq!(frame[14..16], [0x6c, frame[15] & 0x0f], "traffic class");
            assert_eq!(frame[60..62], [0, 0], "no checksum");
        }
    }
}

#[test]
fn a_destination_that_fails_keeps_no_other_back() {
    let Some(rig) = Rig::new() else { return };
    let good = SocketAddr::new(address("10.9.0.2"), PORT);
    let receiver = rig.peer.run(move || UdpSocket::bind(good).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.node.run(move || {
        // Broadcast was not allowed on this socket; and it speaks no IPv6.
        let broadcast: SocketAddr = "255.255.255.255:694".parse().unwrap();
        let other_family: SocketAddr = "[fd09::2]:694".parse().unwrap();
        let to = [
            broadcast,
            good,
            other_family,
            other_family,
            good,
            good,
            broadcast,
        ];
        let mut batch = ProbeBatch::new(&to, 8);
        for index in 0..batch.len() {
            batch.payload_mut(index)[0] = index as u8;
        }
        let report = batch.send(&probe_socket("10.9.0.1"));
        let expected = SendReport {
            sent: 3,
            failed: 4,
            congested: 0,
            first_error: Some((0, Errno::EACCES)),
        };
        assert_eq!(report, expected);
    });
    for index in [1, 4, 5] {
        let mut bytes = [0; 8];
        receiver.recv(&mut bytes).unwrap();
        assert_eq!(bytes[0], index);
    }
}

#[test]
fn congestion_is_counted_and_bounded() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let socket = probe_socket("10.9.0.1");
        setsockopt(&socket, sockopt::SndBuf, &1).unwrap();
        // Nobody answers ARP for it, so datagrams stay in the neighbour's queue and keep their room.
        let nowhere: SocketAddr = "10.9.0.77:694".parse().unwrap();
        let report = ProbeBatch::new(&[nowhere; 1500], 232).send(&socket);
        assert_eq!(report.sent + report.failed, 1500);
        assert!(
            report.congested > 0 && report.congested == report.failed,
            "{report:?}"
        );
        assert!(
            matches!(report.first_error, Some((_, Errno::EAGAIN))),
            "{report:?}"
        );
    });
}

#[test]
fn a_whole_clusters_probes_fit_and_sending_does_not_allocate() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let socket = probe_socket("10.9.0.1");
        let mut batch = ProbeBatch::new(&[SocketAddr::new(address("10.9.0.2"), PORT); 1024], 232);
        // The first finds the neighbour.
        batch.send(&socket);
        let before = ALLOCATIONS.get();
        let report = batch.send(&socket);
        assert_eq!(ALLOCATIONS.get(), before);
        assert_eq!(report, all_sent(1024));
    });
}

#[test]
fn probes_cross_a_router_on_the_link_and_no_other_link() {
    let Some(rig) = Rig::new() else { return };
    let beyond: SocketAddr = "10.77.0.1:694".parse().unwrap();
    let receiver = rig.peer.run(move || {
        ip("link set lo up");
        ip("address add 10.77.0.1/32 dev lo");
        UdpSocket::bind(beyond).unwrap()
    });
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.node.run(move || {
        ip("route add 10.77.0.0/16 via 10.9.0.2");
        let socket = probe_socket("10.9.0.1");
        let mut batch = ProbeBatch::new(&[beyond], 104);
        assert_eq!(batch.send(&socket), all_sent(1));
        receiver.recv(&mut [0; 104]).unwrap();

        // A second way there, which the kernel would take once the first is down.
        ip("link add other0 type veth peer name other1");
        ip("address add 10.10.0.1/24 dev other0");
        ip("link set other0 up");
        ip("link set other1 up");
        ip("route add default via 10.10.0.2 dev other0");
        ip("link set hb0 down");
        assert!(ip("route get 10.77.0.1").contains("other0"));
        let report = batch.send(&socket);
        assert_eq!((report.sent, report.failed), (0, 1), "{report:?}");
    });
}

#[test]
fn junk_to_the_probe_socket_is_dropped_and_not_answered() {
    let Some(rig) = Rig::new() else { return };
    let socket = rig.node.run(|| probe_socket("10.9.0.1"));
    rig.peer.run(|| {
        let sender = UdpSocket::bind("10.9.0.2:0").unwrap();
        sender.set_read_timeout(Some(PATIENCE)).unwrap();
        // A closed port is refused: so the refusals do come back on this rig.
        sender.connect("10.9.0.1:9").unwrap();
        sender.send(b"junk").unwrap();
        assert_eq!(
            sender.recv(&mut [0; 8]).unwrap_err().raw_os_error(),
            Some(libc::ECONNREFUSED)
        );

        sender.connect(("10.9.0.1", PORT)).unwrap();
        for _ in 0..3 {
            sender.send(b"junk").unwrap();
        }
        // Answers come in order: had the junk been refused, this would tell first.
        sender
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let error = sender.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    });
    let received = recv(socket.as_fd().as_raw_fd(), &mut [0; 8], MsgFlags::empty());
    assert_eq!(received, Err(Errno::EAGAIN));
}

#[test]
fn a_link_local_address_is_bound_in_the_scope_of_its_interface() {
    let Some(rig) = Rig::new() else { return };
    let (capture, index) = rig.peer.run(|| {
        ip("address add fe80::2/64 dev hb1 nodad");
        (
            Capture::on("hb1"),
            Netlink::open().unwrap().interface("hb1").unwrap().index,
        )
    });
    assert_ne!(index, 0);
    rig.node.run(|| {
        ip("address add fe80::1/64 dev hb0 nodad");
        let socket = probe_socket("fe80::1");
        // Without a scope of its own the destination takes the socket's.
        let mut batch = ProbeBatch::new(&["[fe80::2]:694".parse().unwrap()], 104);
        assert_eq!(batch.send(&socket), all_sent(1));
    });
    capture.wait_for("the probe", |frame| {
        frame.len() == 54 + 8 + 104 && frame[20] == 17
    });
}

// The rig.

/// The node's namespace has hb0, the peer's hb1, its other end.
struct Rig {
    node: Namespace,
    peer: Namespace,
}

impl Rig {
    /// `None`, and a word why, where it cannot be built.
    fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            return skip("needs root");
        }
        if Command::new("ip").arg("-V").output().is_err() {
            return skip("needs `ip` of iproute2");
        }
        let (node, peer) = match (Namespace::new(), Namespace::new()) {
            (Ok(node), Ok(peer)) => (node, peer),
            (Err(errno), _) | (_, Err(errno)) => {
                return skip(&format!("cannot make a network namespace: {errno}"));
            }
        };
        let peer_thread = peer.thread_id;
        node.run(move || {
            ip("link set lo up");
            ip(&format!(
                "link add hb0 address 02:00:00:00:00:01 type veth \
                 peer name hb1 address 02:00:00:00:00:02 netns {peer_thread}"
            ));
            ip("address add 10.9.0.1/24 dev hb0");
            ip("address add fd09::1/64 dev hb0 nodad");
            ip("link set hb0 up");
        });
        peer.run(|| {
            ip("address add 10.9.0.2/24 dev hb1");
            ip("address add fd09::2/64 dev hb1 nodad");
            ip("link set hb1 up");
        });
        node.run(|| {
            let mut netlink = Netlink::open().expect("rtnetlink");
            eventually("hb0 has a carrier", || {
                netlink
                    .interface("hb0")
                    .is_ok_and(|interface| interface.carrier)
            });
        });
        Some(Self { node, peer })
    }
}

/// Past the test harness, which would keep to itself what a passing test prints.
fn skip(reason: &str) -> Option<Rig> {
    let _ = writeln!(io::stderr(), "SKIP {reason}");
    None
}

/// A network namespace with a thread in it that does what it is told.
struct Namespace {
    thread_id: i32,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Namespace {
    fn new() -> Result<Self, Errno> {
        let (ready, made) = mpsc::channel();
        let (jobs, work) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || {
            let result = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid().as_raw());
            ready.send(result).expect("the test waits");
            for job in work {
                job();
            }
        });
        let thread_id = made.recv().expect("the thread answers")?;
        Ok(Self {
            thread_id,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `job` in the namespace. Its panic becomes the caller's.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
        let job = move || drop(done.send(catch_unwind(AssertUnwindSafe(job))));
        self.jobs
            .as_ref()
            .expect("not dropped")
            .send(Box::new(job))
            .expect("the thread runs");
        result
            .recv()
            .expect("the job ends")
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All frames of one interface, as they pass.
struct Capture(OwnedFd);

impl Capture {
    fn on(interface: &str) -> Self {
        let index = Netlink::open()
            .expect("rtnetlink")
            .interface(interface)
            .expect("it is there")
            .index;
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, libc::c_int::from(all)) };
        assert!(fd >= 0, "packet socket: {}", Errno::last());
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all its fields are integers, for which zero is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = all;
        to.sll_ifindex = index.cast_signed();
        // SAFETY: the pointer is to `to`, with its length.
        let bound = unsafe { libc::bind(fd, (&raw const to).cast(), size_of_val(&to) as u32) };
        assert_eq!(bound, 0, "bind: {}", Errno::last());
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).expect("timeout");
        Self(socket)
    }

    /// The next frame that is `wanted`.
    fn wait_for(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(len) = recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty())
                && wanted(&bytes[..len])
            {
                return bytes[..len].to_vec();
            }
        }
        panic!("{what}: not seen within {PATIENCE:?}");
    }
}

/// Runs `ip` in the namespace of the calling thread, and returns what it printed.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("`ip` can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

fn probe_socket(local: &str) -> ProbeSocket {
    let index = Netlink::open()
        .expect("rtnetlink")
        .interface("hb0")
        .expect("it is there")
        .index;
    ProbeSocket::open(address(local), PORT, index).expect("it can be bound")
}

fn all_sent(sent: usize) -> SendReport {
    SendReport {
        sent,
        ..SendReport::default()
    }
}

/// The address from which the kernel would connect to `peer`.
fn source_towards(peer: IpAddr) -> IpAddr {
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).expect("any port");
    socket.connect((peer, 9)).expect("there is a route");
    socket.local_addr().expect("it is bound").ip()
}

fn accept_zero_checksums(receiver: &UdpSocket) {
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to `on`, with its length.
    let result = unsafe {
        let len = size_of_val(&on) as libc::socklen_t;
        libc::setsockopt(
            receiver.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_NO_CHECK6_RX,
            (&raw const on).cast(),
            len,
        )
    };
    assert_eq!(result, 0, "UDP_NO_CHECK6_RX: {}", Errno::last());
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("a prefix")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

// Counts what each thread allocates.

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: it hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s conditions, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the memory came from `System`, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
