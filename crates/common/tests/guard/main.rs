//! The guard's decision about whole frames, each open, closed and cut at every byte.

mod cases;
mod frames;
// `heartbeat-tests` has this file as a module, too, and offers its items to its tests.
#[allow(unreachable_pub)]
mod tables;

use std::net::IpAddr;

use cases::{ALL_NODES, CLIENT4, CLIENT6, SECOND6, SOLICITED, TAGS, VIP4, VIP6, all_vips, cases};
use frames::{ADVERTISEMENT, ETHERNET_LEN, SOLICITATION, ndp, request, tagged, v4, v6};
use heartbeat_common::{
    guard::{self, Direction, HEADERS_LEN},
    maps::GuardRow,
    packet::SlicePacket,
    verdict::Action,
};
use proptest::prelude::*;
use tables::Guarded;

const NOW: u64 = 1_000_000;

impl Guarded {
    /// Guards `addresses`, all of which may be served until the same time.
    fn until(open_until: u64, addresses: &[IpAddr]) -> Self {
        let leases: Vec<_> = addresses.iter().map(|ip| (*ip, open_until)).collect();
        Self {
            clock: NOW,
            ..Self::new(&leases)
        }
    }

    /// The action on `frame`, and the address for which it was counted, if there is one.
    fn judge(&mut self, direction: Direction, frame: &[u8]) -> (Action, Option<IpAddr>) {
        let mut copy = frame.to_vec();
        let packet = SlicePacket(&mut copy);
        let action = match direction {
            Direction::In => guard::arriving(&packet, self),
            Direction::Out => guard::leaving(&packet, self),
        };
        (action, self.counted(direction))
    }

    /// The same result at a socket, without the Ethernet header.
    fn judge_at_socket(&mut self, direction: Direction, frame: &[u8]) -> (Action, Option<IpAddr>) {
        let mut copy = frame[ETHERNET_LEN.min(frame.len())..].to_vec();
        let packet = SlicePacket(&mut copy);
        let action = match direction {
            Direction::In => guard::received(&packet, self),
            Direction::Out => guard::sent(&packet, self),
        };
        (action, self.counted(direction))
    }

    /// The address for which a packet was counted, if there is one.
    fn counted(&self, direction: Direction) -> Option<IpAddr> {
        let counted: Vec<&GuardRow> = self
            .rows
            .iter()
            .filter(|row| row.dropped_in + row.dropped_out > 0)
            .collect();
        for row in &counted {
            let expected = match direction {
                Direction::In => (1, 0),
                Direction::Out => (0, 1),
            };
            assert_eq!((row.dropped_in, row.dropped_out), expected);
        }
        assert!(counted.len() <= 1, "counted twice");
        counted.first().map(|row| row.address.into())
    }
}

/// Whether `frame` contains an IP packet: no other frame gets to a socket.
fn is_ip(frame: &[u8]) -> bool {
    frame[ETHERNET_LEN - 2..ETHERNET_LEN] != [8, 6]
}

#[test]
fn closed_address_at_a_socket_neither_receives_nor_sends() {
    for case in cases().iter().filter(|case| is_ip(&case.frame)) {
        for open_until in [0, 1, NOW - 1, NOW] {
            for len in ETHERNET_LEN..=case.frame.len() {
                let mut guarded = Guarded::until(open_until, &all_vips());
                let judged = guarded.judge_at_socket(case.direction, &case.frame[..len]);
                let expected = match case.dropped {
                    Some((address, needed)) if len >= ETHERNET_LEN + needed => {
                        (Action::Drop, Some(address))
                    }
                    _ => (Action::Pass, None),
                };
                assert_eq!(judged, expected, "{len} bytes of {}", case.name);
            }
        }
    }
}

#[test]
fn open_address_at_a_socket_is_left_alone() {
    for case in cases().iter().filter(|case| is_ip(&case.frame)) {
        let mut guarded = Guarded::until(NOW + 1, &all_vips());
        let judged = guarded.judge_at_socket(case.direction, &case.frame);
        assert_eq!(judged, (Action::Pass, None), "{}", case.name);
    }
}

