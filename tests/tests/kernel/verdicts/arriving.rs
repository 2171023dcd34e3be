//! Arriving frames, by their verdicts.

use std::time::Duration;

use heartbeat_common::{
    maps::{Key, Local, MAX_KEYS, PeerSlot},
    siphash::SipKey,
    verdict::Verdict::{self, *},
    wire::{LeaseEntry, MAX_LEASES, NodeId, offset},
};
use heartbeat_tests::{
    kernel::{
        Program,
        frames::{FrameSpec, address},
    },
    sys::boottime,
};

use super::{Case, IP, PAYLOAD, PEER, SENT, UDP, as_it_is, on_another_interface, world};

fn probe(name: &'static str, verdict: Verdict, edit: impl FnOnce(&mut FrameSpec)) -> Case {
    Case::new(
        name,
        Program::Receive,
        verdict,
        &FrameSpec::probe(PEER, 0, 101).with(edit),
    )
}

fn reply(name: &'static str, verdict: Verdict, edit: impl FnOnce(&mut FrameSpec)) -> Case {
    let now = boottime().as_nanos();
    let spec = FrameSpec::reply(&world(), PEER, 0, 101, now).with(edit);
    Case::new(name, Program::Receive, verdict, &spec)
}

pub(super) fn left_to_the_network_stack() -> Vec<Case> {
    let over_v6 = FrameSpec::probe(PEER, 1, 1);
    let v6 = |name, verdict| Case::new(name, Program::Receive, verdict, &over_v6);
    vec![
        probe("an ARP request", NotIp, as_it_is).damaged(|f| f[12..14].copy_from_slice(&[8, 6])),
        probe("IPv6 behind the ethertype of IPv4", NotIp, as_it_is).damaged(|f| f[IP] = 0x65),
        v6("IPv4 behind the ethertype of IPv6", NotIp).damaged(|f| f[IP] = 0x45),
        probe("three VLAN tags", NotIp, |s| {
            s.vlans = vec![(0x88a8, 1), (0x8100, 2), (0x8100, 3)];
        }),
        probe("an Ethernet header alone", NotIp, as_it_is).damaged(|f| f.truncate(14)),
        probe("TCP", NotUdp, as_it_is).damaged(|f| f[IP + 9] = 6),
        v6("ICMPv6", NotUdp).damaged(|f| f[IP + 6] = 58),
        v6("an IPv6 fragment header", NotUdp).damaged(|f| f[IP + 6] = 44),
        v6("IPv6 hop-by-hop options", NotUdp).damaged(|f| f[IP + 6] = 0),
        probe("IPv4 options", IpOptions, as_it_is).damaged(|f| {
            f[IP] = 0x46;
            f.splice(UDP..UDP, [1, 1, 1, 0]);
        }),
        probe("an IPv4 header that is too short", IpOptions, as_it_is).damaged(|f| f[IP] = 0x44),
        probe("a first fragment", Fragment, as_it_is).damaged(|f| f[IP + 6] = 0x20),
        probe("a later fragment", Fragment, as_it_is).damaged(|f| f[IP + 7] = 0xb9),
        probe("another port", OtherPort, |s| s.port += 1),
        probe("our port, but as source", OtherPort, |s| {
            (s.source_port, s.port) = (694, 5000);
        }),
        probe("an address that is not ours", NotForUs, |s| {
            s.to = [10, 77, 0, 99].into();
        }),
        probe("the next version", UnknownVersion, as_it_is)
            .damaged(|f| f[PAYLOAD + offset::VERSION] = 2),
        probe("version 0", UnknownVersion, as_it_is).damaged(|f| f[PAYLOAD + offset::VERSION] = 0),
        probe("a host not configured yet", Unconfigured, as_it_is).met_by(|w| w.config.port = 0),
    ]
}

