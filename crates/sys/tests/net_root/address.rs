//! Addresses and interfaces.

use heartbeat_sys::net::{Interface, Netlink};

use nix::errno::Errno;
use std::{
    fs,
    net::{IpAddr, UdpSocket},
};

use crate::rig::*;

#[test]
fn address_comes_and_goes_and_leaves_the_others() {
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
fn address_is_usable_at_once() {
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
        // The kernel's own route may exist already or not.
        let bridge = "local fd09::100 dev hb0 proto static metric 1 expires";
        assert!(ip("-6 route show table local").contains(bridge));
        netlink.remove_address(index, address("fd09::100")).unwrap();
        assert!(!ip("-6 route show table local").contains("fd09::100"));
    });
}

#[test]
fn nodes_own_connections_never_come_from_the_address() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        // A secondary address, one whose subnet lies within the node's, one with no subnet, and
        // IPv6.
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
fn address_that_became_primary_steps_back_behind_the_nodes_own() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        let (vip, other) = (prefix("10.9.0.100/24"), prefix("10.9.0.101/24"));
        let ours = [vip.address, other.address];
        let peer = address("10.9.0.2");
        for promote in ["0", "1"] {
            fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", promote).unwrap();
            fs::write("/proc/sys/net/ipv4/conf/hb0/promote_secondaries", promote).unwrap();
            // A smaller subnet behind a larger one is no source either.
            for own in ["10.9.0.1/24", "10.9.0.1/16"] {
                ip("-4 address flush dev hb0");
                netlink.add_address(index, vip).unwrap();
                netlink.add_address(index, other).unwrap();
                assert!(
                    !netlink.step_back(index, vip, &ours).unwrap(),
                    "it is alone"
                );
                ip(&format!("address add {own} dev hb0"));
                assert_eq!(source_towards(peer), vip.address, "what there is to mend");
                // The second address becomes primary when the first steps back.
                for _ in 0..2 {
                    for one in [vip, other] {
                        netlink.step_back(index, one, &ours).unwrap();
                        UdpSocket::bind((one.address, 0)).unwrap();
                    }
                }
                assert_eq!(source_towards(peer), address("10.9.0.1"), "{own}");
                for one in [vip, other] {
                    assert!(!netlink.step_back(index, one, &ours).unwrap(), "it is done");
                }
                let shown = ip("-4 -o address show dev hb0");
                assert_eq!(shown.lines().count(), 3, "{shown}");
                for one in [vip, other] {
                    assert!(shown.contains(&format!(" {one} ")), "{shown}");
                }
            }
        }
    });
}

#[test]
fn address_is_removed_from_wherever_it_is() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.interface("hb0").unwrap().index;
        ip("link add hb5 type veth peer name hb6");
        for (vip, alone) in [("10.9.0.100/24", "32"), ("fd09::100/64", "128")] {
            let vip = prefix(vip);
            for interface in ["hb0", "hb5", "hb6"] {
                ip(&format!("address add {vip} dev {interface}"));
            }
            // An address on loopback, as for direct routing, belongs to the administrator.
            ip(&format!("address add {}/{alone} dev lo", vip.address));
            let mut removed = netlink.remove_from_all(vip.address, Some(index)).unwrap();
            removed.sort();
            assert_eq!(removed, ["hb5", "hb6"]);
            assert_eq!(netlink.holders(vip.address).unwrap(), [index]);
            let removed = netlink.remove_from_all(vip.address, None).unwrap();
            assert_eq!(removed, ["hb0"]);
            assert!(netlink.has_address(1, vip.address).unwrap());
            let removed = netlink.remove_from_all(vip.address, None).unwrap();
            assert!(removed.is_empty());
        }
    });
}

#[test]
fn address_with_another_prefix_length_counts_as_present() {
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
fn interface_is_described() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let found = netlink.interface("hb0").unwrap();
        let expected = Interface {
            index: found.index,
            name: "hb0".to_owned(),
            mac: NODE_MAC,
            ethernet: true,
            up: true,
            carrier: true,
            mtu: 1500,
            // The other end is in another namespace.
            link: None,
            master: None,
            xdp: None,
            received: 0,
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

        // This changes only this thread, which ends after the test; libc's own call would change
        // every thread. SAFETY: no pointers.
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
