//! The frames that announce the location of an address to neighbours. Pure functions of address and
//! MAC.

use heartbeat_common::checksum::InternetSum;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) type Mac = [u8; 6];

pub(super) const ARP_LEN: usize = 42;
/// Length of a Neighbor Advertisement, and also of a solicitation.
pub(super) const NEIGHBOR_ADVERTISEMENT_LEN: usize = 86;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Offset of the sender's protocol address in an ARP packet.
const SENDER_ADDRESS: std::ops::Range<usize> = 28..32;
const ICMPV6: u8 = 58;

/// The two forms of a gratuitous ARP: some hosts heed only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arp {
    /// RFC 5227, section 2.3: the target's hardware address is zero.
    Request,
    /// RFC 5944, section 4.6: the target's hardware address is the sender's.
    Reply,
}

/// A gratuitous ARP packet, which announces to all hosts on the link that `address` is at `mac`.
pub(super) fn gratuitous_arp(form: Arp, address: Ipv4Addr, mac: Mac) -> [u8; ARP_LEN] {
    let (operation, target_mac) = match form {
        Arp::Request => (1u16, [0; 6]),
        Arp::Reply => (2u16, mac),
    };
    let mut frame = Writer::<ARP_LEN>::new();
    frame.ethernet(BROADCAST, mac, 0x0806);
    // The types Ethernet and IPv4, and the lengths of their addresses.
    frame.put(&[0, 1, 0x08, 0, 6, 4]);
    frame.put(&operation.to_be_bytes());
    frame.put(&mac);
    frame.put(&address.octets());
    frame.put(&target_mac);
    frame.put(&address.octets());
    frame.done()
}

/// An unsolicited Neighbor Advertisement (RFC 4861, sections 4.4 and 7.2.6), which announces to all
/// nodes on the link that `address` is at `mac`. The message overrides cache entries.
///
/// The Router flag is clear: the address is served as a host's.
pub(super) fn neighbor_advertisement(
    address: Ipv6Addr,
    mac: Mac,
) -> [u8; NEIGHBOR_ADVERTISEMENT_LEN] {
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let mut message = Writer::<32>::new();
    message.put(&[136, 0, 0, 0, OVERRIDE, 0, 0, 0]);
    message.put(&address.octets());
    message.put(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    message.put(&mac);
    neighbor_message(message.done(), (address, ALL_NODES), mac)
}

/// A message of Neighbor Discovery to a multicast group.
fn neighbor_message(
    mut message: [u8; 32],
    (source, group): (Ipv6Addr, Ipv6Addr),
    mac: Mac,
) -> [u8; NEIGHBOR_ADVERTISEMENT_LEN] {
    let checksum = icmpv6_checksum(source, group, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    // The multicast address by RFC 2464, section 7.
    let [.., a, b, c, d] = group.octets();

    let mut frame = Writer::<NEIGHBOR_ADVERTISEMENT_LEN>::new();
    frame.ethernet([0x33, 0x33, a, b, c, d], mac, 0x86dd);
    frame.put(&[0x60, 0, 0, 0]);
    frame.put(&(message.len() as u16).to_be_bytes());
    // The hop limit proves that no router forwarded the packet.
    frame.put(&[ICMPV6, 255]);
    frame.put(&source.octets());
    frame.put(&group.octets());
    frame.put(&message);
    frame.done()
}

/// An ARP probe (RFC 5227, section 2.1.1), which asks for the owner of `address`. The probe names
/// no sender, so that no neighbour's cache changes.
pub(super) fn arp_probe(address: Ipv4Addr, mac: Mac) -> [u8; ARP_LEN] {
    let mut frame = gratuitous_arp(Arp::Request, address, mac);
    frame[SENDER_ADDRESS].fill(0);
    frame
}

/// A Neighbor Solicitation (RFC 4861, section 4.3) from the node's own `source`, which asks for the
/// owner of `address`. The answer goes to `source` alone, so that no other neighbour's cache
/// changes.
pub(super) fn neighbor_solicitation(
    address: Ipv6Addr,
    source: Ipv6Addr,
    mac: Mac,
) -> [u8; NEIGHBOR_ADVERTISEMENT_LEN] {
    const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
    let [.., x, y, z] = address.octets();
    let [high, low] = [u16::from(x), u16::from_be_bytes([y, z])];
    // The solicited-node address, RFC 4291, section 2.7.1.
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high, low);
    let mut message = Writer::<32>::new();
    message.put(&[135, 0, 0, 0, 0, 0, 0, 0]);
    message.put(&address.octets());
    message.put(&[SOURCE_LINK_LAYER_ADDRESS, 1]);
    message.put(&mac);
    neighbor_message(message.done(), (source, group), mac)
}

/// The checksum by RFC 4443, section 2.3, of a message whose checksum field is zero.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8; 32]) -> u16 {
    let mut sum = InternetSum::new();
    let (words, _) = message.as_chunks::<8>();
    for bytes in [source.octets(), destination.octets()] {
        let (halves, _) = bytes.as_chunks::<8>();
        halves
            .iter()
            .for_each(|half| sum.add64(u64::from_be_bytes(*half)));
    }
    sum.add32(message.len() as u32);
    sum.add16(ICMPV6.into());
    words
        .iter()
        .for_each(|word| sum.add64(u64::from_be_bytes(*word)));
    sum.finish()
}

