//! One named case for each way that a frame can end: [`receive`] and [`stamp`] over frames that
//! `etherparse` built.
//!
//! [`receive`]: heartbeat_common::receive::receive
//! [`stamp`]: heartbeat_common::stamp::stamp

mod support;

use std::collections::HashSet;

use etherparse::PacketBuilder;
use heartbeat_common::{
    maps::{Key, PeerRow},
    receive::Received,
    replay,
    stamp::MAX_JUMP,
    verdict::Verdict,
    wire::{ClusterId, HEADER_LEN, Header, Incarnation, LinkId, NodeId, Sequence, offset},
};
use support::{Endpoint, Family, KEY, KEY_ID, Node, TIMEOUT_NS, frames::FrameSpec, pair};

const NOW: u64 = 5_000_000_000;

/// Node A, which sent the frame, and node B, on which it arrives.
struct Bench {
    a: Node,
    b: Node,
    header: Header,
}

impl Bench {
    fn new(family: Family) -> Self {
        let (mut a, b) = pair(family);
        let header = a.next_probe(&b.at);
        Self { a, b, header }
    }

    fn spec(&self) -> FrameSpec {
        self.a.frame(&self.b.at, &self.header, &[], Some(KEY))
    }

    /// A probe with a changed header, sealed afterwards.
    fn probe(&mut self, change: impl FnOnce(&mut Header)) -> Vec<u8> {
        change(&mut self.header);
        self.spec().build()
    }

    /// A probe whose finished frame is changed: offsets count from `base`.
    fn patched(&self, base: fn(&FrameSpec) -> usize, at: usize, bytes: &[u8]) -> Vec<u8> {
        let spec = self.spec();
        let mut frame = spec.build();
        let at = base(&spec) + at;
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    }

    /// B's reply to a probe that A sent at [`NOW`].
    fn reply(&mut self) -> Vec<u8> {
        let mut frame = self.spec().build();
        assert_eq!(self.a.stamp_at(NOW, &mut frame), Some(Verdict::Stamped));
        let received = self.b.receive_at(NOW + 1_000, &mut frame);
        assert_eq!(received.verdict, Verdict::Answered);
        frame
    }
}

const IP: fn(&FrameSpec) -> usize = FrameSpec::ip_at;
const UDP: fn(&FrameSpec) -> usize = FrameSpec::udp_at;
const HEARTBEAT: fn(&FrameSpec) -> usize = FrameSpec::payload_at;

/// Prepares the nodes and returns the frame.
type Arrange = fn(&mut Bench) -> Vec<u8>;

struct Case {
    name: &'static str,
    verdict: Verdict,
    family: Family,
    arrange: Arrange,
}

const fn v4(name: &'static str, verdict: Verdict, arrange: Arrange) -> Case {
    Case {
        name,
        verdict,
        family: Family::V4,
        arrange,
    }
}

const fn v6(name: &'static str, verdict: Verdict, arrange: Arrange) -> Case {
    Case {
        name,
        verdict,
        family: Family::V6,
        arrange,
    }
}