#[test]
fn closed_address_of_another_namespace_is_left_alone() {
    for case in cases().iter().filter(|case| is_ip(&case.frame)) {
        let mut guarded = Guarded::until(0, &all_vips());
        guarded.elsewhere = true;
        let judged = guarded.judge_at_socket(case.direction, &case.frame);
        assert_eq!(judged, (Action::Pass, None), "{}", case.name);
    }
}

#[test]
fn packet_other_than_ip_passes_at_a_socket() {
    let mut guarded = Guarded::until(0, &all_vips());
    for first in (0..=255_u8).filter(|first| ![4, 6].contains(&(first >> 4))) {
        let mut frame = v4(CLIENT4, VIP4);
        frame[ETHERNET_LEN] = first;
        let judged = guarded.judge_at_socket(Direction::In, &frame);
        assert_eq!(judged, (Action::Pass, None), "{first:#x}");
    }
}

// docs/design/leases.md#rule-5
#[test]
fn closed_address_neither_receives_nor_sends() {
    for case in cases() {
        for tags in TAGS {
            // Never granted, long past, just past.
            for open_until in [0, 1, NOW - 1, NOW] {
                let mut guarded = Guarded::until(open_until, &all_vips());
                let judged = guarded.judge(case.direction, &tagged(&case.frame, tags));
                let expected = match case.dropped {
                    Some((address, _)) => (Action::Drop, Some(address)),
                    None => (Action::Pass, None),
                };
                assert_eq!(judged, expected, "{} {tags:x?} {open_until}", case.name);
            }
        }
    }
}

#[test]
fn open_address_is_left_alone() {
    for case in cases() {
        for tags in TAGS {
            // The decision is exact to the nanosecond.
            for open_until in [NOW + 1, u64::MAX] {
                let mut guarded = Guarded::until(open_until, &all_vips());
                let judged = guarded.judge(case.direction, &tagged(&case.frame, tags));
                assert_eq!(judged, (Action::Pass, None), "{} {open_until}", case.name);
            }
        }
    }
}

#[test]
fn never_granted_is_closed_even_at_boot() {
    let mut guarded = Guarded::until(0, &all_vips());
    guarded.clock = 0;
    let judged = guarded.judge(Direction::Out, &v4(VIP4, CLIENT4));
    assert_eq!(judged, (Action::Drop, Some(VIP4.into())));
}

#[test]
fn address_that_is_not_guarded_costs_one_lookup_and_no_clock() {
    for case in cases() {
        let mut guarded = Guarded::until(0, &[]);
        let judged = guarded.judge(case.direction, &case.frame);
        assert_eq!(judged, (Action::Pass, None), "{}", case.name);
        assert_eq!(guarded.readings, 0, "{}", case.name);
        // A packet with two addresses is rare, and needs two lookups.
        let at_most = if [
            "a solicitation for a VIP to another address of ours",
            "a solicitation for one VIP to another",
            "an advertisement of a VIP from another address of ours",
            "an advertisement of one VIP from another",
            "a solicitation by a VIP",
        ]
        .contains(&case.name)
        {
            2
        } else {
            1
        };
        assert!(
            guarded.lookups <= at_most,
            "{}: {} lookups",
            case.name,
            guarded.lookups
        );
    }
}

#[test]
fn clock_is_read_once_for_a_match() {
    for case in cases().iter().filter(|case| case.dropped.is_some()) {
        let mut guarded = Guarded::until(0, &all_vips());
        guarded.judge(case.direction, &case.frame);
        assert_eq!(guarded.readings, 1, "{}", case.name);
    }
}

