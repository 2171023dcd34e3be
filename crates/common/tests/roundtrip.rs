//! Properties of a packet's round trip: stamped by A, answered by B, recorded by A, over every
//! shape of frame, with and without damage on the way.

mod support;

use std::collections::HashMap;

use heartbeat_common::{
    lease::{Ballot, Limits, Request, Slot, Vote, decide},
    maps::{Config, Local, RTT_RING, rtt_slot},
    packet::SlicePacket,
    receive::receive,
    siphash::SipKey,
    time::Boottime,
    verdict::Verdict,
    wire::{
        self, Header, Incarnation, Kind, LeaseEntry, Liveness, MAX_LEASES, NodeId, NodeState,
        offset,
    },
};
use proptest::prelude::*;
use support::{
    Family, KEY, Node,
    frames::{FrameSpec, Seen},
    pair,
};

const NOW: u64 = 7_000_000_000;

/// All differences of shape between two heartbeats' frames.
#[derive(Clone, Copy, Debug)]
struct Shape {
    family: Family,
    vlans: usize,
    leases: usize,
}

fn every_shape() -> impl Iterator<Item = Shape> {
    let families = [Family::V4, Family::V6].into_iter();
    families.flat_map(|family| {
        (0..=2).flat_map(move |vlans| {
            [0, 1, MAX_LEASES].into_iter().map(move |leases| Shape {
                family,
                vlans,
                leases,
            })
        })
    })
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (any::<bool>(), 0usize..=2, 0..=MAX_LEASES).prop_map(|(v6, vlans, leases)| Shape {
        family: if v6 { Family::V6 } else { Family::V4 },
        vlans,
        leases,
    })
}

/// Mostly entries that node 1 could send: few groups and ballots, so that the entries of one frame
/// collide.
fn lease(seed: u64) -> LeaseEntry {
    LeaseEntry {
        group: seed as u16 % 3,
        operation: (seed >> 16) as u8 % 6,
        vote: (seed >> 24) as u8,
        micros: (seed >> 32) as u32 % 1_200_000,
        ballot: Ballot::new(seed >> 53, NodeId(1 + (seed >> 48) as u16 % 8 / 7)).0,
    }
}

/// The votes of an acceptor without earlier requests.
fn votes(asked: &[LeaseEntry], from: NodeId, config: &Config, at: u64) -> Vec<LeaseEntry> {
    let limits = Limits {
        votes_from: config.votes_from,
        max_lease_ns: config.max_lease_ns,
    };
    let now = Boottime::from_nanos(at);
    let mut slots: HashMap<u16, Slot> = HashMap::new();
    let vote = |entry: &LeaseEntry| match Request::read(entry, from, limits, now) {
        Some(request) => {
            let slot = slots.entry(entry.group).or_default();
            let answer = decide(slot, &request, now);
            LeaseEntry {
                vote: answer.vote as u8,
                micros: answer.micros,
                ballot: answer.ballot,
                ..*entry
            }
        }
        None => LeaseEntry {
            vote: Vote::Abstains as u8,
            ..*entry
        },
    };
    asked.iter().map(vote).collect()
}

/// A and B, and a probe from A to B as A's agent passes it to its kernel.
struct Trip {
    a: Node,
    b: Node,
    spec: FrameSpec,
    frame: Vec<u8>,
}

impl Trip {
    fn new(shape: Shape, content: u64) -> Self {
        let (mut a, b) = pair(shape.family);
        let header = a.next_probe(&b.at);
        let leases: Vec<_> = (0..shape.leases)
            .map(|index| lease(content.wrapping_mul(index as u64 + 1)))
            .collect();
        let spec = FrameSpec {
            vlans: [100, 4094][..shape.vlans].to_vec(),
            ..a.frame(&b.at, &header, &leases, None)
        };
        let frame = spec.build();
        Self { a, b, spec, frame }
    }

    fn stamp(&mut self, now: u64) {
        assert_eq!(
            self.a.stamp_at(now, &mut self.frame),
            Some(Verdict::Stamped)
        );
    }

    fn answer(&mut self, arrived: u64, left: u64) {
        self.b.tables.clock.script([arrived, left]);
        assert_eq!(self.arrive_at_b(), Verdict::Answered);
    }

    fn arrive_at_b(&mut self) -> Verdict {
        receive(&mut SlicePacket(&mut self.frame), &mut self.b.tables).verdict
    }

    fn record(&mut self, now: u64) -> Verdict {
        self.a.receive_at(now, &mut self.frame).verdict
    }
}

fn assert_sealed(seen: &Seen) {
    assert!(seen.ip_checksum_valid, "IPv4 header checksum: {seen:?}");
    assert!(seen.udp_checksum_valid, "UDP checksum: {seen:?}");
    assert_eq!(wire::verify(&seen.payload, KEY), Ok(()), "tag: {seen:?}");
}

