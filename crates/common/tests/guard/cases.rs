//! The guard's action on each kind of frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use heartbeat_common::guard::Direction;

use super::frames::{
    ADVERTISEMENT, SOLICITATION, fragment, hop_by_hop, last_fragment, ndp, options, reply, request,
    v4, v4_with, v6, v6_with,
};

pub(crate) const VIP4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
/// A second guarded address.
pub(crate) const SECOND6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x101);
/// An address of this node, or of another, that is not guarded.
pub(crate) const US4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const US6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const CLIENT4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);
pub(crate) const NOBODY4: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
pub(crate) const NOBODY6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// The solicited-node multicast address of [`VIP6`] (RFC 4291, section 2.7.1).
pub(crate) const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(crate) fn all_vips() -> [IpAddr; 3] {
    [VIP4.into(), VIP6.into(), SECOND6.into()]
}

/// The VLAN tags of a frame, the outermost first.
pub(crate) const TAGS: [&[u16]; 3] = [&[], &[0x8100], &[0x88a8, 0x8100]];

/// A frame, and its expected fate while all VIPs are closed.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) direction: Direction,
    pub(crate) frame: Vec<u8>,
    /// The address for which it is dropped and counted, and the number of bytes behind Ethernet
    /// header and tags that the decision needs. `None` if it passes.
    pub(crate) dropped: Option<(IpAddr, usize)>,
}

/// The ends of the addresses in their headers.
mod end {
    pub(super) const V4_SOURCE: usize = 16;
    pub(super) const V4_DESTINATION: usize = 20;
    pub(super) const V6_SOURCE: usize = 24;
    pub(super) const V6_DESTINATION: usize = 40;
    pub(super) const NDP_TARGET: usize = 64;
    pub(super) const ARP: usize = 28;
}

fn arriving() -> Vec<Case> {
    use end::{ARP, NDP_TARGET, V4_DESTINATION, V6_DESTINATION};
    let dropped = |name, frame, address: IpAddr, needed| Case {
        name,
        direction: Direction::In,
        frame,
        dropped: Some((address, needed)),
    };
    let v4_dropped = |name, frame| dropped(name, frame, VIP4.into(), V4_DESTINATION);
    let v6_dropped = |name, frame| dropped(name, frame, VIP6.into(), V6_DESTINATION);
    let passes = |name, frame| Case {
        name,
        direction: Direction::In,
        frame,
        dropped: None,
    };
    vec![
        v4_dropped("IPv4 to a VIP", v4(CLIENT4, VIP4)),
        v4_dropped("IPv4 with options", v4_with(CLIENT4, VIP4, options)),
        v4_dropped(
            "a first fragment",
            v4_with(CLIENT4, VIP4, |h| h.more_fragments = true),
        ),
        v4_dropped("a last fragment", v4_with(CLIENT4, VIP4, last_fragment)),
        v4_dropped("IPv4 from the VIP to itself", v4(VIP4, VIP4)),
        v6_dropped("IPv6 to a VIP", v6(CLIENT6, VIP6)),
        v6_dropped(
            "IPv6 with a hop-by-hop header",
            v6_with(CLIENT6, VIP6, hop_by_hop()),
        ),
        v6_dropped("an IPv6 fragment", v6_with(CLIENT6, VIP6, fragment())),
        dropped(
            "a request for a VIP",
            request(CLIENT4, VIP4),
            VIP4.into(),
            ARP,
        ),
        dropped(
            "an ARP probe for a VIP",
            request(NOBODY4, VIP4),
            VIP4.into(),
            ARP,
        ),
        dropped(
            "an ARP reply to a VIP",
            reply(CLIENT4, VIP4),
            VIP4.into(),
            ARP,
        ),
        dropped(
            "a solicitation to the solicited-node address",
            ndp(CLIENT6, SOLICITED, SOLICITATION, VIP6),
            VIP6.into(),
            NDP_TARGET,
        ),
        dropped(
            "a solicitation by one who checks for duplicates",
            ndp(NOBODY6, SOLICITED, SOLICITATION, VIP6),
            VIP6.into(),
            NDP_TARGET,
        ),
        v6_dropped(
            "a solicitation to the VIP itself",
            ndp(CLIENT6, VIP6, SOLICITATION, VIP6),
        ),
        v6_dropped(
            "an advertisement to a VIP",
            ndp(CLIENT6, VIP6, ADVERTISEMENT, CLIENT6),
        ),
        dropped(
            "a solicitation for a VIP to another address of ours",
            ndp(CLIENT6, US6, SOLICITATION, VIP6),
            VIP6.into(),
            NDP_TARGET,
        ),
        v6_dropped(
            "a solicitation for one VIP to another",
            ndp(CLIENT6, VIP6, SOLICITATION, SECOND6),
        ),
        passes("IPv4 to us", v4(CLIENT4, US4)),
        passes("IPv4 from a VIP that is served elsewhere", v4(VIP4, US4)),
        passes("IPv6 to us", v6(CLIENT6, US6)),
        passes("IPv6 from a VIP that is served elsewhere", v6(VIP6, US6)),
        passes("IPv6 to all nodes", v6(VIP6, ALL_NODES)),
        passes("a request for us", request(CLIENT4, US4)),
        passes("a request for us by a VIP", request(VIP4, US4)),
        passes("a VIP's reply to us", reply(VIP4, US4)),
        passes("a gratuitous request", request(VIP4, VIP4)),
        passes("a gratuitous reply", reply(VIP4, VIP4)),
        passes(
            "an unsolicited advertisement",
            ndp(VIP6, ALL_NODES, ADVERTISEMENT, VIP6),
        ),
        passes(
            "a VIP's advertisement to us",
            ndp(VIP6, US6, ADVERTISEMENT, VIP6),
        ),
        passes(
            "a solicitation for us",
            ndp(CLIENT6, SOLICITED, SOLICITATION, US6),
        ),
        passes("a solicitation by a VIP", ndp(VIP6, US6, SOLICITATION, US6)),
        passes(
            "an echo request to all nodes",
            ndp(CLIENT6, ALL_NODES, 128, VIP6),
        ),
    ]
}