/// Frames that arrive on B.
#[rustfmt::skip]
const ARRIVALS: &[Case] = &[
    v4("an empty frame", Verdict::NotIp, |_| Vec::new()),
    v4("half an Ethernet header", Verdict::NotIp, |_| vec![0; 7]),
    v4("ARP", Verdict::NotIp, |b| b.patched(|_| 12, 0, &[0x08, 0x06])),
    v4("a third VLAN tag", Verdict::NotIp, |b| {
        let mut frame = FrameSpec { vlans: vec![1, 2], ..b.spec() }.build();
        frame.splice(12..12, [0x88, 0xa8, 0, 9]);
        frame
    }),
    v4("IPv6 under the ethertype of IPv4", Verdict::NotIp, |b| b.patched(IP, 0, &[0x65])),
    v6("IPv4 under the ethertype of IPv6", Verdict::NotIp, |b| b.patched(IP, 0, &[0x45])),
    v4("TCP", Verdict::NotUdp, |b| {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(b.a.at.mac, b.b.at.mac)
            .ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
            .tcp(694, 694, 0, 1024)
            .write(&mut frame, &[0; 120])
            .expect("a segment of 120 bytes");
        frame
    }),
    v6("a hop-by-hop header", Verdict::NotUdp, |b| b.patched(IP, 6, &[0])),
    v4("ends before the UDP length", Verdict::NotUdp, |b| b.spec().build()[..38].to_vec()),
    v4("IP options", Verdict::IpOptions, |b| b.patched(IP, 0, &[0x46])),
    v4("a first fragment", Verdict::Fragment, |b| b.patched(IP, 6, &[0x20, 0])),
    v4("a later fragment", Verdict::Fragment, |b| b.patched(IP, 6, &[0, 1])),
    v4("DNS", Verdict::OtherPort, |b| FrameSpec { port: 53, ..b.spec() }.build()),
    v6("DNS", Verdict::OtherPort, |b| FrameSpec { port: 53, ..b.spec() }.build()),
    v4("to another address", Verdict::NotForUs, |b| {
        FrameSpec { to: Endpoint::of(3, Family::V4), ..b.spec() }.build()
    }),
    v6("by another interface", Verdict::NotForUs, |b| { b.b.tables.ifindex += 1; b.probe(|_| {}) }),
    v4("version 2", Verdict::UnknownVersion, |b| b.patched(HEARTBEAT, offset::VERSION, &[2])),
    v4("before the port is set", Verdict::Unconfigured, |b| {
        b.b.tables.config.port = 0;
        b.probe(|_| {})
    }),
    v4("without a configuration", Verdict::Unconfigured, |b| { b.b.tables.is_configured = false; b.probe(|_| {}) }),
    v4("four bytes to our port", Verdict::Truncated, |b| {
        FrameSpec { payload: b"HRTB".to_vec(), ..b.spec() }.build()
    }),
    v6("nothing to our port", Verdict::Truncated, |b| FrameSpec { payload: vec![], ..b.spec() }.build()),
    v4("ends before its tag does", Verdict::Truncated, |b| {
        let mut frame = b.spec().build();
        frame.pop();
        frame
    }),
    v4("not a heartbeat", Verdict::BadMagic, |b| b.patched(HEARTBEAT, 0, b"HTTP")),
    v4("nine leases", Verdict::Malformed, |b| b.patched(HEARTBEAT, offset::LEASE_COUNT, &[9])),
    v4("a lease that is not there", Verdict::Malformed, |b| b.patched(HEARTBEAT, offset::LEASE_COUNT, &[1])),
    v4("a UDP length that lies", Verdict::Malformed, |b| b.patched(UDP, 4, &[0, 128])),
    v4("an IP length that lies", Verdict::Malformed, |b| b.patched(IP, 2, &[0, 141])),
    v4("an IP length below its header's", Verdict::Malformed, |b| b.patched(IP, 2, &[0, 19])),
    v6("an IP length that lies", Verdict::Malformed, |b| b.patched(IP, 4, &[0, 119])),
    v4("kind 3", Verdict::Malformed, |b| b.patched(HEARTBEAT, offset::KIND, &[3])),
    v4("another cluster", Verdict::ForeignCluster, |b| b.probe(|h| h.cluster = ClusterId(1))),
    v4("for another node", Verdict::WrongNode, |b| b.probe(|h| h.destination = NodeId(3))),
    v4("from an unknown address", Verdict::UnknownPeer, |b| {
        b.a.at = Endpoint::of(3, Family::V4);
        b.probe(|_| {})
    }),
    v6("from another node's address", Verdict::UnknownPeer, |b| b.probe(|h| h.source = NodeId(3))),
    v4("by another link", Verdict::UnknownPeer, |b| b.probe(|h| h.link = LinkId(1))),
    v4("by a link that the address is not of", Verdict::UnknownPeer, |b| {
        b.b.tables.links.values_mut().for_each(|link| link.link = 1);
        b.probe(|_| {})
    }),
    v4("a key that nobody has", Verdict::UnknownKey, |b| b.probe(|h| h.key_id = KEY_ID + 1)),
    v4("a key id with the slot of another", Verdict::UnknownKey, |b| b.probe(|h| h.key_id = KEY_ID + 2)),
    v4("a key that was withdrawn", Verdict::UnknownKey, |b| {
        b.b.tables.keys[Key::slot(KEY_ID) as usize].valid = 0;
        b.probe(|_| {})
    }),
    v4("a wrong key", Verdict::BadTag, |b| {
        b.b.tables.keys[Key::slot(KEY_ID) as usize].k0 ^= 1;
        b.probe(|_| {})
    }),
    v6("no tag", Verdict::BadTag, |b| b.patched(HEARTBEAT, HEADER_LEN, &[0; 8])),
    v4("the same probe again", Verdict::ReplayedProbe, |b| {
        assert_eq!(b.b.receive_at(NOW, &mut b.spec().build()).verdict, Verdict::Answered);
        b.probe(|_| {})
    }),
    v4("a probe from far behind the window", Verdict::ReplayedProbe, |b| {
        let mut newest = b.probe(|h| h.sequence = Sequence(65));
        assert_eq!(b.b.receive_at(NOW, &mut newest).verdict, Verdict::Answered);
        b.probe(|h| h.sequence = Sequence(1))
    }),
    v4("a probe of an earlier life", Verdict::ReplayedProbe, |b| {
        assert_eq!(b.b.receive_at(NOW, &mut b.spec().build()).verdict, Verdict::Answered);
        b.probe(|h| (h.incarnation, h.sequence) = (Incarnation(h.incarnation.0 - 1), Sequence(9)))
    }),
    v4("a probe without a number", Verdict::ReplayedProbe, |b| b.probe(|h| h.sequence = Sequence(0))),
    v4("the last number that there is, first", Verdict::ReplayedProbe, |b| {
        b.probe(|h| h.sequence = Sequence(u64::MAX))
    }),
    v6("a number too far beyond the last", Verdict::ReplayedProbe, |b| {
        assert_eq!(b.b.receive_at(NOW, &mut b.spec().build()).verdict, Verdict::Answered);
        b.probe(|h| h.sequence = Sequence(2 + replay::MAX_JUMP))
    }),
    v4("a number after one that was too far", Verdict::Answered, |b| {
        let mut far = b.probe(|h| h.sequence = Sequence(u64::MAX));
        assert_eq!(b.b.receive_at(NOW, &mut far).verdict, Verdict::ReplayedProbe);
        b.probe(|h| h.sequence = Sequence(1))
    }),
    v4("the first probe of a new life", Verdict::Answered, |b| {
        let mut last = b.probe(|h| h.sequence = Sequence(1_000));
        assert_eq!(b.b.receive_at(NOW, &mut last).verdict, Verdict::Answered);
        b.probe(|h| (h.incarnation, h.sequence) = (Incarnation(h.incarnation.0 + 1), Sequence(1)))
    }),
    v4("an overtaken probe inside the window", Verdict::Answered, |b| {
        let mut newest = b.probe(|h| h.sequence = Sequence(64));
        assert_eq!(b.b.receive_at(NOW, &mut newest).verdict, Verdict::Answered);
        b.probe(|h| h.sequence = Sequence(1))
    }),
    v4("a probe to a host without an agent", Verdict::Answered, |b| {
        b.b.tables.local = Default::default();
        b.probe(|_| {})
    }),
    v4("a probe", Verdict::Answered, |b| b.probe(|_| {})),
    v6("a probe under two VLAN tags", Verdict::Answered, |b| {
        FrameSpec { vlans: vec![100, 4094], ..b.spec() }.build()
    }),
];

