//! Two nodes that ask for one lease on two CPUs at the same time.

use std::{sync::Barrier, thread};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    lease::{Ballot, Operation, Vote},
    wire::{HEADER_LEN, Header, Kind, LEASE_LEN, LeaseEntry, NodeId},
};
use heartbeat_tests::{
    kernel::{
        self, Responder, World,
        frames::{FrameSpec, PEERS},
    },
    needs,
    sys::boottime,
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::TIMEOUT_NS;

const GROUP: u16 = 9;
/// A lease so short that it has ended when its owner asks again: each claim finds a free slot, or
/// one about to be free.
const LEASE_NS: u64 = 1_000;
/// The claims of each node. Without the slot's lock some hundreds of them are granted to both
/// nodes.
const ROUNDS: u64 = 60_000;

/// A granted lease, by the acceptor's clock.
#[derive(Clone, Copy, Debug)]
struct Grant {
    node: u16,
    from: u64,
}

/// Pins the calling thread to its usable CPU number `number`, modulo their count.
fn stay_on(number: usize) -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let mut one = CpuSet::new();
    one.set(cpus[number % cpus.len()])?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

/// The leases that `node` gets while it claims repeatedly, always with the highest ballot.
fn contend(responder: &Responder<'_>, node: u16, begun_at: u64) -> Result<Vec<Grant>> {
    let mut grants = Vec::new();
    for sequence in 1..=ROUNDS {
        let ballot = Ballot::new(boottime().as_nanos() - begun_at, NodeId(node));
        let spec = FrameSpec::probe(node, 0, sequence).with(|spec| {
            spec.leases = vec![LeaseEntry {
                group: GROUP,
                operation: Operation::Accept as u8,
                vote: 0,
                micros: (LEASE_NS / 1_000) as u32,
                ballot: ballot.0,
            }];
        });
        let answer = responder.run(&spec.frame()?)?;
        let payload = answer.get(spec.payload_at()..).context("a cut frame")?;
        let header = Header::decode(payload).context("no heartbeat")?;
        ensure!(header.kind == Kind::Reply, "not answered: {header:?}");
        let entry = payload[HEADER_LEN..].first_chunk::<LEASE_LEN>();
        let entry = LeaseEntry::decode(entry.context("no vote")?);
        if entry.vote == Vote::Granted as u8 {
            let from = header.t2.as_nanos();
            grants.push(Grant { node, from });
        }
    }
    Ok(grants)
}

#[test]
fn two_claims_on_two_cpus_at_once_are_never_both_granted() -> Result<()> {
    needs!(Kernel);
    let mut kernel = kernel::open()?;
    kernel.install(&World::new(TIMEOUT_NS))?;
    let responder = kernel.responder()?;
    let (start, begun_at) = (Barrier::new(PEERS.len()), boottime().as_nanos());
    let run = |number: usize| {
        stay_on(number)?;
        start.wait();
        contend(&responder, PEERS[number], begun_at)
    };
    let mut grants = thread::scope(|scope| -> Result<Vec<Grant>> {
        let other = scope.spawn(|| run(1));
        let mut grants = run(0)?;
        let theirs = other.join();
        grants.extend(theirs.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        Ok(grants)
    })?;
    grants.sort_unstable_by_key(|grant| grant.from);
    let pairs = || {
        grants
            .windows(2)
            .filter(|pair| pair[0].node != pair[1].node)
    };
    let both = pairs().filter(|pair| pair[1].from < pair[0].from + LEASE_NS);
    let (both, turns) = (both.count(), pairs().count());
    println!(
        "{} grants, {turns} changes of the owner, {both} leases of two nodes",
        grants.len()
    );
    ensure!(both == 0, "{both} leases were granted to both nodes");
    ensure!(turns > 100, "they hardly met: {turns} changes of the owner");
    Ok(())
}