/// In a packet with two addresses, each address decides on its own, whichever of them is closed.
#[test]
fn one_closed_address_of_two_is_enough() {
    let to_one_for_another = ndp(CLIENT6, VIP6, SOLICITATION, SECOND6);
    let from_one_of_another = ndp(VIP6, ALL_NODES, ADVERTISEMENT, SECOND6);
    for (direction, frame) in [
        (Direction::In, to_one_for_another),
        (Direction::Out, from_one_of_another),
    ] {
        for (index, closed) in [(1, VIP6), (2, SECOND6)] {
            let mut guarded = Guarded::until(NOW + 1, &all_vips());
            guarded.rows[index].open_until = 0;
            let judged = guarded.judge(direction, &frame);
            assert_eq!(judged, (Action::Drop, Some(closed.into())));
        }
    }
}

/// An owner of one address is a plain client of another.
#[test]
fn open_address_may_ask_for_a_closed_one() {
    let mut guarded = Guarded::until(0, &all_vips());
    guarded.rows[2].open_until = NOW + 1;
    let ask = ndp(SECOND6, SOLICITED, SOLICITATION, VIP6);
    assert_eq!(guarded.judge(Direction::Out, &ask), (Action::Pass, None));
    let answer = ndp(VIP6, SECOND6, ADVERTISEMENT, VIP6);
    assert_eq!(guarded.judge(Direction::In, &answer), (Action::Pass, None));
}

#[test]
fn frame_cut_before_the_end_of_its_address_passes() {
    for case in cases() {
        for tags in TAGS {
            let frame = tagged(&case.frame, tags);
            let ip = ETHERNET_LEN + 4 * tags.len();
            for len in 0..=frame.len() {
                let mut guarded = Guarded::until(0, &all_vips());
                let judged = guarded.judge(case.direction, &frame[..len]);
                let expected = match case.dropped {
                    Some((address, needed)) if len >= ip + needed => (Action::Drop, Some(address)),
                    _ => (Action::Pass, None),
                };
                assert_eq!(judged, expected, "{len} bytes of {} {tags:x?}", case.name);
            }
        }
    }
}

/// The bytes that the kernel ensures to be readable are all that the guard reads.
#[test]
fn nothing_behind_the_headers_counts() {
    for case in cases() {
        for tags in TAGS {
            let mut frame = tagged(&case.frame, tags);
            let whole = Guarded::until(0, &all_vips()).judge(case.direction, &frame);
            frame.truncate(HEADERS_LEN);
            let cut = Guarded::until(0, &all_vips()).judge(case.direction, &frame);
            assert_eq!(cut, whole, "{} {tags:x?}", case.name);
        }
    }
}

#[test]
fn other_frames_pass() {
    let as_ethertype = |ethertype: u16, mut frame: Vec<u8>| {
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame
    };
    // ARP for another protocol than IPv4, and with another length of addresses.
    let damaged = |at: usize| {
        let mut frame = request(VIP4, VIP4);
        frame[ETHERNET_LEN + at] ^= 1;
        frame
    };
    let frames = [
        tagged(&v4(VIP4, VIP4), &[0x8100, 0x8100, 0x8100]),
        as_ethertype(0x86de, v6(VIP6, VIP6)),
        as_ethertype(38, v4(VIP4, VIP4)),
        as_ethertype(0x8035, request(VIP4, CLIENT4)),
        damaged(2),
        damaged(4),
        damaged(5),
    ];
    for frame in frames {
        for direction in [Direction::In, Direction::Out] {
            let mut guarded = Guarded::until(0, &all_vips());
            let judged = guarded.judge(direction, &frame);
            assert_eq!(judged, (Action::Pass, None), "{frame:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn no_frame_is_touched_where_nothing_is_guarded(
        frame in proptest::collection::vec(any::<u8>(), 0..128),
        ethertype in prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100, 0x88a8]),
    ) {
        let mut frame = frame;
        if let Some(field) = frame.get_mut(12..14) {
            field.copy_from_slice(&ethertype.to_be_bytes());
        }
        for direction in [Direction::In, Direction::Out] {
            let mut guarded = Guarded::until(0, &[]);
            prop_assert_eq!(guarded.judge(direction, &frame), (Action::Pass, None));
            prop_assert_eq!(guarded.readings, 0);
        }
    }
}