pub(super) fn dropped_before_the_tag_is_checked() -> Vec<Case> {
    let around = |name, verdict, payload: &[u8]| {
        let spec = FrameSpec::probe(PEER, 0, 101);
        let frame = spec
            .frame_around(payload)
            .expect("a frame of these addresses");
        Case {
            frame,
            ..Case::new(name, Program::Receive, verdict, &spec)
        }
    };
    let unknown_kind = |kind| {
        probe("a kind that does not exist", Malformed, as_it_is)
            .damaged(move |f| f[PAYLOAD + offset::KIND] = kind)
    };
    vec![
        around("an empty datagram", Truncated, b""),
        around("three bytes of magic", Truncated, b"HRT"),
        around("magic and version alone", Truncated, b"HRTB\x01"),
        around(
            "somebody else's protocol",
            BadMagic,
            b"GET / HTTP/1.1\r\n\r\n",
        ),
        around(
            "half a heartbeat in an honest datagram",
            Malformed,
            &[&b"HRTB\x01\x01\x07\x00"[..], &[0; 40]].concat(),
        ),
        probe("a frame cut in the header", Truncated, as_it_is)
            .damaged(|f| f.truncate(PAYLOAD + 50)),
        probe("a frame cut in the tag", Truncated, as_it_is).damaged(|f| f.truncate(f.len() - 1)),
        probe("a UDP length of one more", Malformed, as_it_is).damaged(|f| f[UDP + 5] += 1),
        probe("an IP length of one more", Malformed, as_it_is).damaged(|f| f[IP + 3] += 1),
        probe("an IP length below its header", Malformed, as_it_is)
            .damaged(|f| f[IP + 2..IP + 4].fill(0)),
        probe("nine lease entries", Malformed, |s| {
            s.leases = vec![LeaseEntry::default(); MAX_LEASES + 1];
        }),
        probe("a lease count beyond the datagram", Malformed, as_it_is)
            .damaged(|f| f[PAYLOAD + offset::LEASE_COUNT] = 1),
        unknown_kind(0),
        unknown_kind(3),
        probe("another cluster", ForeignCluster, |s| {
            s.header.cluster.0 ^= 1;
        }),
        probe("another node's id", WrongNode, |s| {
            s.header.destination = NodeId(3);
        }),
        // Test runs use the loopback interface: `loopback` tests the others.
        probe(
            "a peer that comes by the loopback interface",
            UnknownPeer,
            as_it_is,
        )
        .met_by(on_another_interface),
        probe("a stranger", UnknownPeer, |s| {
            s.from = [10, 77, 0, 99].into();
        }),
        probe("a peer under another's id", UnknownPeer, |s| {
            s.header.source = NodeId(3);
        }),
        probe("a peer under another's address", UnknownPeer, |s| {
            s.from = address(3, 0);
        }),
        probe("a link that the peer has not there", UnknownPeer, |s| {
            s.header.link.0 = 1;
        }),
        probe("a link that crosses ours", UnknownPeer, |s| {
            s.header.link.0 = 1;
        })
        .met_by(|world| {
            world.allow.insert(
                address(PEER, 0).into(),
                PeerSlot {
                    row: 0,
                    node: PEER,
                    link: 1,
                },
            );
        }),
        probe("a key that was never there", UnknownKey, |s| {
            s.header.key_id = 8;
        }),
        probe("another key's id in the same slot", UnknownKey, |s| {
            s.header.key_id = 9;
        }),
        probe("a key that was taken away", UnknownKey, as_it_is)
            .met_by(|world| world.keys = [Key::default(); MAX_KEYS]),
    ]
}

