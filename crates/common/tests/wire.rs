//! The wire format as bytes: the reader accepts the written bytes and no others, and version 1
//! stays as it is.

mod support;

use std::hash::Hasher as _;

use heartbeat_common::{
    siphash::SipKey,
    time::Boottime,
    wire::{
        self, ClusterId, Header, Incarnation, Kind, LEASE_LEN, LeaseEntry, LinkId, LinkSet,
        Liveness, MAX_LEASES, NodeId, NodeState, Owned, Sequence, TAG_LEN, VoterSet, WireError,
        offset,
    },
};
use proptest::prelude::*;
use support::frames::heartbeat;

const KEY_BYTES: [u8; 16] = *b"0123456789abcdef";
const KEY: SipKey = SipKey::from_bytes(KEY_BYTES);

/// SipHash-2-4 by the reference crate, in wire order.
fn reference_tag(covered: &[u8]) -> [u8; TAG_LEN] {
    let mut hash = siphasher::sip::SipHasher24::new_with_key(&KEY_BYTES);
    hash.write(covered);
    hash.finish().to_be_bytes()
}

prop_compose! {
    fn any_liveness()(
        (state, health, load) in any::<(u8, u16, u16)>(),
        (groups_owned, config_generation) in any::<(u16, u32)>(),
        (pulse_age_us, control_age_us, report) in any::<(u32, u32, u32)>(),
        (version, claiming, voters) in any::<(u16, u16, u32)>(),
    ) -> Liveness {
        let voter_set = VoterSet { version, claiming, voters };
        Liveness { state, health, load, groups_owned, config_generation, pulse_age_us, control_age_us, report, voter_set }
    }
}

prop_compose! {
    fn any_header(leases: usize)(
        reply: bool,
        (key_id, link) in any::<(u8, u8)>(),
        (cluster, source, destination) in any::<(u32, u16, u16)>(),
        liveness in any_liveness(),
        (incarnation, sequence, nonce) in any::<(u64, u64, u64)>(),
        (t1, t2, t3, responder) in any::<(u64, u64, u64, u64)>(),
    ) -> Header {
        Header {
            kind: if reply { Kind::Reply } else { Kind::Probe },
            key_id,
            lease_count: leases as u8,
            cluster: ClusterId(cluster),
            source: NodeId(source),
            destination: NodeId(destination),
            link: LinkId(link),
            liveness,
            incarnation: Incarnation(incarnation),
            sequence: Sequence(sequence),
            nonce,
            t1: Boottime::from_nanos(t1),
            t2: Boottime::from_nanos(t2),
            t3: Boottime::from_nanos(t3),
            responder_incarnation: Incarnation(responder),
        }
    }
}

prop_compose! {
    fn any_lease()(
        (group, operation, vote) in any::<(u16, u8, u8)>(),
        (micros, ballot) in any::<(u32, u64)>(),
    ) -> LeaseEntry {
        LeaseEntry { group, operation, vote, micros, ballot }
    }
}

fn any_heartbeat() -> impl Strategy<Value = (Header, Vec<LeaseEntry>)> {
    prop::collection::vec(any_lease(), 0..=MAX_LEASES)
        .prop_flat_map(|leases| (any_header(leases.len()), Just(leases)))
}

fn lease_at(payload: &[u8], index: usize) -> LeaseEntry {
    let at = offset::LEASES + index * LEASE_LEN;
    LeaseEntry::decode(payload[at..].first_chunk().expect("the entry is there"))
}

