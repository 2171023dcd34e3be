//! Receives the claims of other hosts on a link to an address.
//!
//! The claims are not authenticated. A claim may be a reason to announce an address again and to
//! log it, and nothing more. Only ARP packets and Neighbor Advertisements are received.

use crate::net::option;
use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg},
};
use std::{
    io::{self, IoSliceMut},
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::frame::{ARP_LEN, Mac};

/// Offset of the sender's addresses in an Ethernet frame with an ARP packet (RFC 826).
const ARP_SENDER_MAC: usize = 22;
const ARP_SENDER: usize = 28;
/// The first bytes of an Ethernet and IPv4 ARP packet.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
/// RFC 4861, section 4.4.
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const ADVERTISEMENT_LEN: usize = 24;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// The hop limit that proves that no router forwarded the packet.
const HOP_LIMIT: i32 = 255;
/// `ICMP6_FILTER`, include/uapi/linux/icmpv6.h.
const ICMP6_FILTER: libc::c_int = 1;

/// Another host's claim to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub mac: Mac,
    /// Index of the interface where the claim arrived.
    pub interface: u32,
}

/// The sockets that receive claims on all interfaces of a network namespace.
#[derive(Debug)]
pub struct Claims {
    arp: OwnedFd,
    /// The socket for IPv6; `None` on a host without IPv6.
    neighbors: Option<OwnedFd>,
}

impl Claims {
    /// Opens the sockets. They receive nothing of IPv4 before [`Claims::listen_for`].
    pub fn open() -> Result<Self> {
        let arp = arp_socket().context("cannot open a packet socket for ARP")?;
        let claims = Self {
            arp,
            neighbors: neighbor_socket()
                .inspect_err(|error| {
                    log::debug!("no Neighbor Advertisements are received: {error}");
                })
                .ok(),
        };
        claims.listen_for(&[])?;
        Ok(claims)
    }

    /// Sets the addresses whose claims are received. Claims to all IPv6 addresses are received
    /// anyway.
    pub fn listen_for(&self, addresses: &[IpAddr]) -> Result<()> {
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        set_filter(&self.arp, &mut arp_filter(v4)).context("cannot filter ARP packets")
    }

    /// The descriptors whose readability announces claims.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let neighbors = self.neighbors.iter().map(AsFd::as_fd);
        std::iter::once(self.arp.as_fd()).chain(neighbors)
    }

    /// The claims so far, at most `most` packets of each kind. This never waits.
    pub fn received(&self, most: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        for _ in 0..most {
            match self.arp_packet() {
                Ok(claim) => claims.extend(claim),
                Err(_) => break,
            }
        }
        let neighbors = self.neighbors.as_ref();
        for _ in 0..neighbors.map_or(0, |_| most) {
            match neighbors.map(advertisement) {
                Some(Ok(claim)) => claims.extend(claim),
                _ => break,
            }
        }
        claims
    }

    fn arp_packet(&self) -> io::Result<Option<Claim>> {
        let mut frame = [0_u8; ARP_LEN];
        let mut from = super::sockaddr(0);
        let mut len = size_of_val(&from) as libc::socklen_t;
        // SAFETY: the pointers are to `frame`, `from` and `len`, with their lengths; all outlive
        // the call.
        let received = Errno::result(unsafe {
            libc::recvfrom(
                self.arp.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw mut from).cast(),
                &raw mut len,
            )
        })?;
        // The frame is for another host, and is visible only because the interface accepts all
        // frames.
        if from.sll_pkttype == libc::PACKET_OTHERHOST || received.cast_unsigned() < ARP_LEN {
            return Ok(None);
        }
        Ok(read_arp(&frame).map(|(address, mac)| Claim {
            address: address.into(),
            mac,
            interface: from.sll_ifindex.cast_unsigned(),
        }))
    }
}

/// The sender of an ARP packet. A request and a reply both give the location of the sender.
fn read_arp(frame: &[u8; ARP_LEN]) -> Option<(Ipv4Addr, Mac)> {
    let mac = frame[ARP_SENDER_MAC..].first_chunk::<6>()?;
    let address = frame[ARP_SENDER..].first_chunk::<4>()?;
    (frame[14..20] == ARP_ETHERNET_IPV4).then(|| (Ipv4Addr::from(*address), *mac))
}

