//! What happens to a frame that arrives on a cluster link: the whole of the XDP program but for its
//! entry point.
//!
//! ```text
//! IP? UDP? our port? ──no──▶ pass
//!   │ our address, magic, version, lengths
//!   │ cluster, destination node, allow-list ──no──▶ drop
//!   │ MAC ──bad──▶ drop
//!   ├─ probe: replayed? ──▶ drop      else remember it, vote, answer in place, transmit
//!   └─ reply: to a probe of mine, fresh, first? ──no──▶ drop      else it is evidence: record it
//! ```
//!
//! A node's own vote takes the same way: its agent runs this program with a frame from itself to
//! itself, which then seems to come by the loopback interface. On a link such a frame is a forgery.

use crate::{
    frame::{self, Heartbeat},
    lease::{self, Answer, Limits, Operation, Request, Slot, Vote},
    maps::{Address, Config, Key, Link, Local, PeerRow, PeerSlot, RTT_RING, SENT_RING, VoteEvent},
    packet::Packet,
    replay,
    time::Boottime,
    verdict::Verdict,
    wire::{GroupId, Kind, LeaseEntry, MAX_LEASES, NodeId, offset},
};

/// Index of the loopback interface in every network namespace (`LOOPBACK_IFINDEX`,
/// include/net/flow.h).
pub const LOOPBACK: u32 = 1;

/// The maps and the clock, as the per-packet functions see them.
pub trait Tables {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    fn now(&mut self) -> u64;
    /// Index of the interface that the packet came in by, or leaves by.
    fn ifindex(&self) -> u32;
    fn config(&self) -> Option<&Config>;
    fn local(&self) -> Option<&Local>;
    /// The key in `slot`, valid or not.
    fn key(&self, slot: u32) -> Option<&Key>;
    /// The link that owns `address` on this node.
    fn link(&self, address: &Address) -> Option<&Link>;
    /// The peer that owns `address`.
    fn peer(&self, address: &Address) -> Option<&PeerSlot>;
    /// The link whose probes the agent sends by the very socket that the leaving packet is from. `None` if that is no
    /// socket of the agent, or the packet was not made on this host; only asked about packets that leave.
    fn sender(&self) -> Option<u32>;
    fn row(&mut self, row: u32) -> Option<&mut PeerRow>;
    /// Runs `decide` on the slot of `group` while nobody else can. `None` if there is no slot left.
    fn lease(&mut self, group: GroupId, decide: impl FnOnce(&mut Slot) -> Answer)
    -> Option<Answer>;
    /// Tells the agent of votes: `fill` writes the event and says whether to wake the agent for it, or
    /// `None` to send none.
    fn votes(&mut self, fill: impl FnOnce(&mut VoteEvent) -> Option<bool>);
}

/// What became of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub verdict: Verdict,
    /// The peer's row, once the allow-list has been passed.
    pub row: Option<u32>,
}

