//! The guard: a node that may not serve a virtual IP neither receives nor sends packets of the
//! virtual IP.
//!
//! After a VIP's `open_until`, packets to it and from it are dropped, whether or not userspace
//! still runs. This module makes all decisions of the guard; the kernel programs add the maps and
//! the access to packets. The functions here must never drop a packet that is neither to nor from a
//! guarded address.
//!
//! ```text
//!            arriving: destination                   leaving: source
//! IPv4/IPv6  destination                             source
//! ARP        target, unless that is the sender, too  sender
//! NDP        target of a solicitation                target of an advertisement, or of a solicitation
//!                                                    from :: (duplicate address detection)
//! ```
//!
//! Gratuitous ARP and unsolicited advertisements of the new owner therefore still arrive and
//! correct this node's neighbour cache. This node remains a plain client of an address that another
//! node serves.
//!
//! The guard reads addresses in the fixed headers. Fragments, options and most extension headers do
//! not change these addresses. A source route is the exception: its final destination lies in an
//! IPv4 option or an IPv6 routing header, so a packet with such a route to a VIP passes. Hosts
//! accept no source routes by default (`accept_source_route`, `seg6_enabled`). A frame that is too
//! short to contain its addresses passes, because no network stack accepts such a frame.
//!
//! Interfaces and sockets both need a guard. A packet between two processes of one host, or from a
//! container to its host, passes no guarded interface. At a socket a packet begins with its IP
//! header. The same rules apply there, except those for ARP: no socket receives or sends ARP
//! packets through this guard.

use crate::{
    frame::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_LEN, MAX_VLANS},
    maps::Address,
    packet::Packet,
    verdict::Action,
};

const ETHERTYPE_ARP: u16 = 0x0806;
/// The protocol type IPv4, a hardware address of 6 bytes, and a protocol address of 4 bytes (RFC
/// 826).
const ARP_ETHERNET_IPV4: u32 = 0x0800_0604;
const PROTOCOL_ICMPV6: u8 = 58;
/// RFC 4861, section 4.3.
const NEIGHBOR_SOLICITATION: u8 = 135;
/// RFC 4861, section 4.4.
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// The offset of the target address in either message.
const NDP_TARGET: usize = 8;
/// First byte of an IPv6 multicast address.
const MULTICAST: u64 = 0xff;

/// The number of bytes, from the Ethernet header on, that contain every address that the guard
/// reads.
pub const HEADERS_LEN: usize =
    frame::ETHERNET_LEN + MAX_VLANS * frame::VLAN_LEN + IPV6_LEN + NDP_TARGET + 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// The guarded addresses and the clock, for the guard.
pub trait GuardTables {
    /// A reference to a [`crate::maps::GuardRow`].
    type Row: Copy;

    /// Nanoseconds of `CLOCK_BOOTTIME`.
    fn now(&mut self) -> u64;
    /// The row of `address`, if it is guarded.
    fn row(&mut self, address: &Address) -> Option<Self::Row>;
    /// The row's `open_until` at this moment.
    fn open_until(&self, row: Self::Row) -> u64;
    /// Counts one packet in the row's `dropped_in` or `dropped_out`.
    fn count_drop(&mut self, row: Self::Row, direction: Direction);
    /// Whether the packet is in the network namespace whose addresses are guarded. An interface is
    /// in one namespace, but the guard at the sockets sees the packets of all namespaces.
    fn is_here(&self) -> bool {
        true
    }
}

/// Decides about a packet that arrives.
#[inline(always)]
pub fn arriving<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    judge(addressed(packet), tables, Direction::In)
}

/// Decides about a packet that leaves.
#[inline(always)]
pub fn leaving<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    judge(spoken_for(packet), tables, Direction::Out)
}

/// Decides about a packet that a socket is about to receive. The packet begins with its IP header.
#[inline(always)]
pub fn received<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    let Some(ethertype) = version(packet) else {
        return Action::Pass;
    };
    judge(destination(packet, ethertype, 0), tables, Direction::In)
}

/// Decides about a packet that a socket sends. The packet begins with its IP header.
#[inline(always)]
pub fn sent<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    let Some(ethertype) = version(packet) else {
        return Action::Pass;
    };
    judge(source(packet, ethertype, 0), tables, Direction::Out)
}

/// The high and the low half of an [`Address`]: two instructions compare them.
type Halves = (u64, u64);

/// The one or two addresses of a packet that the guard checks. If there is only one, both are
/// equal. The compiler would copy the unset value of an `Option`, which the BPF verifier rejects.
type Addresses = [Halves; 2];

#[inline(always)]
fn judge<T: GuardTables>(
    addresses: Option<Addresses>,
    tables: &mut T,
    direction: Direction,
) -> Action {
    let Some([first, second]) = addresses else {
        return Action::Pass;
    };
    if is_closed(first, tables, direction)
        || second != first && is_closed(second, tables, direction)
    {
        Action::Drop
    } else {
        Action::Pass
    }
}

