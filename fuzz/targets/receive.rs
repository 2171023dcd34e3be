//! A node's XDP program, as the function that it wraps: whatever frames come, one after the other, an answer is as
//! long as its probe and sealed, and a frame that is not answered is not changed.

#![no_main]

use heartbeat_common::{
    packet::SlicePacket,
    receive::receive,
    verdict::Action,
    wire::{self, Header, Kind},
};
use heartbeat_tests::kernel::{World, frames::FrameSpec};
use libfuzzer_sys::fuzz_target;

const TIMEOUT_NS: u64 = 60_000_000;
const PEER: u16 = 2;

/// Each frame takes so many bytes of the input: what it is, and four changes of a byte.
const STEP: usize = 2 + 4 * 3;

fuzz_target!(|data: &[u8]| {
    let mut world = World::new(TIMEOUT_NS);
    for row in &mut world.rows {
        row.last_probe_seq = u64::MAX;
    }
    let (steps, rest) = data.as_chunks::<STEP>();
    for (now, step) in (1..).zip(steps) {
        // Milliseconds apart.
        let now = now * 1_000_000;
        world.set_clock(&[now]);
        let Some((frame, spec)) = frame(&world, step, now) else {
            continue;
        };
        give(&mut world, frame, Some(&spec));
    }
    give(&mut world, rest.to_vec(), None);
});

/// A probe or a reply, on IPv4 or IPv6, with some bytes changed before it was sealed, or after.
fn frame(world: &World, step: &[u8; STEP], now: u64) -> Option<(Vec<u8>, FrameSpec)> {
    let [what, sequence, changes @ ..] = step;
    let (link, sequence) = (what & 1, u64::from(*sequence));
    let spec = match what & 2 {
        0 => FrameSpec::probe(PEER, link, sequence),
        _ => FrameSpec::reply(world, PEER, link, sequence, now),
    };
    let mut frame = spec.frame().ok()?;
    for change in changes.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= change[2];
        }
    }
    if what & 4 == 0 {
        seal(world, &mut frame, &spec);
    }
    if what & 8 != 0 {
        frame.truncate(frame.len() - usize::from(what >> 4));
    }
    Some((frame, spec))
}

fn seal(world: &World, frame: &mut [u8], spec: &FrameSpec) {
    let payload = &mut frame[spec.payload_at()..];
    if let Some(key) = key(world, payload) {
        // Fails where the lengths do not fit, and then there is no tag.
        let _ = wire::seal(payload, key);
    }
}

fn key(world: &World, payload: &[u8]) -> Option<heartbeat_common::siphash::SipKey> {
    let id = *payload.get(wire::offset::KEY_ID)?;
    let slot = heartbeat_common::maps::Key::slot(id) as usize;
    Some(world.keys[slot].sip())
}

fn give(world: &mut World, mut frame: Vec<u8>, spec: Option<&FrameSpec>) {
    let given = frame.clone();
    let received = receive(&mut SlicePacket(&mut frame), world);
    if received.verdict.action() != Action::Transmit {
        assert_eq!(frame, given, "{:?}", received.verdict);
        return;
    }
    let payload = &frame[spec.map_or(42, FrameSpec::payload_at)..];
    // The frame may be padded behind its heartbeat.
    let len = wire::len(payload[wire::offset::LEASE_COUNT].into());
    let answer = &payload[..len];
    assert_eq!(
        Header::decode(answer).map(|header| header.kind),
        Ok(Kind::Reply)
    );
    let key = key(world, answer).expect("a key id");
    assert_eq!(wire::verify(answer, key), Ok(()));
}
