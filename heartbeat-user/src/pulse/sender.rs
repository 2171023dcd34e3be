//! Sends probes to each peer on each link, with one system call per link and frame.
//!
//! The probes leave this thread without time, liveness and tag: the TC egress program writes those.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use heartbeat_common::{
    lease::{Operation, Successor},
    maps::PeerRow,
    wire::{
        self, HEADER_LEN, Header, Incarnation, Kind, LeaseEntry, LinkId, Liveness, MAX_LEASES,
        NodeId, Sequence, offset,
    },
};
use nix::errno::Errno;

use crate::{
    config::{Config, LocalLink},
    dataplane::{PeerRows, Senders},
    net::{Netlink, ProbeBatch, ProbeSocket},
};
use heartbeat_core::{
    index::{PeerIndex, RowNumber},
    index_vec::IndexVec,
};

#[derive(Debug)]
pub(super) struct Sender {
    links: Vec<LinkSender>,
}

#[derive(Debug)]
struct LinkSender {
    /// `None` while its interface, or the address on it, is missing.
    socket: Option<ProbeSocket>,
    round: Round,
}

/// One probe to each peer on one link.
#[derive(Debug)]
pub(super) struct Round {
    batch: ProbeBatch,
    /// The row of each message's peer.
    rows: Vec<RowNumber>,
    /// The peer of each message.
    peers: Vec<NodeId>,
}

impl Round {
    /// Returns the rounds of all links, complete except for sequence numbers and lease entries.
    pub(super) fn all(config: &Config, incarnation: Incarnation, nonce: u64) -> Vec<Self> {
        let count = config.links.len();
        let of = |link: LocalLink<'_>| {
            let index = usize::from(link.id.0);
            let peers: Vec<(NodeId, SocketAddr)> = config
                .peers()
                .map(|peer| (peer.id, SocketAddr::new(peer.addresses[index], config.port)))
                .collect();
            let destinations: Vec<SocketAddr> = peers.iter().map(|(_, address)| *address).collect();
            let mut batch = ProbeBatch::new(&destinations, wire::MAX_LEN);
            for (message, (peer, _)) in peers.iter().enumerate() {
                let header = header(config, *peer, link.id, incarnation, nonce);
                if let Some(start) = batch.payload_mut(message).first_chunk_mut::<HEADER_LEN>() {
                    header.encode(start);
                }
            }
            let rows = (0..peers.len()).map(PeerIndex);
            let rows = rows.map(|peer| RowNumber::first_of(peer, count).on(link.id));
            let rows = rows.collect();
            let peers = peers.into_iter().map(|(node, _)| node).collect();
            Self { batch, rows, peers }
        };
        config.local_links().map(of).collect()
    }
}

/// The result of one round of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) errors: u64,
    pub(super) first_error: Option<nix::Error>,
}

impl Sender {
    /// Opens the sockets, registers them with `senders` and prepares all probes except for sequence
    /// numbers and lease entries. Also returns the index of the interface to which each socket is
    /// bound.
    ///
    /// A link whose socket cannot be opened is left without one. An error is returned only if no
    /// socket could be opened.
    pub(super) fn open(
        config: &Config,
        incarnation: Incarnation,
        nonce: u64,
        senders: &mut Senders,
    ) -> Result<(Self, IndexVec<LinkId, Option<u32>>)> {
        let mut netlink = Netlink::open()?;
        let mut open = |link: LocalLink<'_>| {
            let index = netlink.interface(link.interface)?.index;
            let socket = ProbeSocket::open(link.address, config.port, index)
                .with_context(|| format!("could not open the socket of link {}", link.id.0))?;
            senders.register(link.id, &socket)?;
            anyhow::Ok((index, socket))
        };
        let opened: Vec<Result<_>> = config.local_links().map(&mut open).collect();
        let none = opened.iter().all(Result::is_err);
        let sockets = opened.into_iter().map(|opened| match opened {
            Err(error) if !none => {
                log::error!("{error:#}; going on with the other links");
                Ok(None)
            }
            opened => opened.map(Some),
        });
        let sockets: Vec<_> = sockets.collect::<Result<_>>()?;
        let bound = sockets.iter().map(|socket| Some(socket.as_ref()?.0));
        let bound = bound.collect();
        let rounds = Round::all(config, incarnation, nonce).into_iter();
        let links = rounds.zip(sockets).map(|(round, socket)| LinkSender {
            socket: socket.map(|(_, socket)| socket),
            round,
        });
        let sender = Self {
            links: links.collect(),
        };
        Ok((sender, bound))
    }

    /// Sends to these peers from now on, with the same sockets.
    pub(super) fn turn_to(&mut self, rounds: Vec<Round>) {
        for (link, round) in self.links.iter_mut().zip(rounds) {
            link.round = round;
        }
    }

    /// Uses another socket for a link from now on.
    pub(super) fn rebind(&mut self, link: LinkId, socket: ProbeSocket) {
        if let Some(link) = self.links.get_mut(usize::from(link.0)) {
            link.socket = Some(socket);
        }
    }

    /// Sends to every peer: one probe for each [`MAX_LEASES`] of `entries`, and one if there are
    /// none.
    ///
    /// Sequence numbers follow the probes that really left, so that a probe which the network stack
    /// refused leaves no gap.
    pub(super) fn send(&mut self, rows: &PeerRows, entries: &[LeaseEntry]) -> Sent {
        let mut sent = Sent::default();
        let (first, rest) = entries.split_at(entries.len().min(MAX_LEASES));
        for entries in std::iter::once(first).chain(rest.chunks(MAX_LEASES)) {
            for link in &mut self.links {
                link.send(rows, entries, &mut sent);
            }
        }
        sent
    }
}

