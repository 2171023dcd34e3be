//! Random maps, and random heartbeats for them: mostly valid, near every edge of the per-packet
//! functions.

use heartbeat_common::{
    lease::{Ballot, Slot},
    maps::{Key, PeerRow},
    replay,
    siphash::SipKey,
    stamp,
    time::Boottime,
    wire::{
        GroupId, Incarnation, Kind, LeaseEntry, Liveness, MAX_LEASES, NodeId, Sequence, VoterSet,
    },
};

use super::{
    Rng,
    frames::{FrameSpec, PEERS, US},
    world::{KEY, KEY_ID, MAX_LEASE, OTHER_IFINDEX, Program, World, key_of},
};

/// A timeout far above the scheduling delays of a test.
pub const TIMEOUT_NS: u64 = 60_000_000;
/// Id and key in the slot that [`KEY_ID`] does not use.
const OTHER_KEY: (u8, SipKey) = (KEY_ID + 1, SipKey { k0: 1, k1: 2 });
/// The groups: so few that their slots meet every state.
const GROUPS: [u16; 4] = [0, 1, 2, u16::MAX];
/// A row that the maps do not have.
const NO_ROW: u32 = 1_000_000;

/// Random maps of a node. In some of them something is wrong.
pub fn world(rng: &mut Rng, now: u64) -> World {
    let mut world = World::new(TIMEOUT_NS);
    local(rng, &mut world, now);
    if rng.one_in(4) {
        world.keys = World::keyring(&[(KEY_ID, KEY), OTHER_KEY]);
    }
    if rng.one_in(60) {
        world.config.port = 0;
    }
    if rng.one_in(30) {
        world.local.incarnation = 0;
    }
    if rng.one_in(20) {
        world.keys[Key::slot(KEY_ID) as usize].valid = 0;
    }
    if rng.one_in(8)
        && let Some(link) = world.links.get_mut(&key_of(US, 1))
    {
        link.ifindex = OTHER_IFINDEX;
    }
    if rng.one_in(16)
        && let Some(link) = world.links.get_mut(&key_of(US, 0))
    {
        link.link = 5;
    }
    if rng.one_in(8)
        && let Some(slot) = world.allow.get_mut(&key_of(PEERS[1], 0))
    {
        slot.row = NO_ROW;
    }
    if rng.one_in(8)
        && let Some(slot) = world.allow.get_mut(&key_of(PEERS[1], 1))
    {
        slot.node += 1;
    }
    for row in &mut world.rows {
        *row = self::row(rng);
    }
    acceptor(rng, &mut world, now);
    world
}

/// Random promises and leases of an acceptor, and its limits.
fn acceptor(rng: &mut Rng, world: &mut World, now: u64) {
    let soon = now + rng.below(5_000_000);
    world.config.votes_from = rng.pick(&[0, 0, 0, 0, 0, now, soon, soon, u64::MAX]);
    let usual = MAX_LEASE;
    world.config.max_lease_ns = rng.pick(&[usual, usual, usual, 0, 1_000_000, u64::MAX]);
    for group in GROUPS {
        if rng.one_in(2) {
            continue;
        }
        let voter = rng.pick(&[US, PEERS[0], PEERS[1]]);
        let granted = ballot(rng, voter);
        let (ahead, ago) = (rng.below(20_000_000), rng.below(1_000_000_000));
        let someone = rng.bits() as u32;
        let slot = Slot {
            owner: rng.pick(&[0, granted.node().0.into()]),
            successor: rng.pick(&[0, 0, PEERS[0].into(), someone]),
            promised: granted.0.max(ballot(rng, voter).0),
            ballot: granted.0,
            expires: rng.pick(&[0, now.saturating_sub(ago), now + ahead, u64::MAX]),
        };
        world.slots.insert(GroupId(group), slot);
    }
}

/// A ballot of `node`, seldom of another: near the others, or at the ends.
fn ballot(rng: &mut Rng, node: u16) -> Ballot {
    match rng.below(40) {
        0 => Ballot(rng.bits()),
        1 => Ballot(rng.pick(&[0, 1, u64::MAX, u64::MAX - 1])),
        2 => Ballot::new(Ballot::MAX_ROUND, NodeId(node)),
        _ => Ballot::new(rng.below(4), NodeId(node)),
    }
}

fn local(rng: &mut Rng, world: &mut World, now: u64) {
    let local = &mut world.local;
    local.nonce = rng.bits();
    local.health = rng.bits() as u16;
    let kernel_health = u32::from(rng.bits() as u16);
    local.kernel_health = rng.pick(&[0, kernel_health]);
    local.load = rng.bits() as u16;
    local.groups_owned = rng.bits() as u16;
    local.config_generation = rng.bits() as u32;
    local.report = rng.bits() as u32;
    local.state = rng.bits() as u8;
    let ago = now.saturating_sub(rng.below(1_000_000_000));
    local.pulse_tick_at = rng.pick(&[0, 1, ago, now + 3_600_000_000_000]);
    local.reason_tick_at = rng.pick(&[0, 1, ago, now + 3_600_000_000_000]);
}

