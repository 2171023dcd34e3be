//! The XDP program of an interface, read and changed through rtnetlink.

use super::transport::{Failure, Transport};
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};
use std::os::fd::{AsRawFd as _, BorrowedFd};

// include/uapi/linux/if_link.h
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;

/// The place where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpPlace {
    /// In the driver.
    Driver,
    /// In the network stack.
    Stack,
    /// On the card.
    Card,
}

impl XdpPlace {
    /// The name in the configuration and in `ip link`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "native",
            Self::Stack => "skb",
            Self::Card => "offload",
        }
    }

    const fn flag(self) -> u32 {
        match self {
            Self::Driver => XDP_FLAGS_DRV_MODE,
            Self::Stack => XDP_FLAGS_SKB_MODE,
            Self::Card => XDP_FLAGS_HW_MODE,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// The kernel's number of the program, for `bpftool prog show id`.
    pub id: u32,
    pub place: XdpPlace,
}

/// Reads the attributes of `IFLA_XDP`.
pub(super) fn read(attributes: &[u8]) -> Result<Option<XdpProgram>, DecodeError> {
    let mut general = None;
    let mut found: Option<XdpProgram> = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        let place = match attribute.kind() {
            IFLA_XDP_PROG_ID => None,
            IFLA_XDP_DRV_PROG_ID => Some(XdpPlace::Driver),
            IFLA_XDP_SKB_PROG_ID => Some(XdpPlace::Stack),
            IFLA_XDP_HW_PROG_ID => Some(XdpPlace::Card),
            _ => continue,
        };
        let id = attribute.value().try_into().map(u32::from_ne_bytes);
        let Some(id) = id.ok().filter(|id| *id != 0) else {
            continue;
        };
        match place {
            None => general = Some(id),
            Some(XdpPlace::Driver) => {
                found = Some(XdpProgram {
                    id,
                    place: XdpPlace::Driver,
                });
            }
            Some(place) => found = found.or(Some(XdpProgram { id, place })),
        }
    }
    // Old kernels support only one place, and have no attribute for each place.
    let place = XdpPlace::Driver;
    Ok(found.or_else(|| general.map(|id| XdpProgram { id, place })))
}

impl Transport {
    /// Detaches the program at `place` of an interface. The kernel refuses this where a BPF link
    /// holds it.
    pub(super) fn detach_xdp(&mut self, ifindex: u32, place: XdpPlace) -> Result<(), Failure> {
        self.set_xdp(ifindex, -1, place.flag())
    }

    /// Attaches `program` without a link where there is none, only to get the text of the refusal.
    pub(super) fn try_xdp(
        &mut self,
        ifindex: u32,
        program: BorrowedFd<'_>,
        place: XdpPlace,
    ) -> Result<(), Failure> {
        let flags = place.flag() | XDP_FLAGS_UPDATE_IF_NOEXIST;
        self.set_xdp(ifindex, program.as_raw_fd(), flags)
    }

    fn set_xdp(&mut self, ifindex: u32, fd: i32, flags: u32) -> Result<(), Failure> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let xdp = vec![LinkXdp::Fd(fd), LinkXdp::Flags(flags)];
        message.attributes.push(LinkAttribute::Xdp(xdp));
        self.execute(RouteNetlinkMessage::SetLink(message), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(of: &[(u16, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in of {
            bytes.extend(8_u16.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn place_of_a_program_is_told_and_the_driver_comes_first() {
        let program = |id, place| Some(XdpProgram { id, place });
        let cases = [
            (vec![], None),
            (vec![(4, 0)], None),
            (vec![(6, 7), (4, 7)], program(7, XdpPlace::Stack)),
            (vec![(5, 7), (4, 7)], program(7, XdpPlace::Driver)),
            (vec![(6, 8), (5, 7)], program(7, XdpPlace::Driver)),
            (vec![(4, 7)], program(7, XdpPlace::Driver)),
            (vec![(7, 9)], program(9, XdpPlace::Card)),
            (vec![(5, 7), (7, 9)], program(7, XdpPlace::Driver)),
        ];
        for (given, expected) in cases {
            assert_eq!(read(&attributes(&given)).unwrap(), expected, "{given:?}");
        }
    }
}
