//! The acceptor in the kernel: which entries it reads, what it reports to agent and operator, and
//! which entries change no slot. `answers` tests its answers.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    lease::{Ballot, Operation, Slot, Successor, Vote},
    maps::{MAX_GROUPS, VoteEvent},
    verdict::Verdict,
    wire::{self, GroupId, HEADER_LEN, Header, LeaseEntry, MAX_LEASES, NodeId, TAG_LEN, offset},
};
use heartbeat_tests::{
    kernel::{self, Kernel, Program, World, decode::Datagram, frames::FrameSpec},
    needs,
    sys::boottime,
};
use serde_json::Value;

use super::{PEER, TIMEOUT_NS, UDP};

pub(super) const GROUP: u16 = 40_001;
/// The length of each requested lease, in microseconds and nanoseconds.
const LEASE: u32 = 60_000;
pub(super) const LEASE_NS: u64 = LEASE as u64 * 1_000;
pub(super) const HOUR: u64 = 3_600_000_000_000;

pub(super) fn mine(round: u64) -> Ballot {
    Ballot::new(round, NodeId(PEER))
}

pub(super) fn entry(operation: Operation, ballot: Ballot, micros: u32) -> LeaseEntry {
    LeaseEntry {
        group: GROUP,
        operation: operation as u8,
        vote: 0,
        micros,
        ballot: ballot.0,
    }
}

pub(super) fn prepare(ballot: Ballot) -> LeaseEntry {
    entry(Operation::Prepare, ballot, LEASE)
}

pub(super) fn accept(ballot: Ballot) -> LeaseEntry {
    entry(Operation::Accept, ballot, LEASE)
}

pub(super) fn renew(ballot: Ballot) -> LeaseEntry {
    entry(Operation::Renew, ballot, LEASE)
}

pub(super) fn release(ballot: Ballot, successor: Successor) -> LeaseEntry {
    entry(Operation::Release, ballot, successor.0)
}

/// The vote for `entry`, with the length of the granted lease.
pub(super) fn granted(entry: LeaseEntry) -> LeaseEntry {
    let gives = matches!(
        Operation::from_wire(entry.operation),
        Some(Operation::Accept | Operation::Renew)
    );
    LeaseEntry {
        vote: Vote::Granted as u8,
        micros: if gives { entry.micros } else { 0 },
        ..entry
    }
}

/// A slot that was granted under `ballot` until `expires`.
pub(super) fn held(ballot: Ballot, expires: u64) -> Slot {
    Slot {
        owner: ballot.node().0.into(),
        promised: ballot.0,
        ballot: ballot.0,
        expires,
        ..Slot::default()
    }
}

/// The lease entries of a reply, as bytes, and the acceptor's time for them.
fn answers(frame: &[u8]) -> Result<(Vec<u8>, u64)> {
    let datagram = Datagram::decode(frame)?;
    let payload = &datagram.payload;
    let header = Header::decode(payload)?;
    let entries = payload[HEADER_LEN..payload.len() - TAG_LEN].to_vec();
    Ok((entries, header.t2.as_nanos()))
}

pub(super) fn bytes(entries: &[LeaseEntry]) -> Vec<u8> {
    entries.iter().flat_map(LeaseEntry::encode).collect()
}

fn probe(sequence: u64, entries: &[LeaseEntry]) -> FrameSpec {
    FrameSpec::probe(PEER, 0, sequence).with(|spec| spec.leases = entries.to_vec())
}

/// Sends `entries` in one probe. Returns the answers and the time of arrival.
pub(super) fn ask(
    kernel: &mut Kernel,
    sequence: u64,
    entries: &[LeaseEntry],
) -> Result<(Vec<u8>, u64)> {
    let run = kernel.run(Program::Receive, &probe(sequence, entries).frame()?)?;
    ensure!(run.verdict == Some(Verdict::Answered), "{run:?}");
    answers(&run.frame)
}

#[test]
fn fresh_acceptor_abstains_until_it_may_vote() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let mut world = World::new(TIMEOUT_NS);
    let asked = [prepare(mine(1)), accept(mine(1)), renew(mine(1))];
    world.config.votes_from = boottime().as_nanos() + HOUR;
    kernel.install(&world)?;
    assert_eq!(ask(&mut kernel, 1, &asked)?.0, bytes(&asked));
    assert!(kernel.slots()?.is_empty());
    world.config.votes_from = boottime().as_nanos();
    kernel.install(&world)?;
    assert_eq!(ask(&mut kernel, 1, &asked)?.0, bytes(&asked.map(granted)));
    Ok(())
}

