//! The decision about a heartbeat that arrives: this module is the whole responder except for the
//! entry point of the XDP program.
//!
//! ```text
//! IP? UDP? our port? our address? ──no──▶ pass
//!   │ magic? ──no──▶ drop
//!   │ version? ──no──▶ pass
//!   │ lengths? cluster? destination node? allow-list? kind? key? tag? ──no──▶ drop
//!   ├─ probe: replayed? ──▶ drop      else remember it, vote, answer in place, transmit
//!   └─ reply: to a probe of this agent, fresh, first? ──no──▶ drop     else record it
//! ```
//!
//! A node's own vote takes the same path. The agent runs this program with a probe from its node to
//! itself, and the program sees the loopback interface as the interface of arrival. Such a frame on
//! a link is a forgery.

use crate::{
    frame::{self, Heartbeat},
    lease::Limits,
    liveness::describe_local,
    maps::{Config, Key, PeerSlot, RTT_RING, rtt_slot},
    packet::Packet,
    replay,
    tables::Tables,
    verdict::Verdict,
    votes::{abstain, note_votes, vote},
    wire::{Kind, offset},
};

/// Index of the loopback interface in every network namespace (`LOOPBACK_IFINDEX`,
/// include/net/flow.h).
pub const LOOPBACK: u32 = 1;

/// The result for a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub verdict: Verdict,
    /// The peer's row, once the allow-list has been passed.
    pub row: Option<u32>,
}

/// Decides about one frame, and turns a probe into its reply in place.
#[inline(always)]
pub fn receive<P: Packet, T: Tables>(packet: &mut P, tables: &mut T) -> Received {
    match admit(packet, tables) {
        Err(verdict) => Received { verdict, row: None },
        Ok(admitted) => {
            // The clock is not read before this point. A read costs as much as all the checks
            // before it, and other traffic must not pay for that.
            let arrived_at = tables.now();
            Received {
                verdict: take(packet, tables, &admitted, arrived_at),
                row: Some(admitted.slot.row),
            }
        }
    }
}

/// A heartbeat from a peer on the allow-list, not yet authenticated.
struct Admitted {
    heartbeat: Heartbeat,
    slot: PeerSlot,
    timeout_ns: u64,
    limits: Limits,
}

#[inline(always)]
fn admit<P: Packet, T: Tables>(packet: &P, tables: &T) -> Result<Admitted, Verdict> {
    let Config {
        port,
        cluster,
        node,
        timeout_ns,
        votes_from,
        max_lease_ns,
        zero,
        ..
    } = *tables.config().ok_or(Verdict::Unconfigured)?;
    if port == 0 {
        return Err(Verdict::Unconfigured);
    }
    let datagram = frame::locate(packet, port)?.obscured(zero);
    let destination = datagram.destination(packet).ok_or(Verdict::NotForUs)?;
    let link = *tables.link(&destination).ok_or(Verdict::NotForUs)?;
    let looped = tables.ifindex() == LOOPBACK;
    let on_link = link.ifindex == tables.ifindex();
    if !on_link && !looped {
        return Err(Verdict::NotForUs);
    }
    let heartbeat = datagram.heartbeat(packet)?;
    let payload = heartbeat.payload;
    if packet.read::<u32>(payload + offset::CLUSTER) != Some(cluster) {
        return Err(Verdict::ForeignCluster);
    }
    if packet.read::<u16>(payload + offset::DESTINATION) != Some(node) {
        return Err(Verdict::WrongNode);
    }
    let source = datagram.source(packet).ok_or(Verdict::Truncated)?;
    let slot = *tables.peer(&source).ok_or(Verdict::UnknownPeer)?;
    if packet.read::<u16>(payload + offset::SOURCE) != Some(slot.node)
        || packet.read::<u8>(payload + offset::LINK).map(u16::from) != Some(slot.link)
        || link.link != u32::from(slot.link)
        || slot.node == node && !looped
        || slot.node != node && !on_link
    {
        return Err(Verdict::UnknownPeer);
    }
    Ok(Admitted {
        heartbeat,
        slot,
        timeout_ns,
        limits: Limits {
            votes_from,
            max_lease_ns,
        },
    })
}

