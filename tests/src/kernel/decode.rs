//! Reads a frame with `etherparse`, as another host's network stack would: lengths and checksums
//! must be right.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};

/// A UDP datagram and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub mac_from: [u8; 6],
    pub mac_to: [u8; 6],
    pub from: IpAddr,
    pub to: IpAddr,
    /// TTL or hop limit.
    pub hops: u8,
    pub source_port: u16,
    pub port: u16,
    pub payload: Vec<u8>,
}

impl Datagram {
    /// The datagram in `frame`, if a host would accept it.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let packet = SlicedPacket::from_ethernet(frame)?;
        let Some(LinkSlice::Ethernet2(ethernet)) = packet.link else {
            bail!("no Ethernet header")
        };
        let Some(TransportSlice::Udp(udp)) = packet.transport else {
            bail!("no UDP datagram")
        };
        let header = udp.to_header();
        let (from, to, hops, checksum): (IpAddr, IpAddr, _, _) = match packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header().to_header();
                ensure!(
                    ip.header_checksum == ip.calc_header_checksum(),
                    "the IPv4 header checksum is {:#06x}, not {:#06x}",
                    ip.header_checksum,
                    ip.calc_header_checksum()
                );
                let checksum = header.calc_checksum_ipv4(&ip, udp.payload())?;
                (
                    ip.source.into(),
                    ip.destination.into(),
                    ip.time_to_live,
                    checksum,
                )
            }
            Some(NetSlice::Ipv6(ip)) => {
                let ip = ip.header().to_header();
                let checksum = header.calc_checksum_ipv6(&ip, udp.payload())?;
                (
                    ip.source.into(),
                    ip.destination.into(),
                    ip.hop_limit,
                    checksum,
                )
            }
            _ => bail!("no IP header"),
        };
        ensure!(
            header.checksum == checksum,
            "the UDP checksum is {:#06x}, not {checksum:#06x}",
            header.checksum
        );
        Ok(Self {
            mac_from: ethernet.source(),
            mac_to: ethernet.destination(),
            from,
            to,
            hops,
            source_port: header.source_port,
            port: header.destination_port,
            payload: udp.payload().to_vec(),
        })
    }
}