fn leaving() -> Vec<Case> {
    use end::{ARP, NDP_TARGET, V4_SOURCE, V6_SOURCE};
    let dropped = |name, frame, address: IpAddr, needed| Case {
        name,
        direction: Direction::Out,
        frame,
        dropped: Some((address, needed)),
    };
    let v4_dropped = |name, frame| dropped(name, frame, VIP4.into(), V4_SOURCE);
    let v6_dropped = |name, frame| dropped(name, frame, VIP6.into(), V6_SOURCE);
    let passes = |name, frame| Case {
        name,
        direction: Direction::Out,
        frame,
        dropped: None,
    };
    vec![
        v4_dropped("IPv4 from a VIP", v4(VIP4, CLIENT4)),
        v4_dropped("IPv4 with options", v4_with(VIP4, CLIENT4, options)),
        v4_dropped(
            "a first fragment",
            v4_with(VIP4, CLIENT4, |h| h.more_fragments = true),
        ),
        v4_dropped("a last fragment", v4_with(VIP4, CLIENT4, last_fragment)),
        v6_dropped("IPv6 from a VIP", v6(VIP6, CLIENT6)),
        v6_dropped(
            "IPv6 with a hop-by-hop header",
            v6_with(VIP6, CLIENT6, hop_by_hop()),
        ),
        v6_dropped("an IPv6 fragment", v6_with(VIP6, CLIENT6, fragment())),
        dropped("a VIP's reply", reply(VIP4, CLIENT4), VIP4.into(), ARP),
        dropped("a VIP's request", request(VIP4, CLIENT4), VIP4.into(), ARP),
        dropped(
            "a gratuitous request",
            request(VIP4, VIP4),
            VIP4.into(),
            ARP,
        ),
        dropped("a gratuitous reply", reply(VIP4, VIP4), VIP4.into(), ARP),
        v6_dropped(
            "a VIP's advertisement",
            ndp(VIP6, CLIENT6, ADVERTISEMENT, VIP6),
        ),
        dropped(
            "an advertisement of a VIP from another address of ours",
            ndp(US6, ALL_NODES, ADVERTISEMENT, VIP6),
            VIP6.into(),
            NDP_TARGET,
        ),
        v6_dropped(
            "an advertisement of one VIP from another",
            ndp(VIP6, ALL_NODES, ADVERTISEMENT, SECOND6),
        ),
        dropped(
            "duplicate address detection",
            ndp(NOBODY6, SOLICITED, SOLICITATION, VIP6),
            VIP6.into(),
            NDP_TARGET,
        ),
        v6_dropped(
            "a solicitation by a VIP",
            ndp(VIP6, SOLICITED, SOLICITATION, CLIENT6),
        ),
        v6_dropped(
            "a solicitation by a VIP for itself",
            ndp(VIP6, SOLICITED, SOLICITATION, VIP6),
        ),
        passes("IPv4 from us", v4(US4, CLIENT4)),
        passes("IPv4 to a VIP that is served elsewhere", v4(US4, VIP4)),
        passes("IPv6 from us", v6(US6, CLIENT6)),
        passes("IPv6 to a VIP that is served elsewhere", v6(US6, VIP6)),
        passes("our request for a VIP", request(US4, VIP4)),
        passes("our reply to a VIP", reply(US4, VIP4)),
        passes("our check for duplicates of a VIP", request(NOBODY4, VIP4)),
        passes(
            "our solicitation for a VIP",
            ndp(US6, SOLICITED, SOLICITATION, VIP6),
        ),
        passes(
            "our advertisement to a VIP",
            ndp(US6, VIP6, ADVERTISEMENT, US6),
        ),
        passes(
            "duplicate address detection for ourselves",
            ndp(NOBODY6, SOLICITED, SOLICITATION, US6),
        ),
        passes("an echo request to a VIP", ndp(US6, VIP6, 128, VIP6)),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    arriving().into_iter().chain(leaving()).collect()
}