/// Whether the address is guarded and closed. If so, the function counts the packet.
#[inline(always)]
fn is_closed<T: GuardTables>((high, low): Halves, tables: &mut T, direction: Direction) -> bool {
    // The address is built from whole words: the BPF compiler would store an array of bytes byte by
    // byte.
    let address = [high.to_be(), low.to_be()];
    let Some(row) = tables.row(bytemuck::cast_ref(&address)) else {
        return false;
    };
    // The function reads the clock after the lookup of the address: traffic of other addresses must
    // not pay for the clock.
    let now = tables.now();
    let open_until = tables.open_until(row);
    // The check of the namespace comes last, because hardly any packet gets this far.
    //
    // docs/design/leases.md#rule-5: the comparison with `open_until` alone decides whether the
    // address may be served.
    let closed = now >= open_until && tables.is_here();
    if closed {
        tables.count_drop(row, direction);
    }
    closed
}

/// The addresses to which an arriving frame is sent.
#[inline(always)]
fn addressed<P: Packet>(packet: &P) -> Option<Addresses> {
    let (ethertype, at) = frame::ethertype(packet)?;
    if ethertype != ETHERTYPE_ARP {
        return destination(packet, ethertype, at);
    }
    let Arp { sender, target } = arp(packet, at)?;
    // An announcement by the owner of the address passes. If this node answers it in the name of
    // the address, the guard drops the answer on its way out.
    (sender != target).then_some([target; 2])
}

/// The addresses in whose name a leaving frame is sent.
#[inline(always)]
fn spoken_for<P: Packet>(packet: &P) -> Option<Addresses> {
    let (ethertype, at) = frame::ethertype(packet)?;
    if ethertype == ETHERTYPE_ARP {
        Some([arp(packet, at)?.sender; 2])
    } else {
        source(packet, ethertype, at)
    }
}

/// The Ethernet type of a frame that would carry this packet.
#[inline(always)]
fn version<P: Packet>(packet: &P) -> Option<u16> {
    // The function reads two bytes, because the BPF verifier learns nothing from a check for the
    // first byte alone.
    match packet.read::<u16>(0)? >> 12 {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

/// The destination addresses of the IP packet at `at`.
#[inline(always)]
fn destination<P: Packet>(packet: &P, ethertype: u16, at: usize) -> Option<Addresses> {
    match ethertype {
        ETHERTYPE_IPV4 => Some([v4(packet, at + 16)?; 2]),
        ETHERTYPE_IPV6 => {
            let destination = v6(packet, at + 24)?;
            let target = match neighbor_discovery(packet, at) {
                Some((NEIGHBOR_SOLICITATION, target)) => Some(target),
                _ => None,
            };
            // A solicitation usually goes to a multicast address, which is never a guarded one.
            if destination.0 >> 56 == MULTICAST {
                target.map(|target| [target; 2])
            } else {
                Some([destination, target.unwrap_or(destination)])
            }
        }
        _ => None,
    }
}

/// The addresses in whose name the IP packet at `at` is sent.
#[inline(always)]
fn source<P: Packet>(packet: &P, ethertype: u16, at: usize) -> Option<Addresses> {
    match ethertype {
        ETHERTYPE_IPV4 => Some([v4(packet, at + 12)?; 2]),
        ETHERTYPE_IPV6 => {
            let source = v6(packet, at + 8)?;
            match neighbor_discovery(packet, at) {
                Some((NEIGHBOR_ADVERTISEMENT, target)) => Some([source, target]),
                // A solicitation without a source address claims its target (duplicate address
                // detection). A solicitation with a source address is a client's question.
                Some((NEIGHBOR_SOLICITATION, target)) if source == (0, 0) => Some([target; 2]),
                _ => Some([source; 2]),
            }
        }
        _ => None,
    }
}

#[inline(always)]
fn v4<P: Packet>(packet: &P, at: usize) -> Option<Halves> {
    let address: u32 = packet.read(at)?;
    // The same form as in `Address::v4`.
    Some((0, 0x0000_ffff_0000_0000 | u64::from(address)))
}

#[inline(always)]
fn v6<P: Packet>(packet: &P, at: usize) -> Option<Halves> {
    Some((packet.read(at)?, packet.read(at + 8)?))
}

struct Arp {
    sender: Halves,
    target: Halves,
}

/// The ARP packet at `at`, whatever its operation: a request claims its sender's address as much as
/// a reply does.
#[inline(always)]
fn arp<P: Packet>(packet: &P, at: usize) -> Option<Arp> {
    if packet.read::<u32>(at + 2)? != ARP_ETHERNET_IPV4 {
        return None;
    }
    Some(Arp {
        sender: v4(packet, at + 14)?,
        target: v4(packet, at + 24)?,
    })
}

/// The type and the target address of the ICMPv6 message right after the IPv6 header at `at`. Only
/// solicitations and advertisements have a target there.
#[inline(always)]
fn neighbor_discovery<P: Packet>(packet: &P, at: usize) -> Option<(u8, Halves)> {
    if packet.read::<u8>(at + 6)? != PROTOCOL_ICMPV6 {
        return None;
    }
    let message = at + IPV6_LEN;
    Some((packet.read(message)?, v6(packet, message + NDP_TARGET)?))
}
