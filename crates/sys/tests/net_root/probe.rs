//! Probe sockets and batches.

use heartbeat_sys::net::{Netlink, ProbeBatch, ProbeSocket, SendReport};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, setsockopt, sockopt},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use crate::rig::*;

const PORT: u16 = 694;

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
fn destination_that_fails_keeps_no_other_back() {
    let Some(rig) = Rig::new() else { return };
    let good = SocketAddr::new(address("10.9.0.2"), PORT);
    let receiver = rig.peer.run(move || UdpSocket::bind(good).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.node.run(move || {
        // Broadcast was not allowed on this socket, and the socket has no IPv6.
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
fn datagrams_that_are_put_last_leave_after_all_others() {
    let Some(rig) = Rig::new() else { return };
    let good = SocketAddr::new(address("10.9.0.2"), PORT);
    let receiver = rig.peer.run(move || UdpSocket::bind(good).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.node.run(move || {
        let socket = probe_socket("10.9.0.1");
        let other_family: SocketAddr = "[fd09::2]:694".parse().unwrap();
        let mut batch = ProbeBatch::new(&[good, good, other_family, good, good], 8);
        for index in 0..batch.len() {
            batch.payload_mut(index)[0] = index as u8;
        }
        for last in [[0, 3], [2, 4], [9, 9]] {
            batch.put_last(|index| last.contains(&index));
            // The failed datagram is named by its place among the destinations, whatever the order
            // of sending.
            let failed = batch.send(&socket).first_error.map(|(index, _)| index);
            assert_eq!(failed, Some(2), "{last:?}");
        }
    });
    for index in [1, 4, 0, 3, 0, 1, 3, 4, 0, 1, 3, 4] {
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
        // No host answers ARP for the address, so datagrams stay in the neighbour's queue and keep
        // their room.
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
fn whole_clusters_probes_fit_and_sending_does_not_allocate() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let socket = probe_socket("10.9.0.1");
        let mut batch = ProbeBatch::new(&[SocketAddr::new(address("10.9.0.2"), PORT); 1024], 232);
        // The first datagram resolves the neighbour.
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

        // A second route, which the kernel would use once the first is down.
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
        // A closed port is refused, so refusals do come back on this rig.
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
        // Answers come in order: a refusal of the junk would arrive first.
        sender
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        // A receive with a timeout is not restarted after SIGCONT, see signal(7).
        let error = loop {
            let error = sender.recv(&mut [0; 8]).unwrap_err();
            if error.kind() != io::ErrorKind::Interrupted {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    });
    let received = recv(socket.as_fd().as_raw_fd(), &mut [0; 8], MsgFlags::empty());
    assert_eq!(received, Err(Errno::EAGAIN));
}

#[test]
fn link_local_address_is_bound_in_the_scope_of_its_interface() {
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
        // A destination without a scope gets the socket's.
        let mut batch = ProbeBatch::new(&["[fe80::2]:694".parse().unwrap()], 104);
        assert_eq!(batch.send(&socket), all_sent(1));
    });
    capture.wait_for("the probe", |frame| {
        frame.len() == 54 + 8 + 104 && frame[20] == 17
    });
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

// Counts the allocations of each thread.

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