#[test]
fn claim_by_an_unknown_voter_set_gets_an_abstention() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let mut world = World::new(TIMEOUT_NS);
    let asked = [prepare(mine(1)), accept(mine(1)), renew(mine(1))];
    // The peer claims by voter-set version 1.
    for version in [3, 0] {
        world.local.config_version = version;
        kernel.install(&world)?;
        assert_eq!(ask(&mut kernel, 1, &asked)?.0, bytes(&asked), "{version}");
        assert!(kernel.slots()?.is_empty(), "{version}");
    }
    for version in [1, 2] {
        world.local.config_version = version;
        kernel.install(&world)?;
        let votes = asked.map(granted);
        assert_eq!(ask(&mut kernel, 1, &asked)?.0, bytes(&votes), "{version}");
    }
    Ok(())
}

#[test]
fn eight_entries_of_one_probe_are_taken_in_order() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let elsewhere = |entry| LeaseEntry { group: 3, ..entry };
    let anybody = Successor::default();
    let refused = |entry, ballot| LeaseEntry {
        vote: Vote::Refused as u8,
        micros: 0,
        ballot,
        ..entry
    };
    let (asked, said): (Vec<_>, Vec<_>) = [
        (prepare(mine(2)), granted(prepare(mine(2)))),
        (accept(mine(1)), refused(accept(mine(1)), mine(2).0)),
        (accept(mine(2)), granted(accept(mine(2)))),
        (
            elsewhere(accept(mine(1))),
            elsewhere(granted(accept(mine(1)))),
        ),
        (
            release(mine(1), anybody),
            refused(release(mine(1), anybody), mine(2).0),
        ),
        (
            release(mine(2), anybody),
            granted(release(mine(2), anybody)),
        ),
        (renew(mine(2)), refused(renew(mine(2)), mine(2).0 + 1)),
        (accept(mine(3)), granted(accept(mine(3)))),
    ]
    .into_iter()
    .unzip();
    assert_eq!(asked.len(), MAX_LEASES);
    let (answered, now) = ask(&mut kernel, 1, &asked)?;
    assert_eq!(answered, bytes(&said));
    let slots: Vec<_> = kernel.slots()?.into_iter().collect();
    let until = now + LEASE_NS;
    assert_eq!(
        slots,
        [
            (GroupId(3), held(mine(1), until)),
            (GroupId(GROUP), held(mine(3), until))
        ]
    );
    Ok(())
}

#[test]
fn entries_beyond_the_end_of_the_frame_are_not_read() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let spec = probe(1, &[accept(mine(1))]);
    let honest = spec.payload()?;
    for claimed in (0..=u8::MAX).filter(|claimed| *claimed != 1) {
        let mut payload = honest.clone();
        payload[offset::LEASE_COUNT] = claimed;
        let mut frame = spec.frame_around(&payload)?;
        let run = kernel.run(Program::Receive, &frame)?;
        assert_eq!(run.verdict, Some(Verdict::Malformed), "{claimed} entries");
        if (2..=MAX_LEASES).contains(&claimed.into()) {
            // The headers have the same wrong length, so the tag would be beyond the frame.
            let udp = 8 + wire::len(claimed.into()) as u16;
            frame[UDP - 18..UDP - 16].copy_from_slice(&(20 + udp).to_be_bytes());
            frame[UDP + 4..UDP + 6].copy_from_slice(&udp.to_be_bytes());
            let run = kernel.run(Program::Receive, &frame)?;
            assert_eq!(run.verdict, Some(Verdict::Truncated), "{claimed} entries");
        }
    }
    assert!(kernel.slots()?.is_empty());
    Ok(())
}

