//! The lease entries of a heartbeat: this node's acceptor answers the entries of a probe, and the
//! agent receives the entries of a reply.
//!
//! [`crate::lease`] alone decides.

use crate::{
    frame::Heartbeat,
    lease::{self, Answer, Limits, Operation, Request, Vote},
    maps::{PeerSlot, VoteEvent},
    packet::Packet,
    tables::Tables,
    time::Boottime,
    wire::{GroupId, LeaseEntry, MAX_LEASES, NodeId, offset},
};

/// Lets this node's acceptor decide about each lease entry, and writes its votes over the requests.
#[inline(always)]
pub(crate) fn vote<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &mut T,
    heartbeat: &Heartbeat,
    slot: &PeerSlot,
    limits: Limits,
    arrived_at: u64,
) -> Option<()> {
    // `now` is the instant of the arrival. A lease must not end before its owner's count does, and
    // that count began at the departure of the probe.
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
                packet.write(at + offset::lease::VOTE, vote as u8)?;
                packet.write(at + offset::lease::MICROS, micros)?;
                packet.write(at + offset::lease::BALLOT, ballot)?;
                let freed = entry.operation == Operation::Release as u8;
                if freed && vote as u8 == Vote::Granted as u8 {
                    tell_freed(tables, entry);
                }
            }
            None => packet.write(at + offset::lease::VOTE, Vote::Abstains as u8)?,
        }
    }
    Some(())
}

/// Leaves every request without an answer: its sender counts votes under a list of nodes that this
/// node's acceptor does not accept.
#[inline(always)]
pub(crate) fn abstain<P: Packet>(packet: &mut P, heartbeat: &Heartbeat) -> Option<()> {
    let leases = heartbeat.leases(packet)?;
    for index in 0..MAX_LEASES {
        if index == leases {
            break;
        }
        packet.write(
            heartbeat.lease(index) + offset::lease::VOTE,
            Vote::Abstains as u8,
        )?;
    }
    Some(())
}

#[inline(always)]
fn entry<P: Packet>(packet: &P, at: usize) -> Option<LeaseEntry> {
    Some(LeaseEntry {
        group: packet.read(at + offset::lease::GROUP)?,
        operation: packet.read(at + offset::lease::OPERATION)?,
        vote: packet.read(at + offset::lease::VOTE)?,
        micros: packet.read(at + offset::lease::MICROS)?,
        ballot: packet.read(at + offset::lease::BALLOT)?,
    })
}

/// Wakes the agent for a group that no longer has an owner.
#[inline(always)]
fn tell_freed<T: Tables>(tables: &mut T, entry: LeaseEntry) {
    tables.votes(|event| {
        event.row = VoteEvent::FREED;
        event.count = 1;
        event.entries[0] = entry;
        Some(true)
    });
}

/// Passes the votes of the acceptor of `row` to the agent.
#[inline(always)]
pub(crate) fn note_votes<P: Packet, T: Tables>(
    packet: &P,
    tables: &mut T,
    heartbeat: &Heartbeat,
    row: u32,
) {
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
            // The owner reads the votes for its renewals at its tick.
            wake |= vote.operation != Operation::Renew as u8;
            event.entries[index] = vote;
        }
        Some(wake)
    });
}