/// The name, the verdict, the instant of arrival, and the earlier changes of the nodes.
type Return = (&'static str, Verdict, u64, fn(&mut Bench));

/// Replies that come back to A, which has sent one probe at [`NOW`].
#[rustfmt::skip]
const RETURNS: &[Return] = &[
    ("at once", Verdict::Recorded, NOW + 2_000, |_| {}),
    ("at the last moment", Verdict::Recorded, NOW + TIMEOUT_NS, |_| {}),
    ("a nanosecond late", Verdict::LateReply, NOW + TIMEOUT_NS + 1, |_| {}),
    ("before the probe left", Verdict::UnsolicitedReply, NOW - 1, |_| {}),
    ("to an agent that is gone", Verdict::UnsolicitedReply, NOW + 2_000, |b| {
        b.a.tables.local.incarnation = 0;
    }),
    ("to an agent that began anew", Verdict::UnsolicitedReply, NOW + 2_000, |b| {
        b.a.tables.local.incarnation += 1;
    }),
    ("to another nonce", Verdict::UnsolicitedReply, NOW + 2_000, |b| {
        b.a.tables.local.nonce += 1;
    }),
    ("to a probe that never left", Verdict::UnsolicitedReply, NOW + 2_000, |b| {
        b.a.tables.rows[0] = PeerRow::default();
    }),
    ("a second time", Verdict::ReplayedReply, NOW + 2_000, |b| {
        (b.a.tables.rows[0].reply_seq, b.a.tables.rows[0].reply_window) = (1, 1);
    }),
];

/// Probes that leave A's agent at [`NOW`]. `None` means "not a heartbeat of this node".
#[rustfmt::skip]
const DEPARTURES: &[(&str, Option<Verdict>, Arrange)] = &[
    ("a probe", Some(Verdict::Stamped), |b| b.probe(|_| {})),
    ("a probe under a VLAN tag", Some(Verdict::Stamped), |b| FrameSpec { vlans: vec![5], ..b.spec() }.build()),
    ("another's nonce", Some(Verdict::StampRefused), |b| b.probe(|h| h.nonce ^= 1)),
    ("another's incarnation", Some(Verdict::StampRefused), |b| b.probe(|h| h.incarnation.0 += 1)),
    ("another cluster", Some(Verdict::StampRefused), |b| b.probe(|h| h.cluster.0 += 1)),
    ("another's name", Some(Verdict::StampRefused), |b| b.probe(|h| h.source.0 = 3)),
    ("to a node elsewhere", Some(Verdict::StampRefused), |b| b.probe(|h| h.destination.0 = 3)),
    ("on another link", Some(Verdict::StampRefused), |b| b.probe(|h| h.link.0 = 1)),
    ("to an address of another link", Some(Verdict::StampRefused), |b| {
        b.a.tables.allow.values_mut().for_each(|slot| slot.link = 1);
        b.probe(|_| {})
    }),
    ("number 0", Some(Verdict::StampRefused), |b| b.probe(|h| h.sequence.0 = 0)),
    ("the same number again", Some(Verdict::StampRefused), |b| {
        assert_eq!(b.a.stamp_at(NOW, &mut b.spec().build()), Some(Verdict::Stamped));
        b.probe(|_| {})
    }),
    ("the furthest number", Some(Verdict::Stamped), |b| b.probe(|h| h.sequence.0 = MAX_JUMP)),
    ("a number beyond it", Some(Verdict::StampRefused), |b| b.probe(|h| h.sequence.0 = MAX_JUMP + 1)),
    ("the last number that there is", Some(Verdict::StampRefused), |b| b.probe(|h| h.sequence.0 = u64::MAX)),
    ("the next one where all are spent", Some(Verdict::StampRefused), |b| {
        b.a.tables.rows[0].last_probe_seq = u64::MAX;
        b.probe(|h| h.sequence.0 = 0)
    }),
    ("a probe by a stranger's socket", Some(Verdict::ForeignSocket), |b| {
        b.a.tables.sender = None;
        b.probe(|_| {})
    }),
    ("a probe by the socket of another link", Some(Verdict::ForeignSocket), |b| {
        b.a.tables.sender = Some(1);
        b.probe(|_| {})
    }),
    ("a probe from another port", Some(Verdict::ForeignSocket), |b| {
        FrameSpec { source_port: b.spec().port + 1, ..b.spec() }.build()
    }),
    ("a stranger's reply", Some(Verdict::ForeignSocket), |b| {
        b.a.tables.sender = None;
        b.patched(HEARTBEAT, offset::KIND, &[2])
    }),
    ("a stranger's junk", Some(Verdict::ForeignSocket), |b| {
        b.a.tables.sender = None;
        b.patched(HEARTBEAT, 0, b"HTTP")
    }),
    ("a stranger's heartbeat where no agent runs", Some(Verdict::ForeignSocket), |b| {
        (b.a.tables.sender, b.a.tables.local.incarnation) = (None, 0);
        b.probe(|h| h.incarnation.0 = 0)
    }),
    ("a stranger's DNS", None, |b| {
        b.a.tables.sender = None;
        FrameSpec { port: 53, ..b.spec() }.build()
    }),
    ("a stranger's heartbeat to a stranger", None, |b| {
        b.a.tables.sender = None;
        FrameSpec { to: Endpoint::of(9, Family::V4), ..b.spec() }.build()
    }),
    ("no agent", Some(Verdict::StampRefused), |b| {
        b.a.tables.local.incarnation = 0;
        b.probe(|h| h.incarnation.0 = 0)
    }),
    ("no key", Some(Verdict::UnknownKey), |b| { b.a.tables.keys = Default::default(); b.probe(|_| {}) }),
    ("DNS", None, |b| FrameSpec { port: 53, ..b.spec() }.build()),
    ("not a heartbeat", None, |b| b.patched(HEARTBEAT, 0, b"HTTP")),
    ("a reply of our kernel", None, |b| b.patched(HEARTBEAT, offset::KIND, &[2])),
    ("to a stranger", None, |b| FrameSpec { to: Endpoint::of(9, Family::V4), ..b.spec() }.build()),
    ("from an address that is not ours", None, |b| FrameSpec { from: Endpoint::of(9, Family::V4), ..b.spec() }.build()),
    ("by another interface", None, |b| { b.a.tables.ifindex += 1; b.probe(|_| {}) }),
    ("before the port is set", None, |b| { b.a.tables.config.port = 0; b.probe(|_| {}) }),
];

#[test]
fn every_frame_that_arrives_ends_as_it_should() {
    for case in ARRIVALS {
        let mut bench = Bench::new(case.family);
        let original = (case.arrange)(&mut bench);
        let (mut frame, rows) = (original.clone(), bench.b.tables.rows.clone());
        let Received { verdict, row } = bench.b.receive_at(NOW, &mut frame);
        let name = case.name;
        assert_eq!(verdict, case.verdict, "{name}");
        let known = matches!(
            verdict,
            Verdict::UnknownKey | Verdict::BadTag | Verdict::ReplayedProbe | Verdict::Answered
        );
        // For a malformed frame the field decides: the kind is checked last.
        if verdict != Verdict::Malformed {
            assert_eq!(row, known.then_some(0), "{name}");
        }
        if verdict != Verdict::Answered {
            assert_eq!(frame, original, "{name}: a refused frame stays as it is");
            let expected = with_refusal(&rows, verdict, &frame);
            assert_eq!(bench.b.tables.rows, expected, "{name}: and leaves no trace");
        }
    }
}

/// The rows after a frame with `verdict`. A frame with a bad tag or an unknown key is counted, and
/// nothing else changes.
fn with_refusal(rows: &[PeerRow], verdict: Verdict, frame: &[u8]) -> Vec<PeerRow> {
    let mut rows = rows.to_vec();
    match verdict {
        Verdict::BadTag => rows[0].bad_tags += 1,
        Verdict::UnknownKey => rows[0].unknown_keys += 1,
        _ => return rows,
    }
    rows[0].refused_at = NOW;
    let mac = frame[6..12].iter();
    rows[0].refused_from = mac.fold(0, |all, byte| all << 8 | u64::from(*byte));
    rows
}

#[test]
fn every_reply_that_returns_ends_as_it_should() {
    for family in [Family::V4, Family::V6] {
        for (name, verdict, arrives_at, arrange) in RETURNS {
            let mut bench = Bench::new(family);
            let original = bench.reply();
            arrange(&mut bench);
            let (mut frame, before) = (original.clone(), bench.a.tables.rows[0]);
            let received = bench.a.receive_at(*arrives_at, &mut frame);
            assert_eq!(received.verdict, *verdict, "{name}");
            assert_eq!(received.row, Some(0), "{name}");
            assert_eq!(frame, original, "{name}: a reply is not rewritten");
            let row = bench.a.tables.rows[0];
            let fresh = *verdict == Verdict::Recorded;
            assert_eq!(row.replies, u64::from(fresh), "{name}");
            assert_eq!(
                row.last_reply_at,
                if fresh { *arrives_at } else { 0 },
                "{name}"
            );
            if !matches!(verdict, Verdict::Recorded | Verdict::LateReply) {
                assert_eq!(row, before, "{name}: a refused reply leaves no trace");
            }
        }
    }
}

#[test]
fn every_frame_that_leaves_ends_as_it_should() {
    for (name, verdict, arrange) in DEPARTURES {
        let mut bench = Bench::new(Family::V4);
        let original = arrange(&mut bench);
        let (mut frame, before) = (original.clone(), bench.a.tables.rows.clone());
        assert_eq!(bench.a.stamp_at(NOW, &mut frame), *verdict, "{name}");
        if *verdict != Some(Verdict::Stamped) {
            assert_eq!(frame, original, "{name}: what is not ours leaves untouched");
            assert_eq!(
                bench.a.tables.rows, before,
                "{name}: and counts for nothing"
            );
        }
    }
}

#[test]
fn no_verdict_is_without_a_case() {
    let reached: HashSet<Verdict> = ARRIVALS
        .iter()
        .map(|case| case.verdict)
        .chain(RETURNS.iter().map(|(_, verdict, ..)| *verdict))
        .chain(DEPARTURES.iter().filter_map(|(_, verdict, _)| *verdict))
        .collect();
    for verdict in Verdict::ALL {
        assert!(reached.contains(&verdict), "no case ends as {verdict:?}");
    }
}