#[test]
fn forged_or_replayed_entry_moves_no_slot() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let original = probe(1, &[accept(mine(5))]).frame()?;
    assert_eq!(
        kernel.run(Program::Receive, &original)?.verdict,
        Some(Verdict::Answered)
    );
    let slots = kernel.slots()?;
    let run = kernel.run(Program::Receive, &original)?;
    assert_eq!(
        (run.verdict, run.frame),
        (Some(Verdict::ReplayedProbe), original)
    );
    assert_eq!(kernel.slots()?, slots);
    for asked in [
        renew(mine(5)),
        release(mine(5), Successor::default()),
        accept(mine(6)),
    ] {
        let spec = probe(2, &[asked]);
        let sealed = spec.frame()?;
        let bits = (spec.payload_at() + offset::LEASES)..sealed.len();
        // Each bit of the entry and of the tag is flipped.
        for (at, bit) in bits.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut forged = sealed.clone();
            forged[at] ^= 1 << bit;
            let run = kernel.run(Program::Receive, &forged)?;
            assert_eq!(run.verdict, Some(Verdict::BadTag), "bit {bit} of byte {at}");
        }
        assert_eq!(kernel.slots()?, slots);
    }
    Ok(())
}

#[test]
fn acceptor_with_a_full_table_abstains_on_new_groups() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let groups: Vec<u16> = (0..MAX_GROUPS as u16).map(|n| n.wrapping_mul(61)).collect();
    let of = |group| LeaseEntry {
        group,
        ..accept(mine(1))
    };
    for (sequence, groups) in (1..).zip(groups.chunks(MAX_LEASES)) {
        let asked: Vec<_> = groups.iter().copied().map(of).collect();
        let said: Vec<_> = asked.iter().copied().map(granted).collect();
        assert_eq!(ask(&mut kernel, sequence, &asked)?.0, bytes(&said));
    }
    let unknown = of(GROUP);
    assert!(!groups.contains(&GROUP));
    let known = of(groups[700]);
    let (said, _) = ask(&mut kernel, 1_000, &[unknown, known])?;
    assert_eq!(said, bytes(&[unknown, granted(known)]));
    assert_eq!(kernel.slots()?.len(), MAX_GROUPS);
    Ok(())
}

#[test]
fn votes_in_a_fresh_reply_reach_the_agent_once() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    let mut world = World::new(TIMEOUT_NS);
    world.row_of(PEER, 1).last_probe_seq = 9;
    kernel.install(&world)?;
    let t1 = boottime().as_nanos();
    let mut entries: Vec<_> = (0..5).map(|round| granted(renew(mine(round)))).collect();
    let reply = FrameSpec::reply(&world, PEER, 1, 9, t1).with(|spec| spec.leases = entries.clone());
    let frame = reply.frame()?;
    for verdict in [Verdict::Recorded, Verdict::ReplayedReply] {
        assert_eq!(kernel.run(Program::Receive, &frame)?.verdict, Some(verdict));
    }
    entries.resize(MAX_LEASES, LeaseEntry::default());
    let told = VoteEvent {
        row: world.row_number(PEER, 1),
        count: 5,
        sequence: 9,
        t1,
        entries: entries.try_into().expect("as many as fit"),
    };
    assert_eq!(kernel.votes()?, [told]);
    assert!(kernel.slots()?.is_empty(), "a vote is no request");
    Ok(())
}

#[test]
fn bpftool_shows_the_holder_of_a_group_by_field_names() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let (_, now) = ask(&mut kernel, 1, &[accept(mine(5))])?;
    let id = kernel.leases_id().to_string();
    let dump = Command::new("bpftool")
        .args(["map", "dump", "id", &id])
        .output()
        .context("could not run bpftool")?;
    let dumped = String::from_utf8_lossy(&dump.stdout);
    let entries: Value = serde_json::from_str(&dumped)
        .with_context(|| format!("the slots have no named fields: {dumped}"))?;
    let [entry] = entries.as_array().map_or(&[][..], Vec::as_slice) else {
        panic!("not one slot: {entries:#}");
    };
    assert_eq!(entry["key"], GROUP, "{entry:#}");
    let slot = &entry["value"]["slot"];
    assert_eq!(slot["owner"], PEER, "{entry:#}");
    assert_eq!(slot["successor"], 0, "{entry:#}");
    assert_eq!(slot["promised"], mine(5).0, "{entry:#}");
    assert_eq!(slot["ballot"], mine(5).0, "{entry:#}");
    assert_eq!(slot["expires"], now + LEASE_NS, "{entry:#}");
    Ok(())
}
