//! Ethernet frames with a UDP payload, built and read with `etherparse` and so independently of the
//! code under test. This module must never call the crate's own packet functions.

use std::net::IpAddr;

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, LinkExtHeader, LinkHeader,
    NetHeaders, PacketBuilder, PacketHeaders, SingleVlanHeader, TransportHeader, VlanHeader,
    VlanId,
};
use heartbeat_common::{
    siphash::SipKey,
    wire::{self, HEADER_LEN, Header, LeaseEntry},
};

use super::Endpoint;

/// A UDP datagram from one endpoint to another, ready to be put into a frame.
#[derive(Clone, Debug)]
pub(crate) struct FrameSpec {
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    /// VLAN tags, the outermost first; at most two.
    pub(crate) vlans: Vec<u16>,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

impl FrameSpec {
    /// The frame, with valid checksums.
    pub(crate) fn build(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(self.from.mac, self.to.mac);
        let ip = ip_headers(self.from.ip, self.to.ip, self.ttl);
        let ip = match *self.vlans {
            [] => ethernet.ip(ip),
            [inner] => ethernet.vlan(VlanHeader::Single(vlan(inner))).ip(ip),
            [outer, inner] => ethernet
                .double_vlan(vlan(outer).vlan_id, vlan(inner).vlan_id)
                .ip(ip),
            _ => panic!("at most two VLAN tags"),
        };
        let mut frame = Vec::new();
        ip.udp(self.source_port, self.port)
            .write(&mut frame, &self.payload)
            .expect("the payload fits into a datagram");
        frame
    }

    /// The offset of the IP header in the frame.
    pub(crate) fn ip_at(&self) -> usize {
        14 + 4 * self.vlans.len()
    }

    /// The offset of the UDP header in the frame.
    pub(crate) fn udp_at(&self) -> usize {
        self.ip_at() + if self.from.ip.is_ipv4() { 20 } else { 40 }
    }

    /// The offset of the heartbeat in the frame.
    pub(crate) fn payload_at(&self) -> usize {
        self.udp_at() + 8
    }
}

fn vlan(id: u16) -> SingleVlanHeader {
    SingleVlanHeader {
        vlan_id: VlanId::try_new(id).expect("a VLAN id has 12 bits"),
        ..SingleVlanHeader::default()
    }
}

fn ip_headers(from: IpAddr, to: IpAddr, ttl: u8) -> IpHeaders {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header {
                dont_fragment: true,
                fragment_offset: IpFragOffset::ZERO,
                time_to_live: ttl,
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
                hop_limit: ttl,
                source: from.octets(),
                destination: to.octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
        _ => panic!("one address family a frame"),
    }
}

/// A heartbeat's bytes, sealed under `key`, or with a tag of zeros as the agent sends them.
pub(crate) fn heartbeat(header: &Header, leases: &[LeaseEntry], key: Option<SipKey>) -> Vec<u8> {
    let mut payload = vec![0; wire::len(leases.len())];
    let (head, rest) = payload
        .split_first_chunk_mut::<HEADER_LEN>()
        .expect("a heartbeat begins with its header");
    header.encode(head);
    for (out, lease) in rest.chunks_exact_mut(wire::LEASE_LEN).zip(leases) {
        out.copy_from_slice(&lease.encode());
    }
    if let Some(key) = key {
        wire::seal(&mut payload, key).expect("a whole heartbeat can be sealed");
    }
    payload
}

/// The content of a frame, by an independent reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) from_mac: [u8; 6],
    pub(crate) to_mac: [u8; 6],
    /// The outermost first.
    pub(crate) vlans: Vec<u16>,
    pub(crate) from_ip: IpAddr,
    pub(crate) to_ip: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
    pub(crate) payload: Vec<u8>,
    /// Whether the IPv4 header checksum is correct; true for IPv6, which has none.
    pub(crate) ip_checksum_valid: bool,
    pub(crate) udp_checksum_valid: bool,
}

impl Seen {
    /// Reads a frame that must contain a UDP datagram.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let headers = PacketHeaders::from_ethernet_slice(frame).expect("a well-formed frame");
        let Some(LinkHeader::Ethernet2(ethernet)) = &headers.link else {
            panic!("no Ethernet header: {headers:?}");
        };
        let Some(TransportHeader::Udp(udp)) = &headers.transport else {
            panic!("no UDP header: {headers:?}");
        };
        let vlans = headers.link_exts.iter().map(|tag| match tag {
            LinkExtHeader::Vlan(vlan) => vlan.vlan_id.value(),
            LinkExtHeader::Macsec(_) => panic!("MACsec was never put there"),
        });
        let payload = headers.payload.slice();
        let (from_ip, to_ip, ttl, ip_checksum_valid, udp_checksum) = match &headers.net {
            Some(NetHeaders::Ipv4(ip, _)) => (
                IpAddr::from(ip.source),
                IpAddr::from(ip.destination),
                ip.time_to_live,
                ip.header_checksum == ip.calc_header_checksum(),
                udp.calc_checksum_ipv4(ip, payload),
            ),
            Some(NetHeaders::Ipv6(ip, _)) => (
                IpAddr::from(ip.source),
                IpAddr::from(ip.destination),
                ip.hop_limit,
                true,
                udp.calc_checksum_ipv6(ip, payload),
            ),
            other => panic!("no IP header: {other:?}"),
        };
        Self {
            from_mac: ethernet.source,
            to_mac: ethernet.destination,
            vlans: vlans.collect(),
            from_ip,
            to_ip,
            ttl,
            source_port: udp.source_port,
            port: udp.destination_port,
            payload: payload.to_vec(),
            ip_checksum_valid,
            udp_checksum_valid: Ok(udp.checksum) == udp_checksum,
        }
    }

    pub(crate) fn header(&self) -> Header {
        Header::decode(&self.payload).expect("a heartbeat")
    }

    /// The lease entries of the heartbeat.
    pub(crate) fn leases(&self) -> Vec<LeaseEntry> {
        let entries = HEADER_LEN..self.payload.len() - wire::TAG_LEN;
        let (entries, rest) = self.payload[entries].as_chunks();
        assert!(rest.is_empty(), "a part of an entry: {self:?}");
        entries.iter().map(LeaseEntry::decode).collect()
    }
}