/// Fills an array from front to back. A write past its end is a bug in this file, and panics.
struct Writer<const LEN: usize> {
    bytes: [u8; LEN],
    at: usize,
}

impl<const LEN: usize> Writer<LEN> {
    fn new() -> Self {
        Self {
            bytes: [0; LEN],
            at: 0,
        }
    }

    fn ethernet(&mut self, destination: Mac, source: Mac, ethertype: u16) {
        self.put(&destination);
        self.put(&source);
        self.put(&ethertype.to_be_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn done(self) -> [u8; LEN] {
        debug_assert_eq!(self.at, LEN);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{
        ArpHardwareId, ArpOperation, EtherType, Icmpv6Slice, IpNumber, Ipv6HeaderSlice, NetSlice,
        SlicedPacket,
    };

    const MAC: Mac = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];

    #[test]
    fn both_arp_forms_read_as_meant() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        for (form, operation, target) in [
            (Arp::Request, ArpOperation::REQUEST, [0; 6]),
            (Arp::Reply, ArpOperation::REPLY, MAC),
        ] {
            let frame = gratuitous_arp(form, address, MAC);
            assert_eq!(frame[..12], [&[0xff; 6][..], &MAC].concat());
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Arp(arp)) = packet.net else {
                panic!("not ARP: {packet:?}")
            };
            assert_eq!(arp.hw_addr_type(), ArpHardwareId::ETHERNET);
            assert_eq!(arp.proto_addr_type(), EtherType::IPV4);
            assert_eq!(arp.operation(), operation);
            assert_eq!(arp.sender_hw_addr(), MAC);
            assert_eq!(arp.sender_protocol_addr(), address.octets());
            assert_eq!(arp.target_hw_addr(), target);
            assert_eq!(arp.target_protocol_addr(), address.octets());
        }
    }

    #[test]
    fn advertisement_reads_as_meant_and_its_checksum_holds() {
        for address in [
            "fd00::100",
            "fe80::1:2:3",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            let frame = neighbor_advertisement(address, MAC);
            assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
            assert_eq!(frame[6..12], MAC);
            assert_eq!(frame[12..14], [0x86, 0xdd]);
            let ip = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
            assert_eq!(ip.hop_limit(), 255);
            assert_eq!(ip.next_header(), IpNumber::IPV6_ICMP);
            assert_eq!(ip.payload_length(), 32);
            assert_eq!(ip.source_addr(), address);
            assert_eq!(
                ip.destination_addr(),
                "ff02::1".parse::<Ipv6Addr>().unwrap()
            );
            let icmp = Icmpv6Slice::from_slice(&frame[54..]).unwrap();
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (136, 0));
            assert_eq!(
                icmp.bytes5to8(),
                [0x20, 0, 0, 0],
                "override, and nothing else"
            );
            assert!(icmp.is_checksum_valid(ip.source(), ip.destination()));
            assert_eq!(frame[62..78], address.octets());
            assert_eq!(frame[78..], [&[2, 1][..], &MAC].concat());
        }
    }

    #[test]
    fn probe_asks_from_nobody() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        let frame = arp_probe(address, MAC);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Arp(arp)) = packet.net else {
            panic!("not ARP: {packet:?}")
        };
        assert_eq!(arp.operation(), ArpOperation::REQUEST);
        assert_eq!(arp.sender_hw_addr(), MAC);
        assert_eq!(arp.sender_protocol_addr(), [0; 4]);
        assert_eq!(arp.target_protocol_addr(), address.octets());
    }

    #[test]
    fn solicitation_asks_the_solicited_node_and_its_checksum_holds() {
        let address: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        let source: Ipv6Addr = "fe80::1:2:3".parse().unwrap();
        let frame = neighbor_solicitation(address, source, MAC);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let ip = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert_eq!((ip.hop_limit(), ip.source_addr()), (255, source));
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(ip.destination_addr(), group);
        let icmp = Icmpv6Slice::from_slice(&frame[54..]).unwrap();
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (135, 0));
        assert!(icmp.is_checksum_valid(ip.source(), ip.destination()));
        assert_eq!(frame[62..78], address.octets());
        assert_eq!(frame[78..], [&[1, 1][..], &MAC].concat());
    }
}