#[inline(always)]
fn take<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &mut T,
    admitted: &Admitted,
    arrived_at: u64,
) -> Verdict {
    let Admitted {
        heartbeat,
        slot,
        timeout_ns,
        limits,
    } = admitted;
    let payload = heartbeat.payload;
    let kind = packet
        .read::<u8>(payload + offset::KIND)
        .and_then(Kind::from_wire);
    let (Some(kind), Some(key_id)) = (kind, packet.read::<u8>(payload + offset::KEY_ID)) else {
        return Verdict::Malformed;
    };
    let key = match tables.key(Key::slot(key_id)) {
        Some(key) if key.valid != 0 && key.id == u32::from(key_id) => key.sip(),
        _ => return refuse(packet, tables, slot.row, arrived_at, Verdict::UnknownKey),
    };
    match heartbeat.tag_is_good(packet, key) {
        Some(true) => {}
        Some(false) => return refuse(packet, tables, slot.row, arrived_at, Verdict::BadTag),
        None => return Verdict::Truncated,
    }
    let verdict = match kind {
        Kind::Probe => match note_probe(packet, tables, payload, slot.row, arrived_at) {
            Some(Verdict::Answered) => packet
                // This read must precede the answer, which overwrites the field.
                .read::<u16>(payload + offset::CLAIMING_VERSION)
                .and_then(|claiming| {
                    answer(packet, tables, heartbeat, arrived_at)?;
                    if tables.local()?.voter_set().votes_on(claiming) {
                        vote(packet, tables, heartbeat, slot, *limits, arrived_at)?;
                    } else {
                        abstain(packet, heartbeat)?;
                    }
                    heartbeat.seal(packet, key)
                })
                .map(|()| Verdict::Answered),
            other => other,
        },
        Kind::Reply => {
            let noted = note_reply(packet, tables, payload, slot.row, arrived_at, *timeout_ns);
            if noted == Some(Verdict::Recorded) {
                note_votes(packet, tables, heartbeat, slot.row);
            }
            noted
        }
    };
    verdict.unwrap_or(Verdict::Truncated)
}

/// Counts a frame with a bad tag against the peer whose address it claims, and records the Ethernet
/// address it came from.
///
/// The counts must not cause a refusal of the peer's own frames: any host can send frames with the
/// peer's address.
#[inline(always)]
fn refuse<P: Packet, T: Tables>(
    packet: &P,
    tables: &mut T,
    row: u32,
    arrived_at: u64,
    verdict: Verdict,
) -> Verdict {
    if let (Some(row), Some(from)) = (tables.row(row), frame::sender(packet)) {
        if verdict as u32 == Verdict::BadTag as u32 {
            row.bad_tags += 1;
        } else {
            row.unknown_keys += 1;
        }
        row.refused_at = arrived_at;
        row.refused_from = from;
    }
    verdict
}

/// Records an authenticated probe, unless it is a replay: of an older incarnation, or with a
/// sequence that [`replay::advance`] refuses.
#[inline(always)]
fn note_probe<P: Packet, T: Tables>(
    packet: &P,
    tables: &mut T,
    payload: usize,
    row: u32,
    arrived_at: u64,
) -> Option<Verdict> {
    let incarnation: u64 = packet.read(payload + offset::INCARNATION)?;
    let sequence: u64 = packet.read(payload + offset::SEQUENCE)?;
    let row = tables.row(row)?;
    if incarnation < row.asked_incarnation {
        return Some(Verdict::ReplayedProbe);
    }
    let window = if incarnation == row.asked_incarnation {
        row.asked_window
    } else {
        0
    };
    let Some((highest, window)) = replay::advance(row.asked_seq, window, sequence) else {
        return Some(Verdict::ReplayedProbe);
    };
    row.asked_incarnation = incarnation;
    row.asked_window = window;
    row.asked_seq = highest;
    row.last_asked_at = arrived_at;
    row.answered += 1;
    Some(Verdict::Answered)
}