/// The next Neighbor Advertisement, if it claims an address.
fn advertisement(socket: &OwnedFd) -> io::Result<Option<Claim>> {
    let mut message = [0_u8; 128];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let (mut interface, mut hops) = (None, None);
    for control in received.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv6PacketInfo(info) => interface = Some(info.ipi6_ifindex),
            ControlMessageOwned::Ipv6HopLimit(limit) => hops = Some(limit),
            _ => {}
        }
    }
    let len = received.bytes;
    let Some(interface) = interface.filter(|_| hops == Some(HOP_LIMIT)) else {
        return Ok(None);
    };
    let said = read_advertisement(message.get(..len).unwrap_or_default());
    Ok(said.map(|(address, mac)| Claim {
        address: address.into(),
        mac,
        interface,
    }))
}

/// The target of a Neighbor Advertisement, and its link-layer address in the message.
fn read_advertisement(message: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let target = message.get(8..ADVERTISEMENT_LEN)?.first_chunk::<16>()?;
    if message[0] != NEIGHBOR_ADVERTISEMENT {
        return None;
    }
    let mut options = &message[ADVERTISEMENT_LEN..];
    while let [kind, units, ..] = options {
        // RFC 4861, section 4.6: the length is in units of 8 bytes, and never zero.
        let len = 8 * usize::from(*units).max(1);
        if *kind == TARGET_LINK_LAYER_ADDRESS {
            let mac = options.get(2..8)?.first_chunk::<6>()?;
            return Some((Ipv6Addr::from(*target), *mac));
        }
        options = options.get(len..)?;
    }
    None
}

fn arp_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let protocol = (libc::ETH_P_ARP as u16).to_be();
    // SAFETY: no pointers.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn neighbor_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_INET6, kind, libc::IPPROTO_ICMPV6) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(NEIGHBOR_ADVERTISEMENT) / 32] &= !(1 << (NEIGHBOR_ADVERTISEMENT % 32));
    option::set(&socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)?;
    let on: libc::c_int = 1;
    option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &on)?;
    option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &on)?;
    Ok(socket)
}

/// A classic BPF program that accepts ARP packets of these senders.
fn arp_filter(senders: impl Iterator<Item = Ipv4Addr>) -> Vec<libc::sock_filter> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let give = |bytes| step(libc::BPF_RET | libc::BPF_K, 0, 0, bytes);
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let mut program = vec![step(load, 0, 0, ARP_SENDER as u32)];
    for sender in senders {
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(step(equal, 0, 1, u32::from(sender)));
        program.push(give(u32::MAX));
    }
    program.push(give(0));
    program
}

fn set_filter(socket: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    // SAFETY: all its fields are an integer and a pointer, for which zero is a value.
    let mut whole: libc::sock_fprog = unsafe { mem::zeroed() };
    whole.len = u16::try_from(program.len()).map_err(io::Error::other)?;
    whole.filter = program.as_mut_ptr();
    // SAFETY: the pointers are to `whole` and, in it, to `program`, with their lengths; both
    // outlive the call, which only reads them.
    let result = Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const whole).cast(),
            size_of_val(&whole) as libc::socklen_t,
        )
    });
    result.map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Arp, gratuitous_arp, neighbor_advertisement};
    use super::*;

    const MAC: Mac = [2, 0, 0, 1, 2, 3];

    #[test]
    fn announcement_is_a_claim_in_either_form() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        for form in [Arp::Request, Arp::Reply] {
            let frame = gratuitous_arp(form, address, MAC);
            assert_eq!(read_arp(&frame), Some((address, MAC)));
        }
        let mut other = gratuitous_arp(Arp::Reply, address, MAC);
        other[15] = 6;
        assert_eq!(read_arp(&other), None, "another kind of hardware");
    }

    #[test]
    fn advertisement_is_a_claim_if_it_says_where() {
        let address: Ipv6Addr = "fd00::100".parse().unwrap();
        let frame = neighbor_advertisement(address, MAC);
        let message = &frame[54..];
        assert_eq!(read_advertisement(message), Some((address, MAC)));
        for len in 0..message.len() {
            assert_eq!(read_advertisement(&message[..len]), None, "{len} bytes");
        }
        let mut solicitation = message.to_vec();
        solicitation[0] = 135;
        assert_eq!(read_advertisement(&solicitation), None);
        let mut endless = message.to_vec();
        endless[24..26].copy_from_slice(&[1, 0]);
        assert_eq!(
            read_advertisement(&endless),
            None,
            "an option without length"
        );
    }
}