/// Judges one frame; a probe is turned into its reply in place.
#[inline(always)]
pub fn receive<P: Packet, T: Tables>(packet: &mut P, tables: &mut T) -> Received {
    match admit(packet, tables) {
        Err(verdict) => Received { verdict, row: None },
        Ok(admitted) => {
            // Only now: reading the clock costs as much as all the checks before, and other traffic
            // must not pay for it.
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
        Some(false) => return refuse(packet, tables, slot.row, arrived_at, Verdict::BadMac),
        None => return Verdict::Truncated,
    }
    let verdict = match kind {
        Kind::Probe => match note_probe(packet, tables, payload, slot.row, arrived_at) {
            Some(Verdict::Answered) => packet
                // Before the answer takes its place.
                .read::<u16>(payload + offset::COUNTED_VERSION)
                .and_then(|counted| {
                    answer(packet, tables, heartbeat, arrived_at)?;
                    if tables.local()?.electorate().votes_on(counted) {
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

/// Counts a frame that nobody with the key has sealed to the peer whose address it bears, and by whom it really came.
///
/// It changes nothing that a frame of the peer itself would meet: anybody can write its address.
#[inline(always)]
fn refuse<P: Packet, T: Tables>(
    packet: &P,
    tables: &mut T,
    row: u32,
    arrived_at: u64,
    verdict: Verdict,
) -> Verdict {
    if let (Some(row), Some(from)) = (tables.row(row), frame::sender(packet)) {
        if verdict as u32 == Verdict::BadMac as u32 {
            row.bad_macs += 1;
        } else {
            row.unknown_keys += 1;
        }
        row.refused_at = arrived_at;
        row.refused_from = from;
    }
    verdict
}

/// Remembers a valid probe, unless it is a replay: an older incarnation or a sequence seen before.
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

/// Turns the probe into its reply, all but the tag and the UDP checksum.
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

/// Lets this node's acceptor decide about each lease entry, and writes its votes over the requests.
#[inline(always)]
fn vote<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &mut T,
    heartbeat: &Heartbeat,
    slot: &PeerSlot,
    limits: Limits,
    arrived_at: u64,
) -> Option<()> {
    // That of the arrival: a lease must not end before its owner's count does, and that began when
    // the probe left.
    let now = Boottime::from_nanos(arrived_at);
    let leases = heartbeat.leases(packet)?;
    for index in 0..MAX_LEASES {
        if index == leases {
            break;
        }
        let at = heartbeat.lease(index);
        let entry = entry(packet, at)?;
        let asked = Request::read(&entry, NodeId(slot.node), limits, now);
        let answer = asked.and_then(|request| {
            tables.lease(GroupId(entry.group), |slot| {
                lease::decide(slot, &request, now)
            })
        });
        match answer {
            Some(Answer {
                vote,
                micros,
                ballot,
            }) => {
                packet.write(at + 3, vote as u8)?;
                packet.write(at + 4, micros)?;
                packet.write(at + 8, ballot)?;
                let freed = entry.operation == Operation::Release as u8;
                if freed && vote as u8 == Vote::Granted as u8 {
                    tell_freed(tables, entry);
                }
            }
            None => packet.write(at + 3, Vote::Abstains as u8)?,
        }
    }
    Some(())
}

/// Leaves every request without an answer: its sender goes by other voters than this node may.
#[inline(always)]
fn abstain<P: Packet>(packet: &mut P, heartbeat: &Heartbeat) -> Option<()> {
    let leases = heartbeat.leases(packet)?;
    for index in 0..MAX_LEASES {
        if index == leases {
            break;
        }
        packet.write(heartbeat.lease(index) + 3, Vote::Abstains as u8)?;
    }
    Some(())
}

#[inline(always)]
fn entry<P: Packet>(packet: &P, at: usize) -> Option<LeaseEntry> {
    Some(LeaseEntry {
        group: packet.read(at)?,
        operation: packet.read(at + 2)?,
        vote: packet.read(at + 3)?,
        micros: packet.read(at + 4)?,
        ballot: packet.read(at + 8)?,
    })
}

/// Wakes the agent for a group that has no owner any more.
#[inline(always)]
fn tell_freed<T: Tables>(tables: &mut T, entry: LeaseEntry) {
    tables.votes(|event| {
        event.row = VoteEvent::FREED;
        event.count = 1;
        event.entries[0] = entry;
        Some(true)
    });
}

/// Tells the agent what the acceptor of `row` answered.
#[inline(always)]
fn note_votes<P: Packet, T: Tables>(packet: &P, tables: &mut T, heartbeat: &Heartbeat, row: u32) {
    let Some(leases) = heartbeat.leases(packet).filter(|leases| *leases > 0) else {
        return;
    };
    tables.votes(|event| {
        event.row = row;
        event.count = leases as u32;
        event.sequence = packet.read(heartbeat.payload + offset::SEQUENCE)?;
        event.t1 = packet.read(heartbeat.payload + offset::T1)?;
        let mut wake = false;
        for index in 0..MAX_LEASES {
            if index == leases {
                break;
            }
            let vote = entry(packet, heartbeat.lease(index))?;
            // The owner reads the votes for its renewals when it ticks.
            wake |= vote.operation != Operation::Renew as u8;
            event.entries[index] = vote;
        }
        Some(wake)
    });
}

/// Writes the liveness vector of this node at `now`.
#[inline(always)]
pub(crate) fn describe_local<P: Packet>(
    packet: &mut P,
    local: &Local,
    payload: usize,
    now: u64,
) -> Option<()> {
    let liveness = local.liveness(now);
    packet.write(payload + offset::STATE, liveness.state)?;
    packet.write(payload + offset::HEALTH, liveness.health)?;
    packet.write(payload + offset::LOAD, liveness.load)?;
    packet.write(payload + offset::GROUPS_OWNED, liveness.groups_owned)?;
    packet.write(
        payload + offset::CONFIG_GENERATION,
        liveness.config_generation,
    )?;
    packet.write(payload + offset::PULSE_AGE, liveness.pulse_age_us)?;
    packet.write(payload + offset::REASON_AGE, liveness.reason_age_us)?;
    packet.write(payload + offset::REPORT, liveness.report)?;
    let electorate = liveness.electorate;
    packet.write(payload + offset::CONFIG_VERSION, electorate.version)?;
    packet.write(payload + offset::COUNTED_VERSION, electorate.counted)?;
    packet.write(payload + offset::VOTERS, electorate.voters)
}

/// Records a reply as evidence of life if it is a fresh one to a probe of this incarnation.
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
    // An answer to a probe that the ring has forgotten must not pass for a newer probe's.
    if row.last_probe_seq - sequence < RTT_RING as u64 {
        row.rtt_ring[rtt_slot(sequence)] = rtt.min(u32::MAX.into()) as u32;
    }
    row.incarnation = packet.read(payload + offset::RESPONDER_INCARNATION)?;
    row.config_generation = packet.read(payload + offset::CONFIG_GENERATION)?;
    row.pulse_age_us = packet.read(payload + offset::PULSE_AGE)?;
    row.reason_age_us = packet.read(payload + offset::REASON_AGE)?;
    row.report = packet.read(payload + offset::REPORT)?;
    row.config_version = packet.read(payload + offset::CONFIG_VERSION)?;
    row.counted_version = packet.read(payload + offset::COUNTED_VERSION)?;
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

/// Index of probe `sequence` in [`PeerRow::sent_at`].
#[inline(always)]
pub const fn sent_slot(sequence: u64) -> usize {
    sequence as usize % SENT_RING
}

/// Index of probe `sequence` in [`PeerRow::rtt_ring`].
#[inline(always)]
pub const fn rtt_slot(sequence: u64) -> usize {
    sequence as usize % RTT_RING
}
