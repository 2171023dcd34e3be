//! The announcements that the watches receive from the kernel.

use heartbeat_sys::net::{AddressChange, AddressWatch, LinkWatch, Netlink};
use tokio::{runtime, time::timeout};

use crate::rig::*;

fn index_of_hb0() -> u32 {
    let mut netlink = Netlink::open().expect("rtnetlink");
    netlink.interface("hb0").expect("it is there").index
}

#[test]
fn address_watch_tells_of_both_families_and_of_nothing_before_it_began() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let interface = index_of_hb0();
        ip("address add 10.9.0.50/24 dev hb0");
        let mut watch = AddressWatch::open().unwrap();
        let mut expected = Vec::new();
        for (text, gone) in [
            ("10.9.0.100", false),
            ("fd09::100", false),
            ("10.9.0.100", true),
        ] {
            let command = if gone { "del" } else { "add" };
            let length = if text.contains(':') { "64 nodad" } else { "24" };
            ip(&format!("address {command} {text}/{length} dev hb0"));
            expected.push(AddressChange {
                interface,
                address: address(text),
                gone,
            });
        }
        let mut told = Vec::new();
        eventually("all changes are told", || {
            let changes = watch.changes(16).unwrap();
            assert!(!changes.lost);
            // The kernel's own addresses come at any time, and a lasting one may be announced
            // twice.
            let own = |change: &AddressChange| change.address.to_string().starts_with("fe80:");
            told.extend(changes.list.into_iter().filter(|change| !own(change)));
            // The kernel tells of a new IPv6 address from another thread, so only the order within
            // a family is certain.
            told.sort_by_key(|change| change.address.is_ipv6());
            told.dedup();
            told.len() >= expected.len()
        });
        expected.sort_by_key(|change| change.address.is_ipv6());
        assert_eq!(told, expected);
    });
}

#[test]
fn link_watch_names_the_interface_whose_carrier_comes_back() {
    let Some(rig) = Rig::new() else { return };
    rig.node.run(|| {
        let interface = index_of_hb0();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut watch = LinkWatch::open().unwrap();
            ip("link set hb0 down");
            ip("link set hb0 up");
            let back = async {
                loop {
                    if let Some(index) = watch.next().await.unwrap() {
                        return index;
                    }
                }
            };
            assert_eq!(timeout(PATIENCE, back).await, Ok(interface));
            // The removal of an interface is announced too, and is no carrier that comes back.
            ip("link delete hb0");
            let told = timeout(PATIENCE, watch.next()).await;
            assert_eq!(told.unwrap().unwrap(), None);
        });
    });
}