impl LinkSender {
    fn send(&mut self, rows: &PeerRows, entries: &[LeaseEntry], sent: &mut Sent) {
        let Round {
            batch,
            rows: numbers,
            peers,
        } = &mut self.round;
        let Some(socket) = &self.socket else {
            sent.errors += numbers.len() as u64;
            sent.first_error = sent.first_error.or(Some(Errno::ENODEV));
            return;
        };
        batch.set_len(wire::len(entries.len()));
        batch.put_last(|message| is_successor(peers[message], entries));
        for (message, row) in numbers.iter().enumerate() {
            let sequence = next(&rows.row(*row)).unwrap_or_else(|| {
                sent.errors += 1;
                sent.first_error.get_or_insert(Errno::EOVERFLOW);
                Sequence::default()
            });
            let payload = batch.payload_mut(message);
            payload[offset::SEQUENCE..][..8].copy_from_slice(&sequence.0.to_be_bytes());
            payload[offset::LEASE_COUNT] = entries.len() as u8;
            LeaseEntry::write_all(entries, payload);
        }
        let report = batch.send(socket);
        sent.errors += report.failed as u64;
        sent.first_error = sent
            .first_error
            .or(report.first_error.map(|(_, error)| error));
    }
}

/// Returns whether one of `entries` releases a lease to `node`. The successor requests the lease as
/// soon as it receives the release, so the acceptors must receive the release first.
fn is_successor(node: NodeId, entries: &[LeaseEntry]) -> bool {
    let mut released = entries
        .iter()
        .filter(|entry| entry.operation == Operation::Release as u8);
    released.any(|entry| Successor(entry.micros).node() == node)
}

/// Returns the sequence number of the next probe by this row. `None` means that all are spent: the
/// probe then has the number 0, and does not leave.
fn next(row: &PeerRow) -> Option<Sequence> {
    row.last_probe_seq.checked_add(1).map(Sequence)
}

fn header(
    config: &Config,
    peer: NodeId,
    link: LinkId,
    incarnation: Incarnation,
    nonce: u64,
) -> Header {
    Header {
        kind: Kind::Probe,
        key_id: 0,
        lease_count: 0,
        cluster: config.cluster_id,
        source: config.local().id,
        destination: peer,
        link,
        liveness: Liveness::default(),
        incarnation,
        sequence: Sequence::default(),
        nonce,
        t1: Default::default(),
        t2: Default::default(),
        t3: Default::default(),
        responder_incarnation: Incarnation::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_sequence_is_reported_and_does_not_restart() {
        let next = |last_probe_seq| {
            next(&PeerRow {
                last_probe_seq,
                ..PeerRow::default()
            })
        };
        assert_eq!(next(0), Some(Sequence(1)));
        assert_eq!(next(u64::MAX - 1), Some(Sequence(u64::MAX)));
        assert_eq!(next(u64::MAX), None);
    }
}
