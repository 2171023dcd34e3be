//! Ethernet frames of all kinds that the guard knows, built with `etherparse` and so independently
//! of the code under test.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders, IpNumber,
    Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    PacketBuilder,
};

pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
pub(crate) const ETHERNET_LEN: usize = 14;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// An IP header for a payload of any protocol above IP.
fn ip(headers: IpHeaders) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, MAC)
        .ip(headers)
        .write(&mut frame, IpNumber::TCP, &[0x5a; 24])
        .expect("a frame");
    frame
}

fn v4_header(from: Ipv4Addr, to: Ipv4Addr) -> Ipv4Header {
    Ipv4Header {
        time_to_live: 64,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv4Header::default()
    }
}

fn v6_header(from: Ipv6Addr, to: Ipv6Addr) -> Ipv6Header {
    Ipv6Header {
        hop_limit: 64,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    }
}

pub(crate) fn v4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    ip(IpHeaders::Ipv4(v4_header(from, to), Default::default()))
}

pub(crate) fn v4_with(from: Ipv4Addr, to: Ipv4Addr, edit: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let mut header = v4_header(from, to);
    edit(&mut header);
    ip(IpHeaders::Ipv4(header, Default::default()))
}

pub(crate) fn options(header: &mut Ipv4Header) {
    // Four times "no operation".
    header.options = Ipv4Options::try_from(&[1_u8; 4][..]).expect("whole words");
}

pub(crate) fn last_fragment(header: &mut Ipv4Header) {
    header.fragment_offset = IpFragOffset::try_new(185).expect("13 bits");
}

pub(crate) fn v6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    v6_with(from, to, Ipv6Extensions::default())
}

pub(crate) fn v6_with(from: Ipv6Addr, to: Ipv6Addr, extensions: Ipv6Extensions) -> Vec<u8> {
    ip(IpHeaders::Ipv6(v6_header(from, to), extensions))
}

pub(crate) fn hop_by_hop() -> Ipv6Extensions {
    let header = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]);
    Ipv6Extensions {
        hop_by_hop_options: Some(header.expect("8 bytes")),
        ..Ipv6Extensions::default()
    }
}

pub(crate) fn fragment() -> Ipv6Extensions {
    let offset = IpFragOffset::try_new(185).expect("13 bits");
    Ipv6Extensions {
        fragment: Some(Ipv6FragmentHeader::new(IpNumber::TCP, offset, true, 7)),
        ..Ipv6Extensions::default()
    }
}

pub(crate) fn ndp(from: Ipv6Addr, to: Ipv6Addr, kind: u8, target: Ipv6Addr) -> Vec<u8> {
    let mut body = target.octets().to_vec();
    // Source or target link-layer address.
    body.extend([1, 1]);
    body.extend(MAC);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, MAC)
        .ip(IpHeaders::Ipv6(
            v6_header(from, to),
            Ipv6Extensions::default(),
        ))
        .icmpv6_raw(kind, 0, [0; 4])
        .write(&mut frame, &body)
        .expect("a frame");
    frame
}

pub(crate) fn arp(operation: ArpOperation, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &MAC,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, [0xff; 6])
        .arp(packet.expect("addresses of one length"))
        .write(&mut frame)
        .expect("a frame");
    frame
}

pub(crate) fn request(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(ArpOperation::REQUEST, sender, target)
}

pub(crate) fn reply(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(ArpOperation::REPLY, sender, target)
}

pub(crate) fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let bytes = tags.iter().flat_map(|tag| {
        let [a, b] = tag.to_be_bytes();
        [a, b, 0, 5]
    });
    frame.splice(12..12, bytes);
    frame
}
