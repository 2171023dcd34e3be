//! The guard: a node that may not serve a virtual IP neither hears nor speaks for it.
//!
//! Past a VIP's `open_until` the packets to it and from it are dropped, whatever userspace does or has
//! stopped doing. This is the whole of the guard but for the maps; it must never drop a packet that is
//! neither to nor from a guarded address.
//!
//! ```text
//!            arriving: whom it is for                leaving: whom it speaks for
//! IPv4/IPv6  destination                             source
//! ARP        target, unless that is the sender, too  sender
//! NDP        target of a solicitation                target of an advertisement, or of a solicitation
//!                                                    from nobody (duplicate address detection)
//! ```
//!
//! So the new owner's gratuitous ARP and unsolicited advertisements still come in and correct our own
//! neighbour cache, and we remain a plain client of an address that is served elsewhere.
//!
//! Addresses lie in the fixed headers, which fragments, options and most extension headers leave alone. A
//! source route does not: its final destination lies in an IPv4 option or an IPv6 routing header, so a
//! packet that is routed to a VIP that way passes. Hosts take none by default (`accept_source_route`,
//! `seg6_enabled`). A frame cut before the end of its addresses passes; no network stack takes it.
//!
//! Interfaces are one place to look, sockets are the other: a packet between two processes of one
//! host, or from a container to its host, passes no guarded interface. At a socket a packet begins
//! with its IP header, and the same rules apply without ARP, whose packets have no socket.

use crate::{
    frame::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_LEN, MAX_VLANS},
    maps::Address,
    packet::Packet,
    verdict::Action,
};

const ETHERTYPE_ARP: u16 = 0x0806;
/// Protocol type IPv4, 6 bytes of hardware address, 4 of protocol address (RFC 826).
const ARP_ETHERNET_IPV4: u32 = 0x0800_0604;
const PROTOCOL_ICMPV6: u8 = 58;
/// RFC 4861, section 4.3.
const NEIGHBOR_SOLICITATION: u8 = 135;
/// RFC 4861, section 4.4.
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// In either of them: where the target address is.
const NDP_TARGET: usize = 8;
/// First byte of an IPv6 multicast address.
const MULTICAST: u64 = 0xff;

/// Bytes from the Ethernet header on that hold every address the guard looks at.
pub const HEADERS_LEN: usize =
    frame::ETHERNET_LEN + MAX_VLANS * frame::VLAN_LEN + IPV6_LEN + NDP_TARGET + 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// The guarded addresses and the clock, as the guard sees them.
pub trait GuardTables {
    /// Refers to a [`crate::maps::GuardRow`].
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
    /// in one namespace, but the guard at the sockets sees the packets of all.
    fn is_here(&self) -> bool {
        true
    }
}

/// Judges a packet that came in.
#[inline(always)]
pub fn arriving<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    judge(addressed(packet), tables, Direction::In)
}

/// Judges a packet that is about to leave.
#[inline(always)]
pub fn leaving<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    judge(spoken_for(packet), tables, Direction::Out)
}

/// Judges a packet that a socket is about to get. It begins with its IP header.
#[inline(always)]
pub fn received<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    let Some(ethertype) = version(packet) else {
        return Action::Pass;
    };
    judge(destination(packet, ethertype, 0), tables, Direction::In)
}

/// Judges a packet that a socket sends. It begins with its IP header.
#[inline(always)]
pub fn sent<P: Packet, T: GuardTables>(packet: &P, tables: &mut T) -> Action {
    let Some(ethertype) = version(packet) else {
        return Action::Pass;
    };
    judge(source(packet, ethertype, 0), tables, Direction::Out)
}

/// High and low half of an [`Address`]: compared in two instructions.
type Halves = (u64, u64);

/// The two addresses that a packet stands for, which are the same if it stands for one. An `Option`
/// in their place would be copied without its value, which the BPF verifier refuses.
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

/// Whether the address is guarded and closed; if so, the packet is counted.
#[inline(always)]
fn is_closed<T: GuardTables>((high, low): Halves, tables: &mut T, direction: Direction) -> bool {
    // In whole words: as an array of bytes the BPF compiler would store it byte by byte.
    let address = [high.to_be(), low.to_be()];
    let Some(row) = tables.row(bytemuck::cast_ref(&address)) else {
        return false;
    };
    // The clock is read after the address was found: other traffic must not pay for it.
    let now = tables.now();
    let open_until = tables.open_until(row);
    // Whose packet it is comes last: hardly any packet gets as far as that.
    // docs/design/leases.md#rule-5: this is the only word on whether the address may be served.
    let closed = now >= open_until && tables.is_here();
    if closed {
        tables.count_drop(row, direction);
    }
    closed
}

/// Whom an arriving frame is for.
#[inline(always)]
fn addressed<P: Packet>(packet: &P) -> Option<Addresses> {
    let (ethertype, at) = frame::ethertype(packet)?;
    if ethertype != ETHERTYPE_ARP {
        return destination(packet, ethertype, at);
    }
    let Arp { sender, target } = arp(packet, at)?;
    // An announcement of the address's owner. Should we answer, that will not leave.
    (sender != target).then_some([target; 2])
}

/// Whom a leaving frame speaks for.
#[inline(always)]
fn spoken_for<P: Packet>(packet: &P) -> Option<Addresses> {
    let (ethertype, at) = frame::ethertype(packet)?;
    if ethertype == ETHERTYPE_ARP {
        Some([arp(packet, at)?.sender; 2])
    } else {
        source(packet, ethertype, at)
    }
}

/// What the type of a frame would be that carried this packet.
#[inline(always)]
fn version<P: Packet>(packet: &P) -> Option<u16> {
    // Two bytes, as the BPF verifier learns nothing from a check for the very first alone.
    match packet.read::<u16>(0)? >> 12 {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

/// Whom the IP packet at `at` is for.
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

/// Whom the IP packet at `at` speaks for.
#[inline(always)]
fn source<P: Packet>(packet: &P, ethertype: u16, at: usize) -> Option<Addresses> {
    match ethertype {
        ETHERTYPE_IPV4 => Some([v4(packet, at + 12)?; 2]),
        ETHERTYPE_IPV6 => {
            let source = v6(packet, at + 8)?;
            match neighbor_discovery(packet, at) {
                Some((NEIGHBOR_ADVERTISEMENT, target)) => Some([source, target]),
                // From nobody: a claim to the address. From anybody else it is a client's question.
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
    // As `Address::v4` has it.
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

/// The ARP packet at `at`, whatever its operation: request and reply both speak for their sender.
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

/// Type and target address of the ICMPv6 message right after the IPv6 header at `at`. Only the two
/// messages above have a target there.
#[inline(always)]
fn neighbor_discovery<P: Packet>(packet: &P, at: usize) -> Option<(u8, Halves)> {
    if packet.read::<u8>(at + 6)? != PROTOCOL_ICMPV6 {
        return None;
    }
    let message = at + IPV6_LEN;
    Some((packet.read(message)?, v6(packet, message + NDP_TARGET)?))
}
