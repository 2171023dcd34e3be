//! The properties of an interface: its index, MAC address and state.

use super::{
    transport::{Failure, Transport},
    xdp::{self, XdpProgram},
};
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage},
};
use nix::errno::Errno;

/// A name with its terminating zero fits in 16 bytes (`IFNAMSIZ`).
const MAX_NAME: usize = 15;
const HEADER_LEN: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;

/// An interface at the time of its lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// All zero where the interface has no 48-bit hardware address.
    pub mac: [u8; 6],
    /// Whether neighbours on the interface resolve addresses by ARP or Neighbor Discovery: `lo`,
    /// tunnels and PPP are excluded.
    pub ethernet: bool,
    /// Whether the administrator switched the interface on.
    pub up: bool,
    /// Whether the interface is switched on and has a carrier.
    pub carrier: bool,
    /// The MTU in bytes.
    pub mtu: u32,
    /// The index of the lower interface of a VLAN interface; also the index of the other end of a
    /// veth pair.
    pub link: Option<u32>,
    /// The index of the bond or bridge of this port.
    pub master: Option<u32>,
    /// The XDP program of the interface; the one in the driver, if there are several.
    pub xdp: Option<XdpProgram>,
    /// Received packets; 0 if the lookup did not request them.
    pub received: u64,
}

impl Transport {
    /// `None` if there is no interface of that name.
    pub(super) fn interface(&mut self, name: &str) -> Result<Option<Interface>, Failure> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let mut message = listing();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        self.one_interface(message)
    }

    /// The interface with this index, with its received packets. `None` if there is none.
    pub(super) fn interface_at(&mut self, index: u32) -> Result<Option<Interface>, Failure> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.one_interface(message)
    }

    fn one_interface(&mut self, message: LinkMessage) -> Result<Option<Interface>, Failure> {
        match self.get(RouteNetlinkMessage::GetLink(message), read_interface) {
            Err(Failure::Refused {
                errno: Errno::ENODEV,
                ..
            }) => Ok(None),
            result => result,
        }
    }

    pub(super) fn interfaces(&mut self) -> Result<Vec<Interface>, Failure> {
        self.list(&RouteNetlinkMessage::GetLink(listing()), read_interface)
    }
}

fn listing() -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// Reads only the needed attributes: the others differ by kernel and by driver, and an attribute
/// that cannot be decoded must not keep the agent from starting.
fn read_interface(body: &[u8]) -> Result<Interface, DecodeError> {
    let header = LinkHeader::parse(body)?;
    let mut interface = Interface {
        index: header.index,
        name: String::new(),
        mac: [0; 6],
        ethernet: header.link_layer_type == LinkLayerType::Ether,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        link: None,
        master: None,
        xdp: None,
        received: 0,
    };
    let mut link_is_elsewhere = false;
    for attribute in NlasIterator::new(&body[HEADER_LEN..]) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_IFNAME => {
                interface.name = String::from_utf8_lossy(value)
                    .trim_end_matches('\0')
                    .to_owned();
            }
            IFLA_ADDRESS => interface.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => {
                interface.mtu = value.try_into().map(u32::from_ne_bytes).unwrap_or_default();
            }
            IFLA_LINK => interface.link = index(value),
            IFLA_MASTER => interface.master = index(value),
            IFLA_LINK_NETNSID => link_is_elsewhere = true,
            IFLA_XDP => interface.xdp = xdp::read(value)?,
            // The first field is `rx_packets`.
            IFLA_STATS64 => {
                let first = value.first_chunk().copied();
                interface.received = first.map_or(0, u64::from_ne_bytes);
            }
            _ => {}
        }
    }
    if link_is_elsewhere {
        // The index of an interface in another namespace means nothing here.
        interface.link = None;
    }
    Ok(interface)
}

fn index(value: &[u8]) -> Option<u32> {
    let index = value.try_into().map(u32::from_ne_bytes).ok();
    index.filter(|index| *index != 0)
}
