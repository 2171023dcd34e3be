//! Announcements, seen by the neighbour.

use heartbeat_sys::net::{Announcer, Netlink};

use std::net::Ipv6Addr;

use crate::rig::*;

#[test]
fn announcement_reaches_the_neighbour() {
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

    // The neighbour's kernel checks the checksum and the hop limit first.
    rig.peer.run(|| {
        for vip in ["10.9.0.100", "fd09::100"] {
            eventually(&format!("the neighbour knows where {vip} is"), || {
                ip(&format!("neigh show {vip} dev hb1")).contains("02:00:00:00:00:01")
            });
        }
    });
}

#[test]
fn announcement_carries_the_mac_of_now() {
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
