//! Finds a heartbeat inside an Ethernet frame, and turns the frame around.
//!
//! Offsets are from the start of the Ethernet header. The parser reads up to two VLAN tags, then
//! IPv4 without options or IPv6 without extension headers, then UDP. All other frames are no
//! heartbeats and pass.

use crate::{
    checksum::{self, InternetSum},
    maps::Address,
    packet::{Packet, Word},
    siphash::{SipHash, SipKey},
    verdict::Verdict,
    wire::{self, MAX_LEASES, offset},
};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
pub(crate) const ETHERNET_LEN: usize = 14;
pub(crate) const VLAN_LEN: usize = 4;
pub(crate) const MAX_VLANS: usize = 2;
const IPV4_LEN: usize = 20;
pub(crate) const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// The TTL or hop limit of sent frames: the value that hosts use for locally made packets.
const TTL: u8 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A UDP datagram in a frame.
#[derive(Clone, Copy)]
pub(crate) struct Datagram {
    family: Family,
    /// Offset of the IP header.
    ip: usize,
    /// Offset of the UDP header.
    udp: usize,
    /// The length in the UDP header, which includes the header itself.
    udp_len: usize,
    /// The length after the IP header, from the IP header.
    ip_payload_len: usize,
}

/// A heartbeat whose lengths were checked: every field and lease entry is inside the frame.
#[derive(Clone, Copy)]
pub(crate) struct Heartbeat {
    datagram: Datagram,
    /// Offset of the UDP payload.
    pub payload: usize,
}

/// The UDP datagram in `packet` if it is for `port`.
#[inline(always)]
pub(crate) fn locate<P: Packet>(packet: &P, port: u16) -> Result<Datagram, Verdict> {
    let (ethertype, ip) = ethertype(packet).ok_or(Verdict::NotIp)?;
    let datagram = match ethertype {
        ETHERTYPE_IPV4 => ipv4(packet, ip)?,
        ETHERTYPE_IPV6 => ipv6(packet, ip)?,
        _ => return Err(Verdict::NotIp),
    };
    match packet.read::<u16>(datagram.udp + 2) {
        Some(destination) if destination == port => Ok(datagram),
        _ => Err(Verdict::OtherPort),
    }
}

/// The Ethernet type behind the VLAN tags, and the offset of its payload.
#[inline(always)]
pub(crate) fn ethertype<P: Packet>(packet: &P) -> Option<(u16, usize)> {
    let mut ethertype: u16 = packet.read(ETHERNET_LEN - 2)?;
    let mut next = ETHERNET_LEN;
    for _ in 0..MAX_VLANS {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        ethertype = packet.read(next + 2)?;
        next += VLAN_LEN;
    }
    Some((ethertype, next))
}

/// The Ethernet address of the sender, as a number of 48 bits.
#[inline(always)]
pub(crate) fn sender<P: Packet>(packet: &P) -> Option<u64> {
    let high = u64::from(packet.read::<u16>(6)?);
    let low = u64::from(packet.read::<u32>(8)?);
    Some(high << 32 | low)
}

#[inline(always)]
fn ipv4<P: Packet>(packet: &P, ip: usize) -> Result<Datagram, Verdict> {
    let version_ihl: u8 = packet.read(ip).ok_or(Verdict::NotIp)?;
    let total_len: u16 = packet.read(ip + 2).ok_or(Verdict::NotIp)?;
    let fragment: u16 = packet.read(ip + 6).ok_or(Verdict::NotIp)?;
    let protocol: u8 = packet.read(ip + 9).ok_or(Verdict::NotIp)?;
    if version_ihl >> 4 != 4 {
        return Err(Verdict::NotIp);
    }
    if protocol != PROTOCOL_UDP {
        return Err(Verdict::NotUdp);
    }
    // More fragments, or a fragment offset: there may be no UDP header here.
    if fragment & 0x3fff != 0 {
        return Err(Verdict::Fragment);
    }
    if version_ihl & 0xf != 5 {
        return Err(Verdict::IpOptions);
    }
    let udp = ip + IPV4_LEN;
    Ok(Datagram {
        family: Family::V4,
        ip,
        udp,
        udp_len: packet.read::<u16>(udp + 4).ok_or(Verdict::NotUdp)?.into(),
        ip_payload_len: usize::from(total_len).wrapping_sub(IPV4_LEN),
    })
}

