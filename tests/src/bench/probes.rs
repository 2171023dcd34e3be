//! Real probes, sent as the agent sends them: the TC stamp completes and seals each one.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use heartbeat_common::{
    index::RowNumber,
    maps::PeerRow,
    time::Boottime,
    wire::{
        self, HEADER_LEN, Header, Incarnation, Kind, LeaseEntry, LinkId, Liveness, NodeId,
        Sequence, VoterSet, offset,
    },
};
use heartbeat_user::{
    dataplane::{OwnVote, PeerRows},
    net::{ProbeBatch, ProbeSocket},
};

use super::pair::{
    CLUSTER, FAR, FAR_ADDRESS, INTERFACE, KEY_ID, LINK, NEAR, NEAR_ADDRESS, PORT, Pair,
};
use crate::sys::boottime;

/// Bytes of a probe without lease entries, and of every other datagram that is compared with it.
pub(super) const PROBE_LEN: usize = wire::len(0);

/// Probes that [`Prober::send_many`] sends.
pub(super) const MANY: usize = 64;

/// Sends probes from the near node to the far one.
#[derive(Debug)]
pub(super) struct Prober {
    socket: ProbeSocket,
    one: ProbeBatch,
    many: ProbeBatch,
    rows: PeerRows,
    incarnation: Incarnation,
    nonce: u64,
}

impl Prober {
    /// Becomes the near node's agent, as far as its kernel is concerned: one prober at a time.
    pub(super) fn start(pair: &Pair) -> Result<Self> {
        let plane = pair.near_plane();
        let now = boottime();
        // Later than any before it: the far kernel takes a new incarnation's sequence from 1 on.
        let incarnation = Incarnation(now.as_nanos());
        let nonce = now.as_nanos().rotate_left(32);
        let index = pair.near.index(INTERFACE)?;
        let socket = pair
            .near
            .enter(|| ProbeSocket::open(NEAR_ADDRESS, PORT, index))?;
        plane.senders()?.register(LINK, &socket)?;
        let header = header(Kind::Probe, NEAR, FAR, incarnation, nonce);
        let batch = |count| {
            let destinations = vec![SocketAddr::new(FAR_ADDRESS, PORT); count];
            let mut batch = ProbeBatch::new(&destinations, wire::MAX_LEN);
            for message in 0..count {
                fill(batch.payload_mut(message), &header);
            }
            batch.set_len(PROBE_LEN);
            batch
        };
        plane
            .local()?
            .introduce(incarnation, nonce, KEY_ID, 1, VOTER_SET, now);
        Ok(Self {
            socket,
            one: batch(1),
            many: batch(MANY),
            rows: plane.peer_rows()?,
            incarnation,
            nonce,
        })
    }

    /// The near node's own acceptor, to be asked by this agent.
    pub(super) fn own_vote(&self, pair: &Pair) -> Result<OwnVote> {
        let near = pair.near_plane();
        let mut own = near.own_vote(pair.key(), self.incarnation, self.nonce)?;
        own.claim_by(VOTER_SET.claiming);
        Ok(own)
    }

    /// From here on all probes carry `entries`, of which no more than fit.
    pub(super) fn carry(&mut self, entries: &[LeaseEntry]) {
        carry(&mut self.one, entries);
        carry(&mut self.many, entries);
    }

    /// Sends one probe with `entries` and returns its sequence.
    pub(super) fn ask(&mut self, entries: &[LeaseEntry]) -> Result<u64> {
        carry(&mut self.one, entries);
        self.send_one()
    }

    /// Sends one probe and returns its sequence.
    pub(super) fn send_one(&mut self) -> Result<u64> {
        send(&mut self.one, &self.socket, &self.rows)
    }

    /// Sends [`MANY`] probes at once.
    pub(super) fn send_many(&mut self) -> Result<()> {
        send(&mut self.many, &self.socket, &self.rows).map(drop)
    }

    pub(super) fn row(&self) -> PeerRow {
        self.rows.row(RowNumber(0))
    }
}

fn carry(batch: &mut ProbeBatch, entries: &[LeaseEntry]) {
    batch.set_len(wire::len(entries.len()));
    for message in 0..batch.len() {
        let payload = batch.payload_mut(message);
        payload[offset::LEASE_COUNT] = entries.len() as u8;
        LeaseEntry::write_all(entries, payload);
    }
}

/// Sends a batch, in sequence after the last probe that left, and returns its last sequence.
fn send(batch: &mut ProbeBatch, socket: &ProbeSocket, rows: &PeerRows) -> Result<u64> {
    let mut sequence = rows.row(RowNumber(0)).last_probe_seq;
    for message in 0..batch.len() {
        sequence += 1;
        batch.payload_mut(message)[offset::SEQUENCE..offset::SEQUENCE + 8]
            .copy_from_slice(&sequence.to_be_bytes());
    }
    if let Some((_, error)) = batch.send(socket).first_error {
        return Err(error).context("a probe could not be sent");
    }
    // Stamped by TC within the system call: there is nothing to wait for.
    let left = rows.row(RowNumber(0)).last_probe_seq;
    if left != sequence {
        bail!("probe {sequence} did not pass the TC stamp: the last that did is {left}");
    }
    Ok(sequence)
}

/// Of all nodes here, whose list never changes.
pub(super) const VOTER_SET: VoterSet = VoterSet {
    version: 1,
    claiming: 1,
    voters: 0,
};

/// A header from `source` to `destination`, as the agent would hand it to the kernel.
pub(super) fn header(
    kind: Kind,
    source: NodeId,
    destination: NodeId,
    incarnation: Incarnation,
    nonce: u64,
) -> Header {
    Header {
        kind,
        key_id: KEY_ID,
        lease_count: 0,
        cluster: CLUSTER,
        source,
        destination,
        link: LinkId(LINK.0),
        liveness: Liveness {
            voter_set: VOTER_SET,
            ..Liveness::default()
        },
        incarnation,
        sequence: Sequence(1),
        nonce,
        t1: Boottime::default(),
        t2: Boottime::default(),
        t3: Boottime::default(),
        responder_incarnation: Incarnation::default(),
    }
}

/// Writes `header` to the start of `payload`; the tag stays as it is.
pub(super) fn fill(payload: &mut [u8], header: &Header) {
    if let Some(start) = payload.first_chunk_mut::<HEADER_LEN>() {
        header.encode(start);
    }
}