/// A row with random contents, as an earlier incarnation may have left it.
pub fn row(rng: &mut Rng) -> PeerRow {
    if rng.one_in(4) {
        return PeerRow::default();
    }
    let asked_seq = sequence(rng);
    let reply_seq = sequence(rng);
    let reply_window = window(rng);
    let last_reply_seq = rng.pick(&[0, reply_seq, reply_seq.saturating_sub(3)]);
    PeerRow {
        asked_incarnation: rng.pick(&[0, 1, 5_002, 5_003, u64::MAX]),
        asked_seq,
        asked_window: window(rng),
        reply_seq,
        reply_window,
        last_reply_seq,
        last_probe_seq: reply_seq.saturating_add(rng.pick(&[0, 80, 1_000, 100_000])),
        replies: rng.below(1_000),
        sent_at: std::array::from_fn(|_| rng.bits()),
        rtt_ring: std::array::from_fn(|_| rng.bits() as u32),
        ..PeerRow::default()
    }
}

fn sequence(rng: &mut Rng) -> u64 {
    let small = rng.below(200);
    let large = rng.bits();
    rng.pick(&[0, 1, small, 64 + small, large, u64::MAX - small, u64::MAX])
}

fn window(rng: &mut Rng) -> u64 {
    let some = rng.bits();
    rng.pick(&[0, 1, some | 1, some | 1 << 63 | 1, u64::MAX])
}

/// A frame for `program`, mostly as a cluster would send it at `now`.
pub fn frame(rng: &mut Rng, program: Program, world: &mut World, now: u64) -> FrameSpec {
    // The node itself is a peer only on its first link, when it asks its own acceptor.
    let (node, link) = match program {
        Program::Receive if rng.one_in(12) => (US, 0),
        _ => (rng.pick(&PEERS), rng.below(2) as u8),
    };
    let row_number = world.allow[&key_of(node, link)].row as usize;
    let row = world.rows.get(row_number).copied().unwrap_or_default();
    let mut spec = match program {
        Program::Stamp => {
            world.sender = sender(rng, link);
            departing(rng, world, (node, link), &row)
        }
        Program::Receive if rng.one_in(2) => probe(rng, (node, link), &row),
        Program::Receive => reply(rng, world, (node, link), &row, now),
    };
    if let Some(key) = spec.key {
        (spec.header.key_id, spec.key) = match rng.below(24) {
            0 => (OTHER_KEY.0, Some(OTHER_KEY.1)),
            1 => (KEY_ID, Some(OTHER_KEY.1)),
            2 => (rng.bits() as u8, Some(key)),
            _ => (KEY_ID, Some(key)),
        };
    }
    spec.header.liveness = liveness(rng);
    spec.vlans = vlans(rng);
    spec.leases = leases(rng, world, node);
    spec
}

fn probe(rng: &mut Rng, (node, link): (u16, u8), row: &PeerRow) -> FrameSpec {
    let sequence = next(rng, row.asked_seq);
    let known = row.asked_incarnation;
    let incarnation = rng.pick(&[
        known,
        known,
        known,
        known,
        known.saturating_add(1),
        known.saturating_sub(1),
    ]);
    FrameSpec::probe(node, link, sequence).with(|spec| {
        spec.header.incarnation = Incarnation(incarnation);
        spec.header.nonce = rng.bits();
        spec.header.t1 = Boottime::from_nanos(rng.bits());
    })
}

fn reply(
    rng: &mut Rng,
    world: &World,
    (node, link): (u16, u8),
    row: &PeerRow,
    now: u64,
) -> FrameSpec {
    let newest = if rng.one_in(8) {
        row.last_probe_seq
    } else {
        row.reply_seq
    };
    let sequence = next(rng, newest);
    let recent = now.saturating_sub(rng.below(TIMEOUT_NS / 6));
    let t1 = match rng.below(16) {
        0 => now + 10 * TIMEOUT_NS,
        1 => rng.bits(),
        2 => 0,
        3 | 4 => now.saturating_sub(TIMEOUT_NS + rng.below(TIMEOUT_NS)),
        _ => recent,
    };
    let t2 = rng.bits() >> rng.pick(&[0, 1, 32]);
    let inside = rng.below(1_000_000);
    let t3 = match rng.below(16) {
        0 => t2,
        1 => t2.wrapping_sub(1),
        2 => t2.wrapping_add(100 * TIMEOUT_NS),
        _ => t2.wrapping_add(inside),
    };
    FrameSpec::reply(world, node, link, sequence, t1).with(|spec| {
        spec.header.t2 = Boottime::from_nanos(t2);
        spec.header.t3 = Boottime::from_nanos(t3);
        spec.header.responder_incarnation = Incarnation(rng.bits());
        stranger(rng, spec);
    })
}

