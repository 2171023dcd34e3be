//! Announcements of an address to the neighbours on a link, and other hosts' claims to it.
//!
//! An [`Announcer`] only sends, through one packet socket that receives nothing. Its frames pass TC
//! egress like all others. It announces only the addresses from its caller, who must serve them.

mod burst;
mod claims;
mod defence;
mod frame;

use super::{Interface, option};
use anyhow::{Context, bail};
use frame::{Arp, Mac};
use nix::errno::Errno;
use std::{
    io, mem,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

pub use burst::Burst;
pub use claims::{Claim, Claims};
pub use defence::Defence;

/// `TC_PRIO_INTERACTIVE`: before bulk traffic in the interface's queue.
const PRIORITY: libc::c_int = 6;

/// Announces addresses on one interface.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
    index: u32,
    name: String,
}

impl Announcer {
    /// Opens the socket. The interface must have the Ethernet type.
    pub fn open(interface: &Interface) -> anyhow::Result<Self> {
        let name = &interface.name;
        let socket = open_socket(interface.index).with_context(|| {
            format!("cannot open a packet socket on {name} (it needs CAP_NET_RAW)")
        })?;
        let announcer = Self {
            socket,
            index: interface.index,
            name: name.clone(),
        };
        announcer.mac()?;
        Ok(announcer)
    }

    /// Sends both forms of gratuitous ARP, or an unsolicited Neighbor Advertisement. This never
    /// waits: a full queue of the interface is an error.
    pub fn announce(&self, address: IpAddr) -> anyhow::Result<()> {
        // The address is read each time: a bond changes its address when it fails over.
        let mac = self.mac()?;
        let sent = match address {
            IpAddr::V4(v4) => {
                let request = self.send(&frame::gratuitous_arp(Arp::Request, v4, mac));
                let reply = self.send(&frame::gratuitous_arp(Arp::Reply, v4, mac));
                request.and(reply)
            }
            IpAddr::V6(v6) => self.send(&frame::neighbor_advertisement(v6, mac)),
        };
        sent.with_context(|| format!("cannot announce {address} on {}", self.name))
    }

    /// Sends a probe for other owners of `address`, which changes no neighbour's cache. IPv6 needs
    /// an address of the node's own as the source. This never waits; [`Claims`] receives the
    /// answer.
    pub fn probe(&self, address: IpAddr, source: Option<Ipv6Addr>) -> anyhow::Result<()> {
        let mac = self.mac()?;
        let sent = match (address, source) {
            (IpAddr::V4(v4), _) => self.send(&frame::arp_probe(v4, mac)),
            (IpAddr::V6(v6), Some(source)) => {
                self.send(&frame::neighbor_solicitation(v6, source, mac))
            }
            (IpAddr::V6(_), None) => Ok(()),
        };
        sent.with_context(|| format!("cannot ask for {address} on {}", self.name))
    }

    /// The present hardware address of the interface.
    fn mac(&self) -> anyhow::Result<Mac> {
        let link = self
            .link_address()
            .with_context(|| format!("cannot read the hardware address of {}", self.name))?;
        if link.sll_hatype != libc::ARPHRD_ETHER || usize::from(link.sll_halen) != size_of::<Mac>()
        {
            bail!(
                "cannot announce on {}: it is not an Ethernet interface (hardware type {}), so no \
                 neighbour asks for addresses there; put the address on another interface",
                self.name,
                link.sll_hatype
            );
        }
        let [a, b, c, d, e, f, ..] = link.sll_addr;
        Ok([a, b, c, d, e, f])
    }

    fn link_address(&self) -> io::Result<libc::sockaddr_ll> {
        let mut address = sockaddr(self.index);
        let mut len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointers are to `address`, which is `len` bytes long, and to `len`.
        Errno::result(unsafe {
            libc::getsockname(
                self.socket.as_raw_fd(),
                (&raw mut address).cast(),
                &raw mut len,
            )
        })?;
        Ok(address)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut to = sockaddr(self.index);
        // The protocol field of the packet, which TC filters and captures match.
        to.sll_protocol = u16::from_ne_bytes([frame[12], frame[13]]);
        // SAFETY: the pointers are to `frame` and `to`, with their lengths; both outlive the call.
        let result = Errno::result(unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        });
        result.map(drop).map_err(io::Error::from)
    }
}

/// Opens a socket with protocol 0, which receives no packet at all.
fn open_socket(index: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = Errno::result(unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    option::set(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, &PRIORITY)?;
    let address = sockaddr(index);
    // SAFETY: the pointer is to `address`, with its length.
    Errno::result(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

fn sockaddr(index: u32) -> libc::sockaddr_ll {
    // SAFETY: all its fields are integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index.cast_signed();
    address.sll_halen = size_of::<Mac>() as u8;
    address
}
