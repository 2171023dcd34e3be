//! Sends one probe to each peer on each link, one system call a link.
//!
//! The probes leave here without time, liveness and tag: the TC egress program writes those.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use heartbeat_common::{
    maps::PeerRow,
    wire::{
        self, HEADER_LEN, Header, Incarnation, Kind, LinkId, Liveness, NodeId, Sequence, offset,
    },
};
use heartbeat_core::Rows;

use crate::{
    config::Config,
    net::{Netlink, ProbeBatch, ProbeSocket},
};

/// Bytes of a probe without lease entries.
const PROBE_LEN: usize = wire::len(0);

#[derive(Debug)]
pub(super) struct Sender {
    links: Vec<LinkSender>,
}

#[derive(Debug)]
struct LinkSender {
    socket: ProbeSocket,
    batch: ProbeBatch,
    /// Row of each message's peer.
    rows: Vec<usize>,
}

/// What came of one round of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) errors: u64,
    pub(super) first_error: Option<nix::Error>,
}

impl Sender {
    /// Opens the sockets and prepares all probes but for their sequence.
    pub(super) fn open(config: &Config, incarnation: Incarnation, nonce: u64) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let count = config.links.len();
        let links = config.local_links().map(|link| {
            let interface = netlink.interface(link.interface)?;
            let socket = ProbeSocket::open(link.address, config.port, interface.index)
                .with_context(|| format!("could not open the socket of link {}", link.id.0))?;
            let index = usize::from(link.id.0);
            let peers: Vec<(NodeId, SocketAddr)> = config
                .peers()
                .map(|peer| (peer.id, SocketAddr::new(peer.addresses[index], config.port)))
                .collect();
            let destinations: Vec<SocketAddr> = peers.iter().map(|(_, address)| *address).collect();
            let mut batch = ProbeBatch::new(&destinations, PROBE_LEN);
            for (message, (peer, _)) in peers.iter().enumerate() {
                let header = header(config, *peer, link.id, incarnation, nonce);
                if let Some(start) = batch.payload_mut(message).first_chunk_mut::<HEADER_LEN>() {
                    header.encode(start);
                }
            }
            let rows = (0..peers.len()).map(|peer| peer * count + index).collect();
            Ok(LinkSender {
                socket,
                batch,
                rows,
            })
        });
        Ok(Self {
            links: links.collect::<Result<_>>()?,
        })
    }

    /// Sends to everybody. Sequences follow those that really left, so that a probe which the
    /// network stack refused leaves no gap.
    pub(super) fn send(&mut self, rows: &impl Rows) -> Sent {
        let mut sent = Sent::default();
        for link in &mut self.links {
            for (message, row) in link.rows.iter().enumerate() {
                let PeerRow { last_probe_seq, .. } = rows.row(*row);
                let sequence = Sequence(last_probe_seq + 1);
                link.batch.payload_mut(message)[offset::SEQUENCE..offset::SEQUENCE + 8]
                    .copy_from_slice(&sequence.0.to_be_bytes());
            }
            let report = link.batch.send(&link.socket);
            sent.errors += report.failed as u64;
            sent.first_error = sent
                .first_error
                .or(report.first_error.map(|(_, error)| error));
        }
        sent
    }
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