proptest! {
    #[test]
    fn heartbeat_is_decoded_as_it_was_encoded((header, leases) in any_heartbeat()) {
        let payload = heartbeat(&header, &leases, Some(KEY));
        prop_assert_eq!(payload.len(), wire::len(leases.len()));
        prop_assert_eq!(Header::decode(&payload), Ok(header));
        for (index, lease) in leases.iter().enumerate() {
            prop_assert_eq!(lease_at(&payload, index), *lease);
        }
        prop_assert_eq!(wire::verify(&payload, KEY), Ok(()));
    }

    #[test]
    fn tag_is_siphash_of_all_before_it((header, leases) in any_heartbeat()) {
        let payload = heartbeat(&header, &leases, Some(KEY));
        let (covered, tag) = payload.split_at(wire::authenticated_len(leases.len()));
        prop_assert_eq!(tag, reference_tag(covered));
    }

    #[test]
    fn no_truncation_is_read((header, leases) in any_heartbeat()) {
        let payload = heartbeat(&header, &leases, Some(KEY));
        for len in 0..payload.len() {
            prop_assert_eq!(Header::decode(&payload[..len]), Err(WireError::Truncated));
            prop_assert!(wire::verify(&payload[..len], KEY).is_err());
        }
    }

    #[test]
    fn no_trailing_byte_is_read(
        (header, leases) in any_heartbeat(),
        extra in prop::collection::vec(any::<u8>(), 1..=64),
    ) {
        let mut payload = heartbeat(&header, &leases, Some(KEY));
        payload.extend(extra);
        prop_assert_eq!(Header::decode(&payload), Err(WireError::TrailingBytes));
        prop_assert!(wire::verify(&payload, KEY).is_err());
    }

    #[test]
    fn every_flipped_bit_breaks_the_tag((header, leases) in any_heartbeat()) {
        let mut payload = heartbeat(&header, &leases, Some(KEY));
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(wire::verify(&payload, KEY), Err(WireError::BadTag), "bit {}", bit);
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert_eq!(wire::verify(&payload, KEY), Ok(()));
    }

    #[test]
    fn another_key_makes_another_tag((header, leases) in any_heartbeat(), k0: u64, k1: u64) {
        let other = SipKey { k0, k1 };
        prop_assume!(other != KEY);
        let payload = heartbeat(&header, &leases, Some(KEY));
        prop_assert_eq!(wire::verify(&payload, other), Err(WireError::BadTag));
    }

    #[test]
    fn no_bytes_whatever_make_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Header::decode(&bytes);
        let _ = wire::verify(&bytes, KEY);
        let mut begun_well = bytes;
        if let Some(start) = begun_well.first_chunk_mut::<5>() {
            *start = *b"HRTB\x01";
        }
        let _ = Header::decode(&begun_well);
        let _ = wire::seal(&mut begun_well, KEY);
    }
}

/// A heartbeat with one changed byte, through the reader.
fn decode_with(at: usize, value: u8) -> Result<Header, WireError> {
    let mut payload = golden_bytes();
    payload[at] = value;
    Header::decode(&payload)
}

#[test]
fn only_version_1_is_read() {
    for version in (0..=u8::MAX).filter(|version| *version != wire::VERSION) {
        assert_eq!(
            decode_with(offset::VERSION, version),
            Err(WireError::UnknownVersion(version))
        );
    }
}

#[test]
fn newer_version_is_told_from_a_malformed_one_even_when_its_lengths_differ() {
    let mut payload = golden_bytes();
    payload[offset::VERSION] = 2;
    payload[offset::LEASE_COUNT] = 200;
    payload.extend([0; 100]);
    assert_eq!(Header::decode(&payload), Err(WireError::UnknownVersion(2)));
}

#[test]
fn only_probe_and_reply_are_kinds() {
    for kind in (0..=u8::MAX).filter(|kind| !(1..=2).contains(kind)) {
        assert_eq!(
            decode_with(offset::KIND, kind),
            Err(WireError::UnknownKind(kind))
        );
    }
}

#[test]
fn lease_count_that_the_length_contradicts_is_refused() {
    for count in 0..=u8::MAX {
        let expected = match count {
            0 => Err(WireError::TrailingBytes),
            1 => Ok(()),
            2..=8 => Err(WireError::Truncated),
            _ => Err(WireError::TooManyLeases(count)),
        };
        assert_eq!(
            decode_with(offset::LEASE_COUNT, count).map(|_| ()),
            expected
        );
    }
}

#[test]
fn only_the_magic_begins_a_heartbeat() {
    for at in 0..4 {
        assert_eq!(decode_with(at, b'x'), Err(WireError::BadMagic));
    }
}

#[test]
fn unknown_node_state_survives_but_is_trusted_with_nothing() {
    let header = decode_with(offset::STATE, 99).unwrap();
    assert_eq!(header.liveness.state, 99);
    assert_eq!(NodeState::from_wire(99), NodeState::Responder);
}

#[test]
fn sealing_needs_whole_words_and_room_for_the_tag() {
    for len in [0, 1, 7, 9, 103] {
        assert_eq!(
            wire::seal(&mut vec![0; len], KEY),
            Err(WireError::Truncated)
        );
    }
}