/// Each field has a value of its own, so that no field is read from another's place.
#[test]
fn reply_says_how_its_sender_is_field_by_field() {
    const NOW_AT_B: u64 = 9_000_000_000;
    for shape in every_shape() {
        let mut trip = Trip::new(shape, 1);
        trip.b.tables.local = Local {
            incarnation: 0x1111_2222_3333,
            pulse_tick_at: NOW_AT_B - 1_001_000,
            reason_tick_at: NOW_AT_B - 2_002_000,
            config_generation: 0x4444_5555,
            health: 0x0601,
            kernel_health: 0x0002,
            load: 707,
            groups_owned: 0x0809,
            state: NodeState::Standby as u8,
            report: 0x0a0b_0c0d,
            voters: 0x0e0f_1011,
            config_version: 0x1213,
            claiming_version: 0x1212,
            ..trip.b.tables.local
        };
        trip.stamp(NOW);
        trip.answer(NOW_AT_B, NOW_AT_B);
        assert_eq!(trip.record(NOW + 1_000), Verdict::Recorded);
        let row = trip.a.tables.rows[0];
        assert_eq!(row.incarnation, 0x1111_2222_3333);
        assert_eq!((row.pulse_age_us, row.control_age_us), (1_001, 2_002));
        assert_eq!(row.config_generation, 0x4444_5555);
        assert_eq!((row.health, row.load), (0x0603, 707));
        assert_eq!(row.groups_owned, 0x0809);
        assert_eq!(row.state, NodeState::Standby as u16);
        assert_eq!(row.report, 0x0a0b_0c0d);
        assert_eq!(row.voters, 0x0e0f_1011);
        assert_eq!((row.config_version, row.claiming_version), (0x1213, 0x1212));
    }
}

#[test]
fn round_trips_of_successive_probes_have_places_of_their_own() {
    const PROBES: u64 = RTT_RING as u64;
    let (mut a, mut b) = pair(Family::V4);
    let rtt = |sequence: u64| sequence * 1_000;
    for sequence in 1..=PROBES {
        let header = a.next_probe(&b.at);
        let mut frame = a.frame(&b.at, &header, &[], None).build();
        assert_eq!(a.stamp_at(NOW, &mut frame), Some(Verdict::Stamped));
        assert_eq!(b.receive_at(NOW, &mut frame).verdict, Verdict::Answered);
        let received = a.receive_at(NOW + rtt(sequence), &mut frame);
        assert_eq!(received.verdict, Verdict::Recorded);
    }
    let row = a.tables.rows[0];
    for sequence in 1..=PROBES {
        let kept = u64::from(row.rtt_ring[rtt_slot(sequence)]);
        assert_eq!(kept, rtt(sequence), "probe {sequence}");
    }
}

