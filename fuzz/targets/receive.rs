//! A node's XDP program, by the function that it wraps. For any sequence of frames, an answer is as
//! long as its probe and sealed, and a frame without an answer is unchanged.

#![no_main]

use heartbeat_common::{
    maps::Key,
    packet::SlicePacket,
    receive::receive,
    verdict::Action,
    wire::{self, Header, Kind, LEASE_LEN, LeaseEntry, MAX_LEASES, offset},
};
use heartbeat_tests::kernel::{World, differential::payload_at, frames::FrameSpec};
use libfuzzer_sys::fuzz_target;

const TIMEOUT_NS: u64 = 60_000_000;
const PEER: u16 = 2;
/// Length of a change of a byte in the input: its place, and the changed bits.
const CHANGE: usize = 3;
/// Number of changes of each frame.
const CHANGES: usize = 4;

fuzz_target!(|data: &[u8]| {
    let mut world = World::new(TIMEOUT_NS);
    for row in &mut world.rows {
        row.last_probe_seq = u64::MAX;
    }
    let mut input = data;
    // The frames are milliseconds apart.
    for now in (1_000_000..).step_by(1_000_000) {
        world.set_clock(&[now]);
        let Some(frame) = next(&world, &mut input, now) else {
            return;
        };
        give(&mut world, frame);
    }
});

/// The meaning of the first byte of a frame in the input.
struct What(u8);

impl What {
    /// Whether the rest of the input is one frame, unchanged.
    fn is_raw(&self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the frame gets a valid tag after its changes.
    fn is_sealed(&self) -> bool {
        self.0 & 2 != 0
    }

    fn is_reply(&self) -> bool {
        self.0 & 4 != 0
    }

    /// The link: 0 is IPv4, 1 is IPv6.
    fn link(&self) -> u8 {
        self.0 >> 3 & 1
    }

    /// Number of lease entries.
    fn leases(&self) -> usize {
        usize::from(self.0 >> 4).min(MAX_LEASES)
    }
}

fn next(world: &World, input: &mut &[u8], now: u64) -> Option<Vec<u8>> {
    let what = What(take::<1>(input)?[0]);
    let mut frame = if what.is_raw() {
        std::mem::take(input).to_vec()
    } else {
        made(world, &what, input, now)?
    };
    if what.is_sealed() {
        seal(world, &mut frame);
    }
    Some(frame)
}

/// A probe or a reply with some bytes changed, and perhaps without its last ones.
fn made(world: &World, what: &What, input: &mut &[u8], now: u64) -> Option<Vec<u8>> {
    let [sequence, missing] = *take(input)?;
    let (link, sequence) = (what.link(), u64::from(sequence));
    let mut spec = match what.is_reply() {
        false => FrameSpec::probe(PEER, link, sequence),
        true => FrameSpec::reply(world, PEER, link, sequence, now),
    };
    for _ in 0..what.leases() {
        let entry = take::<LEASE_LEN>(input)?;
        spec.leases.push(LeaseEntry::decode(entry));
    }
    let mut frame = spec.frame().ok()?;
    for _ in 0..CHANGES {
        // An input that ends here has no change.
        let [high, low, change] = *take::<CHANGE>(input).unwrap_or(&[0; CHANGE]);
        if let Some(byte) = frame.get_mut(usize::from(u16::from_be_bytes([high, low]))) {
            *byte ^= change;
        }
    }
    frame.truncate(frame.len().saturating_sub(missing.into()));
    Some(frame)
}

fn take<'a, const N: usize>(input: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(taken)
}

/// Gives the heartbeat in `frame`, if there is one, a valid tag.
fn seal(world: &World, frame: &mut [u8]) {
    let Some(payload) = frame.get_mut(payload_at(frame)..) else {
        return;
    };
    let Some((len, key)) = len(payload).zip(key(world, payload)) else {
        return;
    };
    if let Some(heartbeat) = payload.get_mut(..len) {
        // This fails if the length does not match the number of entries, and then there is no tag.
        let _ = wire::seal(heartbeat, key);
    }
}

/// The length of a heartbeat with this begin: the frame may have padding behind it.
fn len(payload: &[u8]) -> Option<usize> {
    let count = *payload.get(offset::LEASE_COUNT)?;
    Some(wire::len(count.into()))
}

fn key(world: &World, payload: &[u8]) -> Option<heartbeat_common::siphash::SipKey> {
    let id = *payload.get(offset::KEY_ID)?;
    Some(world.keys[Key::slot(id) as usize].sip())
}

fn give(world: &mut World, mut frame: Vec<u8>) {
    let given = frame.clone();
    let received = receive(&mut SlicePacket(&mut frame), world);
    if received.verdict.action() != Action::Transmit {
        assert_eq!(frame, given, "{:?}", received.verdict);
        return;
    }
    let payload = &frame[payload_at(&frame)..];
    let answer = &payload[..len(payload).expect("a whole heartbeat")];
    assert_eq!(
        Header::decode(answer).map(|header| header.kind),
        Ok(Kind::Reply)
    );
    let key = key(world, answer).expect("a key id");
    assert_eq!(wire::verify(answer, key), Ok(()));
}