/// Version 1, written down. After its release, any change here needs a new version.
#[rustfmt::skip]
const GOLDEN: &[&str] = &[
    "48525442",         //   0 magic, "HRTB"
    "01",               //   4 version
    "02",               //   5 kind: reply
    "07",               //   6 key id
    "01",               //   7 lease count
    "00c10572",         //   8 cluster
    "0102",             //  12 source node
    "0304",             //  14 destination node
    "05",               //  16 link
    "02",               //  17 state: active
    "0607",             //  18 health
    "0308",             //  20 load, per mille
    "0009",             //  22 groups owned
    "0a0b0c0d",         //  24 configuration generation
    "0000029a",         //  28 pulse age, us
    "0000c350",         //  32 reason age, us
    "91929394",         //  36 report
    "1112131415161718", //  40 incarnation
    "2122232425262728", //  48 sequence
    "3132333435363738", //  56 nonce
    "4142434445464748", //  64 t1, ns
    "5152535455565758", //  72 t2, ns
    "5152535455565b5c", //  80 t3, ns
    "6162636465666768", //  88 responder incarnation
    "0a01",             //  96 configuration version
    "0a00",             //  98 version whose majority counts
    "a1a2a3a4",         // 100 voters
    "7172",             // 104 lease 0: group
    "02",               // 106          operation: accept
    "01",               // 107          vote: granted
    "00002710",         // 108          microseconds
    "8182838485860102", // 112          ballot
    "684b4df6c9f115ea", // 120 SipHash-2-4 of bytes 0 to 119 under "0123456789abcdef"
];

fn golden_bytes() -> Vec<u8> {
    let digits = GOLDEN.concat();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("pairs of hex digits"))
        .collect()
}

#[test]
fn version_1_is_these_bytes() {
    let header = Header {
        kind: Kind::Reply,
        key_id: 7,
        lease_count: 1,
        cluster: ClusterId(0x00c1_0572),
        source: NodeId(0x0102),
        destination: NodeId(0x0304),
        link: LinkId(5),
        liveness: Liveness {
            state: NodeState::Active as u8,
            health: 0x0607,
            load: 776,
            groups_owned: 9,
            config_generation: 0x0a0b_0c0d,
            pulse_age_us: 666,
            control_age_us: 50_000,
            report: 0x9192_9394,
            voter_set: VoterSet {
                version: 0x0a01,
                claiming: 0x0a00,
                voters: 0xa1a2_a3a4,
            },
        },
        incarnation: Incarnation(0x1112_1314_1516_1718),
        sequence: Sequence(0x2122_2324_2526_2728),
        nonce: 0x3132_3334_3536_3738,
        t1: Boottime::from_nanos(0x4142_4344_4546_4748),
        t2: Boottime::from_nanos(0x5152_5354_5556_5758),
        t3: Boottime::from_nanos(0x5152_5354_5556_5b5c),
        responder_incarnation: Incarnation(0x6162_6364_6566_6768),
    };
    let lease = LeaseEntry {
        group: 0x7172,
        operation: 2,
        vote: 1,
        micros: 10_000,
        ballot: 0x8182_8384_8586_0102,
    };
    let golden = golden_bytes();
    let (covered, tag) = golden.split_at(120);
    assert_eq!(tag, reference_tag(covered), "the pinned tag is SipHash-2-4");
    assert_eq!(heartbeat(&header, &[lease], Some(KEY)), golden);
    assert_eq!(Header::decode(&golden), Ok(header));
    assert_eq!(lease_at(&golden, 0), lease);
    assert_eq!(wire::verify(&golden, KEY), Ok(()));
}

#[test]
fn groups_and_links_share_a_word_in_which_older_releases_count_groups() {
    for groups in 0..=64 {
        assert_eq!(Owned(groups).groups(), groups);
        assert!(Owned(groups).cut_off().is_empty());
    }
    let ends = LinkSet::of(LinkId(0)).and(LinkSet::of(LinkId(7)));
    let owned = Owned::new(64, ends);
    assert_eq!((owned.groups(), owned.cut_off()), (64, ends));
    for link in 0..8 {
        let is_end = [0, 7].contains(&link);
        assert_eq!(owned.cut_off().has(LinkId(link)), is_end);
    }
}
