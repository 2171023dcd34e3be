//! Heartbeats in Ethernet frames. The headers are built with `etherparse`, and so independently of
//! the code under test.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use heartbeat_common::{
    siphash::SipKey,
    time::Boottime,
    wire::{
        self, ClusterId, DEFAULT_PORT, HEADER_LEN, Header, Incarnation, Kind, LEASE_LEN,
        LeaseEntry, LinkId, Liveness, NodeId, Sequence, VoterSet,
    },
};

use super::world::{CLUSTER, KEY, KEY_ID, World};

/// The node whose kernel is tested.
pub const US: u16 = 1;
/// The other nodes.
pub const PEERS: [u16; 2] = [2, 3];

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const UDP_LEN: usize = 8;
/// TTL or hop limit: not the 64 that a reply must have.
const TTL: u8 = 61;

/// The address of `node` on `link`: IPv4 on link 0, IPv6 on all others.
pub fn address(node: u16, link: u8) -> IpAddr {
    let [high, low] = node.to_be_bytes();
    match link {
        0 => [10, 77, high, low].into(),
        _ => [0xfd00, 0x77, 0, link.into(), 0, 0, 0, node].into(),
    }
}

/// The Ethernet address of `node`.
pub fn mac(node: u16) -> [u8; 6] {
    let [high, low] = node.to_be_bytes();
    [0x02, 0xbe, 0xa7, 0, high, low]
}

/// A heartbeat that is still to be put into a frame.
#[derive(Clone, Debug)]
pub struct FrameSpec {
    pub from: IpAddr,
    pub to: IpAddr,
    /// Ethertype and tag of each VLAN header, the outermost first.
    pub vlans: Vec<(u16, u16)>,
    pub source_port: u16,
    pub port: u16,
    pub header: Header,
    pub leases: Vec<LeaseEntry>,
    /// Without one the tag stays zero, as the agent sends its probes.
    pub key: Option<SipKey>,
}

impl FrameSpec {
    /// A valid probe from `node` to us, sealed.
    pub fn probe(node: u16, link: u8, sequence: u64) -> Self {
        Self::new(Kind::Probe, (node, US), link, sequence)
    }

    /// A valid reply from `node` to our probe `sequence`, which left at `t1`.
    pub fn reply(world: &World, node: u16, link: u8, sequence: u64, t1: u64) -> Self {
        let mut spec = Self::new(Kind::Reply, (node, US), link, sequence);
        spec.header.incarnation = Incarnation(world.local.incarnation);
        spec.header.nonce = world.local.nonce;
        spec.header.t1 = Boottime::from_nanos(t1);
        spec.header.responder_incarnation = Incarnation(77);
        spec
    }

    /// Our own probe `sequence` to `node`, as the agent hands it to the kernel.
    pub fn departing(world: &World, node: u16, link: u8, sequence: u64) -> Self {
        let mut spec = Self::new(Kind::Probe, (US, node), link, sequence);
        spec.header.incarnation = Incarnation(world.local.incarnation);
        spec.header.nonce = world.local.nonce;
        spec.key = None;
        spec
    }

    fn new(kind: Kind, (from, to): (u16, u16), link: u8, sequence: u64) -> Self {
        Self {
            from: address(from, link),
            to: address(to, link),
            vlans: Vec::new(),
            source_port: DEFAULT_PORT,
            port: DEFAULT_PORT,
            header: Header {
                kind,
                key_id: KEY_ID,
                lease_count: 0,
                cluster: ClusterId(CLUSTER),
                source: NodeId(from),
                destination: NodeId(to),
                link: LinkId(link),
                liveness: Liveness {
                    voter_set: VoterSet {
                        version: 1,
                        claiming: 1,
                        voters: 0,
                    },
                    ..Liveness::default()
                },
                incarnation: Incarnation(5_000 + u64::from(from)),
                sequence: Sequence(sequence),
                nonce: 0xfeed,
                t1: Boottime::default(),
                t2: Boottime::default(),
                t3: Boottime::default(),
                responder_incarnation: Incarnation::default(),
            },
            leases: Vec::new(),
            key: Some(KEY),
        }
    }

    /// The same, but for what `edit` changes before it is sealed.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The heartbeat alone.
    pub fn payload(&self) -> Result<Vec<u8>> {
        let mut payload = vec![0; wire::len(self.leases.len())];
        let (head, rest) = payload
            .split_first_chunk_mut::<HEADER_LEN>()
            .context("a heartbeat is shorter than its header")?;
        Header {
            lease_count: self.leases.len() as u8,
            ..self.header
        }
        .encode(head);
        for (out, lease) in rest.chunks_exact_mut(LEASE_LEN).zip(&self.leases) {
            out.copy_from_slice(&lease.encode());
        }
        if let Some(key) = self.key {
            wire::seal(&mut payload, key)?;
        }
        Ok(payload)
    }

    /// The frame, with valid lengths and checksums.
    pub fn frame(&self) -> Result<Vec<u8>> {
        self.frame_around(&self.payload()?)
    }

    /// The frame with another payload than the heartbeat.
    pub fn frame_around(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let node = |id: NodeId| mac(id.0);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(node(self.header.source), node(self.header.destination))
            .ip(self.ip_header()?)
            .udp(self.source_port, self.port)
            .write(&mut frame, payload)?;
        let tags = self.vlans.iter().flat_map(|(ethertype, tag)| {
            let ([a, b], [c, d]) = (ethertype.to_be_bytes(), tag.to_be_bytes());
            [a, b, c, d]
        });
        let at = ETHERNET_LEN - 2;
        frame.splice(at..at, tags);
        Ok(frame)
    }

    fn ip_header(&self) -> Result<IpHeaders> {
        Ok(match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let header = Ipv4Header {
                    dont_fragment: true,
                    time_to_live: TTL,
                    protocol: IpNumber::UDP,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv4Header::default()
                };
                IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header {
                    next_header: IpNumber::UDP,
                    hop_limit: TTL,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, Default::default())
            }
            (from, to) => bail!("{from} and {to} are of two address families"),
        })
    }

    /// The offset of the IP header in the frame.
    pub fn ip_at(&self) -> usize {
        ETHERNET_LEN + VLAN_LEN * self.vlans.len()
    }

    /// The offset of the UDP header in the frame.
    pub fn udp_at(&self) -> usize {
        self.ip_at()
            + if self.from.is_ipv4() {
                Ipv4Header::MIN_LEN
            } else {
                Ipv6Header::LEN
            }
    }

    /// The offset of the heartbeat in the frame.
    pub fn payload_at(&self) -> usize {
        self.udp_at() + UDP_LEN
    }
}