proptest! {
    #[test]
    fn stamped_probe_says_when_it_left_and_how_its_sender_is(
        shape in any_shape(), content: u64, now in 1..u64::MAX, age in 0..10_000_000_000u64,
    ) {
        let mut trip = Trip::new(shape, content);
        let local = &mut trip.a.tables.local;
        local.pulse_tick_at = now.saturating_sub(age).max(1);
        (local.health, local.load, local.groups_owned, local.config_generation) = (3, 250, 2, 41);
        local.report = 17;
        let liveness = local.liveness(now);
        let before = Seen::of(&trip.frame);
        trip.stamp(now);
        let seen = Seen::of(&trip.frame);
        assert_sealed(&seen);
        let expected = Header { t1: Boottime::from_nanos(now), liveness, ..before.header() };
        prop_assert_eq!(seen.header(), expected);
        let leases = offset::LEASES..wire::authenticated_len(shape.leases);
        prop_assert_eq!(&seen.payload[leases.clone()], &before.payload[leases]);
        prop_assert_eq!(seen.ttl, trip.spec.ttl, "the stack's own headers stay");
        let row = trip.a.tables.rows[0];
        prop_assert_eq!((row.last_probe_at, row.last_probe_seq, row.probes_left), (now, 1, 1));
        prop_assert_eq!(row.sent_at[1], now);
    }

    #[test]
    fn reply_is_the_probe_turned_around(
        shape in any_shape(), content: u64, arrived in 1..u64::MAX / 2, spent in 0..1_000_000u64,
        abstains in prop::bool::weighted(0.2),
    ) {
        let mut trip = Trip::new(shape, content);
        trip.b.tables.config.votes_from = arrived + u64::from(abstains);
        trip.stamp(NOW);
        // A router on the way may give it another port, which the tag does not cover.
        let port = trip.spec.udp_at();
        trip.frame[port..port + 2].copy_from_slice(&(content as u16).to_be_bytes());
        let (asked_in, probe) = (trip.frame.len(), Seen::of(&trip.frame));
        let local = &mut trip.b.tables.local;
        (local.pulse_tick_at, local.reason_tick_at, local.load) = (1, arrived, 999);
        let liveness: Liveness = local.liveness(arrived + spent);
        let responder = Incarnation(local.incarnation);
        trip.answer(arrived, arrived + spent);
        prop_assert_eq!(trip.frame.len(), asked_in, "no amplification");
        let reply = Seen::of(&trip.frame);
        assert_sealed(&reply);
        let turned = Seen {
            from_mac: probe.to_mac,
            to_mac: probe.from_mac,
            from_ip: probe.to_ip,
            to_ip: probe.from_ip,
            source_port: probe.port,
            port: probe.source_port,
            ttl: 64,
            payload: reply.payload.clone(),
            udp_checksum_valid: true,
            ..probe.clone()
        };
        prop_assert_eq!(&reply, &turned);
        let asked = probe.header();
        let expected = Header {
            kind: Kind::Reply,
            source: asked.destination,
            destination: asked.source,
            liveness,
            t2: Boottime::from_nanos(arrived),
            t3: Boottime::from_nanos(arrived + spent),
            responder_incarnation: responder,
            ..asked
        };
        prop_assert_eq!(reply.header(), expected, "all else is echoed");
        let voted = votes(&probe.leases(), asked.source, &trip.b.tables.config, arrived);
        prop_assert_eq!(reply.leases(), voted);
        prop_assert!(!abstains || trip.b.tables.slots.is_empty());
    }

    #[test]
    fn whole_way_records_the_round_trip_without_the_stay(
        shape in any_shape(), content: u64, out in 0..9_000_000u64, stay in 0..9_000_000u64,
        back in 0..9_000_000u64, b_clock in 1..u64::MAX / 2,
    ) {
        let mut trip = Trip::new(shape, content);
        trip.stamp(NOW);
        trip.answer(b_clock, b_clock + stay);
        let arrives = NOW + out + stay + back;
        prop_assert_eq!(trip.record(arrives), Verdict::Recorded);
        let row = trip.a.tables.rows[0];
        prop_assert_eq!(row.rtt_ns, out + back);
        prop_assert_eq!(u64::from(row.rtt_ring[rtt_slot(1)]), out + back);
        prop_assert_eq!((row.last_reply_at, row.last_reply_seq, row.replies), (arrives, 1, 1));
        let b = trip.b.tables.local;
        prop_assert_eq!((row.incarnation, row.state), (b.incarnation, u16::from(b.state)));
        prop_assert_eq!(trip.record(arrives), Verdict::ReplayedReply);
        prop_assert_eq!(trip.a.tables.rows[0], row, "evidence counts once");
        let asked = trip.b.tables.rows[0];
        prop_assert_eq!((asked.last_asked_at, asked.asked_seq, asked.answered), (b_clock, 1, 1));
        prop_assert_eq!(asked.last_reply_at, 0, "a probe is no evidence");
    }

    #[test]
    fn replies_of_any_order_are_each_recorded_once(
        order in Just((1..=20u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (mut a, mut b) = pair(Family::V4);
        let replies: Vec<Vec<u8>> = (0..order.len()).map(|_| {
            let header = a.next_probe(&b.at);
            let mut frame = a.frame(&b.at, &header, &[], None).build();
            assert_eq!(a.stamp_at(NOW, &mut frame), Some(Verdict::Stamped));
            assert_eq!(b.receive_at(NOW, &mut frame).verdict, Verdict::Answered);
            frame
        }).collect();
        let mut highest = 0;
        for (sequence, at) in order.iter().zip(NOW..) {
            for verdict in [Verdict::Recorded, Verdict::ReplayedReply] {
                let mut frame = replies[*sequence as usize - 1].clone();
                prop_assert_eq!(a.receive_at(at, &mut frame).verdict, verdict);
            }
            highest = highest.max(*sequence);
            let row = a.tables.rows[0];
            prop_assert_eq!((row.last_reply_at, row.last_reply_seq), (at, highest));
        }
    }

    #[test]
    fn no_frame_whatever_makes_either_side_panic(
        mut frame in prop::collection::vec(any::<u8>(), 0..400),
        v6: bool,
    ) {
        let (mut a, mut b) = pair(if v6 { Family::V6 } else { Family::V4 });
        prop_assert!(!taken(b.receive_at(NOW, &mut frame).verdict));
        prop_assert_ne!(a.stamp_at(NOW, &mut frame), Some(Verdict::Stamped));
    }

    #[test]
    fn damage_outside_the_heartbeat_never_panics(
        shape in any_shape(),
        content: u64,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut trip = Trip::new(shape, content);
        for stamped in [false, true] {
            let mut frame = trip.frame.clone();
            for (at, value) in &hits {
                let at = at.index(frame.len());
                frame[at] = *value;
            }
            let _ = trip.b.clone().receive_at(NOW, &mut frame.clone());
            let _ = trip.a.clone().stamp_at(NOW, &mut frame);
            if !stamped {
                trip.stamp(NOW);
            }
        }
    }
}

/// Whether a verdict means that the frame was accepted.
fn taken(verdict: Verdict) -> bool {
    use Verdict::{Answered, LateReply, Recorded};
    matches!(verdict, Answered | Recorded | LateReply)
}

#[test]
fn no_truncation_is_believed() {
    for shape in every_shape() {
        let mut trip = Trip::new(shape, 0x5eed);
        trip.stamp(NOW);
        let probe = trip.frame.clone();
        trip.answer(NOW, NOW);
        for len in 0..probe.len() {
            let probed = trip.b.clone().receive_at(NOW, &mut probe[..len].to_vec());
            assert!(
                !taken(probed.verdict),
                "{shape:?} probe cut to {len}: {probed:?}"
            );
            let replied = trip
                .a
                .clone()
                .receive_at(NOW, &mut trip.frame[..len].to_vec());
            assert!(
                !taken(replied.verdict),
                "{shape:?} reply cut to {len}: {replied:?}"
            );
            let stamped = Trip::new(shape, 0x5eed)
                .a
                .stamp_at(NOW, &mut probe[..len].to_vec());
            assert_ne!(stamped, Some(Verdict::Stamped), "{shape:?} cut to {len}");
        }
    }
}

#[test]
fn no_changed_byte_under_the_tag_is_believed() {
    for shape in every_shape() {
        let mut trip = Trip::new(shape, 0xbad5eed);
        trip.stamp(NOW);
        let (probe, start) = (trip.frame.clone(), trip.spec.payload_at());
        trip.answer(NOW, NOW);
        for at in start..probe.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut frame = probe.clone();
                frame[at] ^= change;
                let probed = trip.b.clone().receive_at(NOW, &mut frame);
                assert!(
                    !taken(probed.verdict),
                    "{shape:?} probe, byte {at}: {probed:?}"
                );
                let mut frame = trip.frame.clone();
                frame[at] ^= change;
                let replied = trip.a.clone().receive_at(NOW, &mut frame);
                assert!(
                    !taken(replied.verdict),
                    "{shape:?} reply, byte {at}: {replied:?}"
                );
            }
        }
    }
}