/// Usually the socket of the frame's link.
fn sender(rng: &mut Rng, link: u8) -> Option<u32> {
    match rng.below(16) {
        0 => None,
        1 => Some(u32::from(link) ^ 1),
        _ => Some(link.into()),
    }
}

fn departing(rng: &mut Rng, world: &World, (node, link): (u16, u8), row: &PeerRow) -> FrameSpec {
    let sequence = next(rng, row.last_probe_seq);
    FrameSpec::departing(world, node, link, sequence).with(|spec| {
        stranger(rng, spec);
        if rng.one_in(32) {
            spec.source_port = rng.bits() as u16;
        }
        if rng.one_in(16) {
            spec.header.kind = Kind::Reply;
        }
    })
}

/// Sometimes turns a heartbeat of the agent into one of another incarnation.
fn stranger(rng: &mut Rng, spec: &mut FrameSpec) {
    match rng.below(32) {
        0 => spec.header.nonce ^= 1 << rng.below(64),
        1 => spec.header.incarnation.0 = rng.around(spec.header.incarnation.0),
        _ => {}
    }
}

/// Usually a later sequence than `newest`, else one around the edges of the replay window or of the
/// furthest jump.
fn next(rng: &mut Rng, newest: u64) -> u64 {
    let jump = rng.pick(&[stamp::MAX_JUMP, replay::MAX_JUMP]);
    match rng.below(9) {
        0 => rng.around(newest),
        1 => newest.wrapping_sub(rng.below(70)),
        2 => newest.wrapping_add(rng.below(70)),
        3 => Sequence::default().0,
        4 => newest.wrapping_add(jump + rng.below(2)),
        _ => newest.wrapping_add(1),
    }
}

fn liveness(rng: &mut Rng) -> Liveness {
    Liveness {
        state: rng.bits() as u8,
        health: rng.bits() as u16,
        load: rng.bits() as u16,
        groups_owned: rng.bits() as u16,
        config_generation: rng.bits() as u32,
        pulse_age_us: rng.bits() as u32,
        control_age_us: rng.bits() as u32,
        report: rng.bits() as u32,
        voter_set: voter_set(rng),
    }
}

/// Usually one that is voted on.
fn voter_set(rng: &mut Rng) -> VoterSet {
    let few = |rng: &mut Rng| rng.pick(&[1, 1, 1, 1, 1, 1, 0, 2, 3, u16::MAX]);
    VoterSet {
        version: few(rng),
        claiming: few(rng),
        voters: rng.bits() as u32,
    }
}

fn vlans(rng: &mut Rng) -> Vec<(u16, u16)> {
    let tags = if rng.one_in(32) {
        3
    } else {
        rng.pick(&[0, 0, 1, 2])
    };
    (0..tags)
        .map(|_| (rng.pick(&[0x8100, 0x88a8]), rng.bits() as u16))
        .collect()
}

/// Lease entries that `node` may send or receive, and sometimes impossible ones.
fn leases(rng: &mut Rng, world: &World, node: u16) -> Vec<LeaseEntry> {
    if rng.one_in(3) {
        return Vec::new();
    }
    (0..rng.index(MAX_LEASES + 1))
        .map(|_| lease(rng, world, node))
        .collect()
}

fn lease(rng: &mut Rng, world: &World, node: u16) -> LeaseEntry {
    let (noise, short) = (rng.bits(), 1 + rng.below(2_000) as u32);
    let longest = (MAX_LEASE / 1_000) as u32;
    let group = rng.pick(&GROUPS);
    let granted = world.slots.get(&GroupId(group)).map(|slot| slot.ballot);
    LeaseEntry {
        group: if rng.one_in(40) { noise as u16 } else { group },
        operation: match rng.below(20) {
            0 => (noise >> 16) as u8,
            _ => rng.pick(&[1, 2, 3, 4]),
        },
        vote: rng.pick(&[0, 0, 1, (noise >> 24) as u8]),
        micros: match rng.below(12) {
            0 => rng.pick(&[0, longest, longest + 1, u32::MAX]),
            1 => (noise >> 32) as u32,
            2 | 3 => 60_000,
            _ => short,
        },
        ballot: match granted {
            Some(granted) if rng.one_in(3) => granted,
            _ => ballot(rng, node).0,
        },
    }
}
