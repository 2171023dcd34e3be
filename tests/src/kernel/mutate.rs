//! Damage to frames, as by a bad cable, a foreign program or an attacker.
//!
//! Most mutations of a heartbeat get a valid tag, since a holder of the key can sign nonsense.
//! Without one they would all fail the same check.

use heartbeat_common::{
    maps::Key,
    siphash::SipKey,
    wire::{self, LEASE_LEN, MAX_LEASES, offset},
};

use super::{Rng, frames::FrameSpec, world::World};

/// Bytes of the shortest frame: an Ethernet header.
const MIN_LEN: usize = 14;

/// Offset and bytes of every field of the header, see `docs/reference/wire-format.md`.
const FIELDS: [(usize, usize); 23] = [
    (offset::MAGIC, 4),
    (offset::VERSION, 1),
    (offset::KIND, 1),
    (offset::KEY_ID, 1),
    (offset::LEASE_COUNT, 1),
    (offset::CLUSTER, 4),
    (offset::SOURCE, 2),
    (offset::DESTINATION, 2),
    (offset::LINK, 1),
    (offset::STATE, 1),
    (offset::HEALTH, 2),
    (offset::LOAD, 2),
    (offset::GROUPS_OWNED, 2),
    (offset::CONFIG_GENERATION, 4),
    (offset::PULSE_AGE, 4),
    (offset::REASON_AGE, 4),
    (offset::REPORT, 4),
    (offset::INCARNATION, 8),
    (offset::SEQUENCE, 8),
    (offset::NONCE, 8),
    (offset::T1, 8),
    (offset::T2, 8),
    (offset::T3, 8),
];

/// Offset and bytes of every field of a lease entry, from its start.
const LEASE_FIELDS: [(usize, usize); 5] = [
    (offset::lease::GROUP, 2),
    (offset::lease::OPERATION, 1),
    (offset::lease::VOTE, 1),
    (offset::lease::MICROS, 4),
    (offset::lease::BALLOT, 8),
];

/// Damages `frame`, which `spec` describes, half of the time.
pub fn mutate(rng: &mut Rng, world: &World, spec: &FrameSpec, frame: &mut Vec<u8>) {
    match rng.below(20) {
        0 => flip_bits(rng, frame, 0),
        1 => {
            flip_bits(rng, frame, spec.payload_at());
            reseal(world, spec, frame);
        }
        2 | 3 => fields(rng, world, spec, frame),
        4 | 5 => headers(rng, spec, frame),
        6 => frame.truncate(MIN_LEN + rng.index(frame.len() - MIN_LEN)),
        7 => {
            let extra = 1 + rng.index(64);
            frame.extend(rng.bytes(extra));
        }
        8 => {
            let kept = rng.index(frame.len());
            let noise = rng.bytes(frame.len() - kept);
            frame[kept..].copy_from_slice(&noise);
        }
        9 => {
            let len = MIN_LEN + rng.index(300);
            *frame = rng.bytes(len);
        }
        _ => {}
    }
}

fn flip_bits(rng: &mut Rng, frame: &mut [u8], from: usize) {
    for _ in 0..=rng.below(3) {
        let at = from + rng.index(frame.len() - from);
        frame[at] ^= 1 << rng.below(8);
    }
}

/// Other values in one to three fields of the heartbeat, usually sealed again.
fn fields(rng: &mut Rng, world: &World, spec: &FrameSpec, frame: &mut [u8]) {
    for _ in 0..=rng.below(3) {
        let (at, width) = field_of(rng, spec);
        let at = spec.payload_at() + at;
        let field = &mut frame[at..at + width];
        let old = field
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        let value = interesting(rng, old).to_be_bytes();
        field.copy_from_slice(&value[value.len() - width..]);
    }
    if !rng.one_in(6) {
        reseal(world, spec, frame);
    }
}

/// Any field of the header or, if there are any, of the lease entries.
fn field_of(rng: &mut Rng, spec: &FrameSpec) -> (usize, usize) {
    if spec.leases.is_empty() || rng.one_in(2) {
        return rng.pick(&FIELDS);
    }
    let entry = offset::LEASES + LEASE_LEN * rng.index(spec.leases.len());
    let (at, width) = rng.pick(&LEASE_FIELDS);
    (entry + at, width)
}

/// Another value somewhere in the Ethernet, VLAN, IP or UDP header.
fn headers(rng: &mut Rng, spec: &FrameSpec, frame: &mut [u8]) {
    let ip = spec.ip_at();
    let at = match rng.below(4) {
        // Version and header length, and protocol, of IPv4.
        0 => rng.pick(&[ip, ip, ip + 9]),
        _ => 12 + rng.index(spec.payload_at() - 13),
    };
    if rng.one_in(2) {
        frame[at] = interesting(rng, frame[at].into()) as u8;
    } else {
        let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
        let new = interesting(rng, old.into()) as u16;
        frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
}

fn interesting(rng: &mut Rng, old: u64) -> u64 {
    let noise = rng.bits();
    rng.pick(&[
        0,
        1,
        2,
        u64::from(wire::VERSION) + 1,
        MAX_LEASES as u64,
        MAX_LEASES as u64 + 1,
        u64::MAX,
        u64::MAX / 2,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old ^ 0x40,
        noise,
    ])
}

/// Writes a valid tag where the program will look for it, under the key that the frame names.
fn reseal(world: &World, spec: &FrameSpec, frame: &mut [u8]) {
    let payload = &mut frame[spec.payload_at()..];
    let slot = Key::slot(payload[offset::KEY_ID]);
    let Key { k0, k1, .. } = world.keys[slot as usize];
    let len = wire::len(payload[offset::LEASE_COUNT].into());
    if let Some(heartbeat) = payload.get_mut(..len) {
        // The only error is a length that no heartbeat has.
        let _ = wire::seal(heartbeat, SipKey { k0, k1 });
    }
}