/// Trailing bytes behind the IP packet, such as a driver's padding, are no part of it.
#[test]
fn padding_behind_the_datagram_is_left_alone() {
    for shape in every_shape() {
        let mut trip = Trip::new(shape, 1);
        trip.frame.extend([0xaa; 9]);
        trip.stamp(NOW);
        trip.answer(NOW, NOW);
        assert!(trip.frame.ends_with(&[0xaa; 9]));
        let len = trip.frame.len() - 9;
        assert_sealed(&Seen::of(&trip.frame[..len]));
        assert_eq!(trip.record(NOW + 1), Verdict::Recorded);
    }
}

/// RFC 768: a UDP checksum of zero is sent as all ones, because zero means "none".
#[test]
fn checksum_of_zero_is_sent_as_ones() {
    for family in [Family::V4, Family::V6] {
        let shape = Shape {
            family,
            vlans: 0,
            leases: 0,
        };
        let trip = Trip::new(shape, 2);
        let at = trip.spec.udp_at() + 6;
        let found = (0..1_000_000).any(|now| {
            let (mut a, mut frame) = (trip.a.clone(), trip.frame.clone());
            assert_eq!(a.stamp_at(NOW + now, &mut frame), Some(Verdict::Stamped));
            assert_ne!(frame[at..at + 2], [0, 0], "{family:?}, stamped at +{now}");
            frame[at..at + 2] == [0xff, 0xff] && Seen::of(&frame).udp_checksum_valid
        });
        assert!(found, "{family:?}: no instant made the checksum zero");
    }
}

#[test]
fn both_keys_of_a_rotation_are_understood_and_the_answer_comes_under_the_asker_s() {
    let new_key = SipKey { k0: 1, k1: 2 };
    let mut trip = Trip::new(
        Shape {
            family: Family::V4,
            vlans: 0,
            leases: 0,
        },
        3,
    );
    for node in [&mut trip.a, &mut trip.b] {
        node.tables.set_key(support::KEY_ID + 1, new_key);
    }
    trip.b.tables.local.key_id = support::KEY_ID;
    trip.stamp(NOW);
    trip.answer(NOW, NOW);
    let reply = Seen::of(&trip.frame);
    assert_eq!(reply.header().key_id, support::KEY_ID + 1);
    assert_eq!(wire::verify(&reply.payload, new_key), Ok(()));
    assert_eq!(trip.record(NOW + 1), Verdict::Recorded);
}
