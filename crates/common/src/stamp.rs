//! The treatment of a frame that leaves by a cluster link: all of the TC egress program but its
//! entry point.
//!
//! The agent sends probes without time, liveness or tag. This program writes them at the last
//! moment before the driver, and records the departure: a silence counts only if probes really
//! left.

use crate::{
    frame,
    liveness::describe_local,
    maps::{Key, PeerRow, rtt_slot, sent_slot},
    packet::Packet,
    tables::Tables,
    verdict::Verdict,
    wire::{Kind, offset},
};

/// The greatest distance of a probe's sequence from the last one that left. The agent counts by
/// ones. After a jump near the end of the numbers, peers would accept no further probe.
pub const MAX_JUMP: u64 = 1 << 32;

/// Stamps and seals a probe of this node. `None` means "not a heartbeat of this node": the frame
/// leaves untouched.
///
/// The kernel signs for the agent only, and recognises it by its socket: no content of a frame
/// proves its sender, because every frame can be read on the wire. Any other frame in this node's
/// name to the heartbeat port of a peer is dropped ([`Verdict::ForeignSocket`]). Without a tag it
/// would look to the peer like a forgery by this node. A probe of the agent itself is refused if
/// its incarnation is another one, or if its sequence repeats or jumps.
#[inline(always)]
pub fn stamp<P: Packet, T: Tables>(packet: &mut P, tables: &mut T) -> Option<Verdict> {
    let config = *tables.config()?;
    if config.port == 0 {
        return None;
    }
    let datagram = frame::locate(packet, config.port)
        .ok()?
        .obscured(config.zero);
    let source = datagram.source(packet)?;
    let link = *tables.link(&source)?;
    if link.ifindex != tables.ifindex() {
        return None;
    }
    let slot = *tables.peer(&datagram.destination(packet)?)?;
    if datagram.source_port(packet)? != config.port || tables.sender() != Some(link.link) {
        return Some(Verdict::ForeignSocket);
    }
    let heartbeat = datagram.heartbeat(packet).ok()?;
    let payload = heartbeat.payload;
    if packet.read::<u8>(payload + offset::KIND)? != Kind::Probe as u8 {
        return None;
    }
    let local = *tables.local()?;
    let sequence: u64 = packet.read(payload + offset::SEQUENCE)?;
    if local.incarnation == 0
        || packet.read::<u64>(payload + offset::INCARNATION)? != local.incarnation
        || packet.read::<u64>(payload + offset::NONCE)? != local.nonce
        || packet.read::<u32>(payload + offset::CLUSTER)? != config.cluster
        || packet.read::<u16>(payload + offset::SOURCE)? != config.node
        || packet.read::<u16>(payload + offset::DESTINATION)? != slot.node
        || u32::from(packet.read::<u8>(payload + offset::LINK)?) != link.link
        || u32::from(slot.link) != link.link
    {
        return Some(Verdict::StampRefused);
    }
    let key = match tables.key(Key::slot(local.key_id)) {
        Some(key) if key.valid != 0 && key.id == u32::from(local.key_id) => key.sip(),
        _ => return Some(Verdict::UnknownKey),
    };
    let now = tables.now();
    if !depart(tables.row(slot.row)?, sequence, now) {
        return Some(Verdict::StampRefused);
    }
    packet.write(payload + offset::KEY_ID, local.key_id)?;
    describe_local(packet, &local, payload, now)?;
    packet.write(payload + offset::T1, now)?;
    heartbeat.seal(packet, key)?;
    Some(Verdict::Stamped)
}

/// Records that probe `sequence` leaves at `now`. Returns false if the sequence is not newer than
/// the last, or too far beyond it.
#[inline(always)]
fn depart(row: &mut PeerRow, sequence: u64, now: u64) -> bool {
    let last = row.last_probe_seq;
    if sequence <= last || sequence - last > MAX_JUMP {
        return false;
    }
    row.sent_at[sent_slot(sequence)] = now;
    row.rtt_ring[rtt_slot(sequence)] = 0;
    row.last_probe_at = now;
    row.probes_left += 1;
    row.last_probe_seq = sequence;
    true
}