#[inline(always)]
fn ipv6<P: Packet>(packet: &P, ip: usize) -> Result<Datagram, Verdict> {
    let version: u8 = packet.read(ip).ok_or(Verdict::NotIp)?;
    let payload_len: u16 = packet.read(ip + 4).ok_or(Verdict::NotIp)?;
    let next_header: u8 = packet.read(ip + 6).ok_or(Verdict::NotIp)?;
    if version >> 4 != 6 {
        return Err(Verdict::NotIp);
    }
    if next_header != PROTOCOL_UDP {
        return Err(Verdict::NotUdp);
    }
    let udp = ip + IPV6_LEN;
    Ok(Datagram {
        family: Family::V6,
        ip,
        udp,
        udp_len: packet.read::<u16>(udp + 4).ok_or(Verdict::NotUdp)?.into(),
        ip_payload_len: payload_len.into(),
    })
}

impl Datagram {
    /// The same datagram with offsets of which the BPF verifier knows only that they are small.
    ///
    /// `zero` is 0, but comes from a map. Without this step the verifier would walk all later code
    /// once for each shape of the headers before.
    #[inline(always)]
    pub(crate) fn obscured(self, zero: u32) -> Self {
        // All offsets are below the mask. The code uses nothing but sums and masks: before Linux
        // 6.10 the verifier loses track of an unknown value after other operations.
        const MASK: usize = 0x7f;
        let veil = zero as usize & MASK;
        Self {
            ip: (self.ip + veil) & MASK,
            udp: (self.udp + veil) & MASK,
            ..self
        }
    }

    #[inline(always)]
    pub(crate) fn source<P: Packet>(&self, packet: &P) -> Option<Address> {
        match self.family {
            Family::V4 => packet.read(self.ip + 12).map(Address::v4),
            Family::V6 => Some(Address::v6(
                packet.read(self.ip + 8)?,
                packet.read(self.ip + 16)?,
            )),
        }
    }

    #[inline(always)]
    pub(crate) fn destination<P: Packet>(&self, packet: &P) -> Option<Address> {
        match self.family {
            Family::V4 => packet.read(self.ip + 16).map(Address::v4),
            Family::V6 => Some(Address::v6(
                packet.read(self.ip + 24)?,
                packet.read(self.ip + 32)?,
            )),
        }
    }

    #[inline(always)]
    pub(crate) fn source_port<P: Packet>(&self, packet: &P) -> Option<u16> {
        packet.read(self.udp)
    }

    /// The heartbeat in this datagram, after checks of its magic, version and lengths.
    #[inline(always)]
    pub(crate) fn heartbeat<P: Packet>(&self, packet: &P) -> Result<Heartbeat, Verdict> {
        let payload = self.udp + UDP_LEN;
        let magic: u32 = packet
            .read(payload + offset::MAGIC)
            .ok_or(Verdict::Truncated)?;
        if magic != wire::MAGIC {
            return Err(Verdict::BadMagic);
        }
        let version: u8 = packet
            .read(payload + offset::VERSION)
            .ok_or(Verdict::Truncated)?;
        if version != wire::VERSION {
            return Err(Verdict::UnknownVersion);
        }
        let leases: u8 = packet
            .read(payload + offset::LEASE_COUNT)
            .ok_or(Verdict::Truncated)?;
        let leases = usize::from(leases);
        if leases > MAX_LEASES {
            return Err(Verdict::Malformed);
        }
        let len = wire::len(leases);
        if self.udp_len != UDP_LEN + len || self.ip_payload_len != self.udp_len {
            return Err(Verdict::Malformed);
        }
        // If the tag is inside the frame, so is everything before it.
        packet
            .read::<u64>(payload + wire::authenticated_len(leases))
            .ok_or(Verdict::Truncated)?;
        Ok(Heartbeat {
            datagram: *self,
            payload,
        })
    }
}

impl Heartbeat {
    /// The number of lease entries.
    ///
    /// The number is read from the frame each time. The BPF verifier knows a number that has ended
    /// one loop, and would walk all later code once for each value.
    #[inline(always)]
    pub(crate) fn leases<P: Packet>(&self, packet: &P) -> Option<usize> {
        let leases = usize::from(packet.read::<u8>(self.payload + offset::LEASE_COUNT)?);
        (leases <= MAX_LEASES).then_some(leases)
    }