pub(super) fn dropped_by_tag_or_state() -> Vec<Case> {
    let incarnation = world().row_of(PEER, 0).asked_incarnation;
    let wrong_key = SipKey { k0: 1, k1: 2 };
    vec![
        probe("a wrong key", BadTag, |s| s.key = Some(wrong_key)),
        probe("no tag", BadTag, |s| s.key = None),
        probe("one bit of the payload", BadTag, as_it_is).damaged(|f| f[PAYLOAD + offset::T3] ^= 1),
        probe("one bit of the tag", BadTag, as_it_is)
            .damaged(|f| *f.last_mut().expect("a frame") ^= 1),
        probe("one bit of the last lease entry", BadTag, |s| {
            s.leases = vec![LeaseEntry::default(); MAX_LEASES];
        })
        .damaged(|f| {
            let at = f.len() - 9;
            f[at] ^= 1;
        }),
        reply("a reply under a wrong key", BadTag, |s| {
            s.key = Some(wrong_key);
        }),
        probe("the newest probe again", ReplayedProbe, |s| {
            s.header.sequence.0 = 100;
        }),
        probe("a probe in the window again", ReplayedProbe, |s| {
            s.header.sequence.0 = 99;
        }),
        probe("a probe below the window", ReplayedProbe, |s| {
            s.header.sequence.0 = 100 - 64;
        }),
        probe("a probe without number", ReplayedProbe, |s| {
            s.header.sequence.0 = 0;
        }),
        probe("a probe of an earlier life", ReplayedProbe, |s| {
            s.header.incarnation.0 = incarnation - 1;
        }),
        reply("a reply to another's nonce", UnsolicitedReply, |s| {
            s.header.nonce ^= 1;
        }),
        reply("a reply to my earlier life", UnsolicitedReply, |s| {
            s.header.incarnation.0 -= 1;
        }),
        reply(
            "a reply to a probe that never left",
            UnsolicitedReply,
            |s| s.header.sequence.0 = SENT + 1,
        ),
        reply("a reply to a probe of the future", UnsolicitedReply, |s| {
            s.header.t1 = s.header.t1.after(Duration::from_secs(60));
        }),
        reply("a reply that left before it came", UnsolicitedReply, |s| {
            s.header.t2 = s.header.t1;
        }),
        reply("a reply while no agent runs", UnsolicitedReply, |s| {
            s.header.incarnation.0 = 0;
        })
        .met_by(|world| world.local.incarnation = 0),
        reply("the newest reply again", ReplayedReply, |s| {
            s.header.sequence.0 = 100;
        }),
        reply("a reply in the window again", ReplayedReply, |s| {
            s.header.sequence.0 = 97;
        }),
        reply("a reply below the window", ReplayedReply, |s| {
            s.header.sequence.0 = 100 - 64;
        }),
        reply("a reply that took too long", LateReply, as_it_is)
            .met_by(|w| w.config.timeout_ns = 1),
    ]
}

pub(super) fn taken() -> Vec<Case> {
    let other = SipKey { k0: 1, k1: 2 };
    vec![
        probe("a probe", Answered, as_it_is),
        probe("a probe in a VLAN", Answered, |s| {
            s.vlans = vec![(0x8100, 5)];
        }),
        probe("a probe in two VLANs", Answered, |s| {
            s.vlans = vec![(0x88a8, 5), (0x8100, 6)];
        }),
        probe("a probe in two VLANs of one kind", Answered, |s| {
            s.vlans = vec![(0x8100, 5); 2];
        }),
        probe("a probe with eight leases", Answered, |s| {
            s.leases = vec![LeaseEntry::default(); MAX_LEASES];
        }),
        probe("a probe from another port", Answered, |s| {
            s.source_port = 40_000;
        }),
        probe("a probe with Ethernet padding", Answered, as_it_is).damaged(|f| f.extend([0; 20])),
        probe("a probe that may be fragmented", Answered, as_it_is).damaged(|f| f[IP + 6] = 0),
        probe("a probe without UDP checksum", Answered, as_it_is)
            .damaged(|f| f[UDP + 6..UDP + 8].fill(0)),
        probe("an overtaken probe", Answered, |s| s.header.sequence.0 = 98),
        probe("the oldest probe of the window", Answered, |s| {
            s.header.sequence.0 = 100 - 63;
        }),
        probe("the first probe of a new life", Answered, |s| {
            s.header.incarnation.0 += 1;
            s.header.sequence.0 = 1;
        }),
        probe("a probe under the second key", Answered, |s| {
            (s.header.key_id, s.key) = (8, Some(other));
        })
        .met_by(|world| world.keys[Key::slot(8) as usize] = Key::new(8, other)),
        probe("a probe to a host without agent", Answered, as_it_is)
            .met_by(|world| world.local = Local::default()),
        reply("a reply", Recorded, as_it_is),
        reply("a reply in two VLANs", Recorded, |s| {
            s.vlans = vec![(0x88a8, 5), (0x8100, 6)];
        }),
        reply("a reply with leases", Recorded, |s| {
            s.leases = vec![LeaseEntry::default(); 3];
        }),
        reply("a reply to the newest probe", Recorded, |s| {
            s.header.sequence.0 = SENT;
        }),
        reply("an overtaken reply", Recorded, |s| s.header.sequence.0 = 98),
    ]
}