/// Turns the probe into its reply, except for the tag and the UDP checksum.
#[inline(always)]
fn answer<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &mut T,
    heartbeat: &Heartbeat,
    arrived_at: u64,
) -> Option<()> {
    let payload = heartbeat.payload;
    heartbeat.turn_around(packet)?;
    let source: u16 = packet.read(payload + offset::SOURCE)?;
    let destination: u16 = packet.read(payload + offset::DESTINATION)?;
    packet.write(payload + offset::SOURCE, destination)?;
    packet.write(payload + offset::DESTINATION, source)?;
    packet.write(payload + offset::KIND, Kind::Reply as u8)?;
    let replied_at = tables.now();
    packet.write(payload + offset::T2, arrived_at)?;
    packet.write(payload + offset::T3, replied_at)?;
    let local = tables.local()?;
    packet.write(payload + offset::RESPONDER_INCARNATION, local.incarnation)?;
    describe_local(packet, local, payload, replied_at)
}

/// Records a reply as evidence of life, if it is a fresh one to a probe of this incarnation.
#[inline(always)]
fn note_reply<P: Packet, T: Tables>(
    packet: &P,
    tables: &mut T,
    payload: usize,
    row: u32,
    arrived_at: u64,
    timeout_ns: u64,
) -> Option<Verdict> {
    let local = tables.local()?;
    if packet.read::<u64>(payload + offset::INCARNATION)? != local.incarnation
        || packet.read::<u64>(payload + offset::NONCE)? != local.nonce
        || local.incarnation == 0
    {
        return Some(Verdict::UnsolicitedReply);
    }
    let sequence: u64 = packet.read(payload + offset::SEQUENCE)?;
    let t1: u64 = packet.read(payload + offset::T1)?;
    let t2: u64 = packet.read(payload + offset::T2)?;
    let t3: u64 = packet.read(payload + offset::T3)?;
    let row = tables.row(row)?;
    if sequence > row.last_probe_seq || t1 > arrived_at || t2 > t3 {
        return Some(Verdict::UnsolicitedReply);
    }
    let Some((highest, window)) = replay::advance(row.reply_seq, row.reply_window, sequence) else {
        return Some(Verdict::ReplayedReply);
    };
    row.reply_window = window;
    row.reply_seq = highest;
    let elapsed = arrived_at - t1;
    if elapsed > timeout_ns {
        row.late_replies += 1;
        return Some(Verdict::LateReply);
    }
    let rtt = elapsed.saturating_sub(t3 - t2);
    row.last_reply_at = arrived_at;
    row.rtt_ns = rtt;
    row.replies += 1;
    // The ring has a place for each of the last probes. A reply to an older probe must not be
    // recorded in the place of a newer one.
    if row.last_probe_seq - sequence < RTT_RING as u64 {
        row.rtt_ring[rtt_slot(sequence)] = rtt.min(u32::MAX.into()) as u32;
    }
    row.incarnation = packet.read(payload + offset::RESPONDER_INCARNATION)?;
    row.config_generation = packet.read(payload + offset::CONFIG_GENERATION)?;
    row.pulse_age_us = packet.read(payload + offset::PULSE_AGE)?;
    row.control_age_us = packet.read(payload + offset::REASON_AGE)?;
    row.report = packet.read(payload + offset::REPORT)?;
    row.config_version = packet.read(payload + offset::CONFIG_VERSION)?;
    row.claiming_version = packet.read(payload + offset::CLAIMING_VERSION)?;
    row.voters = packet.read(payload + offset::VOTERS)?;
    row.health = packet.read(payload + offset::HEALTH)?;
    row.load = packet.read(payload + offset::LOAD)?;
    row.groups_owned = packet.read(payload + offset::GROUPS_OWNED)?;
    row.state = packet.read::<u8>(payload + offset::STATE)?.into();
    if sequence > row.last_reply_seq {
        row.last_reply_seq = sequence;
    }
    Some(Verdict::Recorded)
}