    /// The offset of lease entry `index`, which must be below the number of entries.
    #[inline(always)]
    pub(crate) fn lease(&self, index: usize) -> usize {
        self.payload + offset::LEASES + index * wire::LEASE_LEN
    }

    /// The offset of the tag.
    #[inline(always)]
    fn tag<P: Packet>(&self, packet: &P) -> Option<usize> {
        Some(self.payload + wire::authenticated_len(self.leases(packet)?))
    }

    #[inline(always)]
    pub(crate) fn tag_is_good<P: Packet>(&self, packet: &P, key: SipKey) -> Option<bool> {
        let mut hash = SipHash::new(key);
        let words = wire::authenticated_len(self.leases(packet)?) / 8;
        for word in 0..wire::authenticated_len(MAX_LEASES) / 8 {
            if word == words {
                break;
            }
            hash.write(packet.read::<u64>(self.payload + word * 8)?.swap_bytes());
        }
        Some(packet.read::<u64>(self.tag(packet)?)? == hash.finish())
    }

    /// Writes the tag and the UDP checksum. No other change of the frame may follow.
    #[inline(always)]
    pub(crate) fn seal<P: Packet>(&self, packet: &mut P, key: SipKey) -> Option<()> {
        let udp = self.datagram.udp;
        let mut sum = self.pseudo_header_sum(packet)?;
        sum.add32(packet.read(udp)?);
        sum.add16(packet.read(udp + 4)?);
        let mut hash = SipHash::new(key);
        let words = wire::authenticated_len(self.leases(packet)?) / 8;
        for index in 0..wire::authenticated_len(MAX_LEASES) / 8 {
            if index == words {
                break;
            }
            let word: u64 = packet.read(self.payload + index * 8)?;
            hash.write(word.swap_bytes());
            sum.add64(word);
        }
        let tag = hash.finish();
        sum.add64(tag);
        packet.write(self.tag(packet)?, tag)?;
        packet.write(udp + 6, sum.finish_udp())
    }

    /// RFC 768 and RFC 8200, section 8.1.
    #[inline(always)]
    fn pseudo_header_sum<P: Packet>(&self, packet: &P) -> Option<InternetSum> {
        let Datagram {
            family,
            ip,
            udp_len,
            ..
        } = self.datagram;
        let mut sum = InternetSum::new();
        match family {
            Family::V4 => sum.add64(packet.read(ip + 12)?),
            Family::V6 => {
                sum.add64(packet.read(ip + 8)?);
                sum.add64(packet.read(ip + 16)?);
                sum.add64(packet.read(ip + 24)?);
                sum.add64(packet.read(ip + 32)?);
            }
        }
        sum.add16(udp_len as u16);
        sum.add16(PROTOCOL_UDP.into());
        Some(sum)
    }

    /// Exchanges source and destination of the Ethernet, IP and UDP headers.
    #[inline(always)]
    pub(crate) fn turn_around<P: Packet>(&self, packet: &mut P) -> Option<()> {
        swap::<P, u32>(packet, 0, 6)?;
        swap::<P, u16>(packet, 4, 10)?;
        let Datagram {
            family, ip, udp, ..
        } = self.datagram;
        match family {
            Family::V4 => {
                let old: u16 = packet.read(ip + 8)?;
                let new = u16::from_be_bytes([TTL, old as u8]);
                let sum: u16 = packet.read(ip + 10)?;
                packet.write(ip + 8, new)?;
                packet.write(ip + 10, checksum::replace16(sum, old, new))?;
                swap::<P, u32>(packet, ip + 12, ip + 16)?;
            }
            Family::V6 => {
                packet.write(ip + 7, TTL)?;
                swap::<P, u64>(packet, ip + 8, ip + 24)?;
                swap::<P, u64>(packet, ip + 16, ip + 32)?;
            }
        }
        swap::<P, u16>(packet, udp, udp + 2)
    }
}

#[inline(always)]
fn swap<P: Packet, T: Word>(packet: &mut P, a: usize, b: usize) -> Option<()> {
    let (left, right) = (packet.read::<T>(a)?, packet.read::<T>(b)?);
    packet.write(a, right)?;
    packet.write(b, left)
}
