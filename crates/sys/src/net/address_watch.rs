//! Reports when an address of this host appears or disappears.
//!
//! The watch receives the kernel's announcements (rtnetlink(7), RTMGRP_IPV4_IFADDR and its IPv6
//! counterpart) and changes nothing.

use std::{
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

use super::multicast::{self, Groups};

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`, include/uapi/linux/rtnetlink.h.
const GROUPS: Groups = Groups {
    bits: 0x10 | 0x100,
    of: "addresses",
};
/// `RTM_NEWADDR` and `RTM_DELADDR`, in the same file.
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
/// `IFA_ADDRESS` and `IFA_LOCAL`, include/uapi/linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const HEADER_LEN: usize = 16;
/// Length of `struct ifaddrmsg`.
const BODY_LEN: usize = 8;
/// Size of the receive buffer, for hosts where addresses of containers come and go by the thousand.
const BUFFER: usize = 1 << 20;

/// A change of an address: it was added to an interface, changed there, or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// Index of the interface.
    pub interface: u32,
    pub address: IpAddr,
    pub gone: bool,
}

/// The announcements since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub list: Vec<AddressChange>,
    /// Whether the buffer overflowed: any address may have changed.
    pub lost: bool,
}

#[derive(Debug)]
pub struct AddressWatch {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl AddressWatch {
    /// Subscribes in the network namespace of the calling thread.
    pub fn open() -> Result<Self> {
        Ok(Self {
            // The caller handles lost announcements.
            socket: multicast::listen(GROUPS, Some(BUFFER))?,
            buffer: vec![0; 16 * 1024],
        })
    }

    /// The announcements so far, at most `most` datagrams. This never waits.
    pub fn changes(&mut self, most: usize) -> Result<Changes> {
        let mut changes = Changes::default();
        for _ in 0..most {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(len) => read(&self.buffer[..len], &mut changes.list),
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => changes.lost = true,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("could not read from rtnetlink"),
            }
        }
        Ok(changes)
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Adds the changes in one datagram.
fn read(mut datagram: &[u8], list: &mut Vec<AddressChange>) {
    while let Some(length) = datagram.first_chunk().copied().map(u32::from_ne_bytes) {
        let length = (length as usize).max(HEADER_LEN);
        let message = datagram.get(..length).unwrap_or_default();
        list.extend(change(message));
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
}

fn change(message: &[u8]) -> Option<AddressChange> {
    let kind = u16::from_ne_bytes(*message.get(4..6)?.first_chunk()?);
    if kind != NEW_ADDRESS && kind != DELETED_ADDRESS {
        return None;
    }
    let body = message.get(HEADER_LEN..)?;
    let interface = u32::from_ne_bytes(*body.get(4..8)?.first_chunk()?);
    let attributes = body.get(BODY_LEN..)?;
    // On a point-to-point link `IFA_ADDRESS` is the other side's address.
    let address = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
    Some(AddressChange {
        interface,
        address: address?,
        gone: kind == DELETED_ADDRESS,
    })
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<IpAddr> {
    loop {
        let length = u16::from_ne_bytes(*attributes.first_chunk()?);
        let kind = u16::from_ne_bytes(*attributes.get(2..4)?.first_chunk()?);
        let length = usize::from(length).max(4);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            return v4
                .or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
                .ok();
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, interface: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0; HEADER_LEN + BODY_LEN];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_LEN + 4..][..4].copy_from_slice(&interface.to_ne_bytes());
        for (kind, value) in attributes {
            message.extend((4 + value.len() as u16).to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend_from_slice(value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message
    }

    fn told(datagram: &[u8]) -> Vec<AddressChange> {
        let mut list = Vec::new();
        read(datagram, &mut list);
        list
    }

    #[test]
    fn both_families_are_read_and_the_own_side_of_a_point_to_point_link() {
        let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let datagram = [
            message(
                DELETED_ADDRESS,
                7,
                &[(IFA_ADDRESS, &[10, 0, 0, 9]), (IFA_LOCAL, &[10, 0, 0, 1])],
            ),
            message(NEW_ADDRESS, 8, &[(3, b"eth0:x\0"), (IFA_ADDRESS, &v6)]),
            message(16, 9, &[(IFA_ADDRESS, &v6)]),
        ]
        .concat();
        let expected = [(7, "10.0.0.1", true), (8, "fd00::1", false)];
        let expected = expected.map(|(interface, address, gone)| AddressChange {
            interface,
            address: address.parse().unwrap(),
            gone,
        });
        assert_eq!(told(&datagram), expected);
    }

    #[test]
    fn cut_and_senseless_datagrams_are_passed_over() {
        let whole = message(NEW_ADDRESS, 7, &[(IFA_ADDRESS, &[10, 0, 0, 1])]);
        for len in 0..whole.len() {
            assert_eq!(told(&whole[..len]), []);
        }
        assert_eq!(told(&[0; 64]), [], "lengths of zero end, too");
        let odd = message(NEW_ADDRESS, 7, &[(IFA_ADDRESS, &[10, 0, 0])]);
        assert_eq!(told(&odd), [], "an address of three bytes");
    }
}
