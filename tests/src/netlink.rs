//! Just enough rtnetlink to build a network of namespaces.
//!
//! The rig does not use the agent's netlink code, since it judges that code. It does not use `ip`
//! either: so it needs nothing installed, and a fault takes microseconds.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

// From the kernel's include/uapi/linux: veth.h, if_link.h, if_bridge.h. Not in libc.
const VETH_INFO_PEER: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const BR_STATE_DISABLED: u8 = 0;
const BR_STATE_FORWARDING: u8 = 3;

const HEADER_LEN: usize = 16;

/// A request under construction: header, fixed body, attributes.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, extra_flags: i32, body: &[u8]) -> Self {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | extra_flags) as u16;
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        Self { bytes }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes
            .extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends an attribute whose contents `fill` appends.
    fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes
            .extend_from_slice(&(kind | libc::NLA_F_NESTED as u16).to_ne_bytes());
        let mut filled = fill(self);
        let len = (filled.bytes.len() - at) as u16;
        filled.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        filled
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}

/// A `struct ifinfomsg`. Index 0 leaves the choice to a name attribute or to the kernel.
fn ifinfo(family: i32, index: u32, flags: i32, change: i32) -> [u8; 16] {
    let mut body = [0; 16];
    body[0] = family as u8;
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// A route socket. It acts in the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { fd })
    }

    /// Adds a bridge that forwards at once and floods multicast.
    pub(crate) fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        self.ask(create(name).nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "bridge")
                .nest(libc::IFLA_INFO_DATA, |m| {
                    m.attribute(IFLA_BR_STP_STATE, &0_u32.to_ne_bytes())
                        .attribute(IFLA_BR_FORWARD_DELAY, &0_u32.to_ne_bytes())
                        .attribute(IFLA_BR_MCAST_SNOOPING, &[0])
                })
        }))
    }

    /// Adds a veth pair: `name` here, `peer` in the namespace `peer_ns`.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        peer: &str,
        peer_ns: BorrowedFd<'_>,
    ) -> io::Result<()> {
        self.ask(create(name).nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "veth")
                .nest(libc::IFLA_INFO_DATA, |m| {
                    m.nest(VETH_INFO_PEER, |m| {
                        m.raw(&ifinfo(libc::AF_UNSPEC, 0, 0, 0))
                            .text(libc::IFLA_IFNAME, peer)
                            .attribute(libc::IFLA_NET_NS_FD, &peer_ns.as_raw_fd().to_ne_bytes())
                    })
                })
        }))
    }

    /// Adds a VLAN interface on top of another.
    pub(crate) fn add_vlan(&mut self, name: &str, parent: u32, id: u16) -> io::Result<()> {
        let message = create(name).attribute(libc::IFLA_LINK, &parent.to_ne_bytes());
        self.ask(message.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "vlan")
                .nest(libc::IFLA_INFO_DATA, |m| {
                    m.attribute(IFLA_VLAN_ID, &id.to_ne_bytes())
                })
        }))
    }

    /// Adds a macvlan interface on top of another, in the namespace `ns`.
    pub(crate) fn add_macvlan(
        &mut self,
        name: &str,
        parent: u32,
        ns: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let message = create(name)
            .attribute(libc::IFLA_LINK, &parent.to_ne_bytes())
            .attribute(libc::IFLA_NET_NS_FD, &ns.as_raw_fd().to_ne_bytes());
        self.ask(message.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "macvlan")
                .nest(libc::IFLA_INFO_DATA, |m| {
                    m.attribute(IFLA_MACVLAN_MODE, &MACVLAN_MODE_BRIDGE.to_ne_bytes())
                })
        }))
    }

    pub(crate) fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let flags = if up { libc::IFF_UP } else { 0 };
        let body = ifinfo(libc::AF_UNSPEC, 0, flags, libc::IFF_UP);
        self.ask(Message::new(libc::RTM_NEWLINK, 0, &body).text(libc::IFLA_IFNAME, name))
    }

    pub(crate) fn set_master(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let body = ifinfo(libc::AF_UNSPEC, index, 0, 0);
        let message = Message::new(libc::RTM_NEWLINK, 0, &body);
        self.ask(message.attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes()))
    }

    /// Moves an interface into the namespace `ns`, where it is called `name`.
    pub(crate) fn move_to(&mut self, index: u32, ns: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let body = ifinfo(libc::AF_UNSPEC, index, 0, 0);
        let message = Message::new(libc::RTM_NEWLINK, 0, &body).text(libc::IFLA_IFNAME, name);
        self.ask(message.attribute(libc::IFLA_NET_NS_FD, &ns.as_raw_fd().to_ne_bytes()))
    }

    /// Starts or stops forwarding at a bridge port. Its carrier stays.
    pub(crate) fn set_forwarding(&mut self, port: u32, forwarding: bool) -> io::Result<()> {
        let state = if forwarding {
            BR_STATE_FORWARDING
        } else {
            BR_STATE_DISABLED
        };
        let body = ifinfo(libc::AF_BRIDGE, port, 0, 0);
        let message = Message::new(libc::RTM_SETLINK, 0, &body);
        self.ask(message.nest(libc::IFLA_PROTINFO, |m| {
            m.attribute(IFLA_BRPORT_STATE, &[state])
        }))
    }

    /// Isolates a bridge port from other isolated ones, or ends that.
    pub(crate) fn set_isolated(&mut self, port: u32, isolated: bool) -> io::Result<()> {
        let body = ifinfo(libc::AF_BRIDGE, port, 0, 0);
        let message = Message::new(libc::RTM_SETLINK, 0, &body);
        self.ask(message.nest(libc::IFLA_PROTINFO, |m| {
            m.attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)])
        }))
    }

    /// Adds a neighbour that the kernel never looks up: `address` is at `mac`.
    pub(crate) fn add_neighbour(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        mac: [u8; 6],
    ) -> io::Result<()> {
        // `struct ndmsg`
        let mut body = [0; 12];
        body[0] = libc::AF_INET as u8;
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let message = Message::new(libc::RTM_NEWNEIGH, flags, &body);
        self.ask(
            message
                .attribute(libc::NDA_DST, &address.octets())
                .attribute(libc::NDA_LLADDR, &mac),
        )
    }

    /// Adds an address, usable at once (without duplicate address detection).
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr, len: u8) -> io::Result<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.ask(address_message(
            libc::RTM_NEWADDR,
            flags,
            index,
            address,
            len,
        ))
    }

    pub(crate) fn del_address(&mut self, index: u32, address: IpAddr, len: u8) -> io::Result<()> {
        self.ask(address_message(libc::RTM_DELADDR, 0, index, address, len))
    }

    /// Sends the request and waits for the kernel's acknowledgement.
    fn ask(&mut self, message: Message) -> io::Result<()> {
        send(self.fd.as_raw_fd(), &message.finish(), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let len = loop {
            match recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                received => break received?,
            }
        };
        let answer = &answer[..len];
        let kind = answer
            .get(4..6)
            .and_then(|b| b.try_into().ok())
            .map(u16::from_ne_bytes);
        let error = answer
            .get(16..20)
            .and_then(|b| b.try_into().ok())
            .map(i32::from_ne_bytes);
        match (kind.map(i32::from), error) {
            (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
            (Some(libc::NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
            _ => Err(io::Error::other(
                "the kernel's answer is no acknowledgement",
            )),
        }
    }
}

fn create(name: &str) -> Message {
    let body = ifinfo(libc::AF_UNSPEC, 0, 0, 0);
    Message::new(
        libc::RTM_NEWLINK,
        libc::NLM_F_CREATE | libc::NLM_F_EXCL,
        &body,
    )
    .text(libc::IFLA_IFNAME, name)
}

fn address_message(kind: u16, flags: i32, index: u32, address: IpAddr, len: u8) -> Message {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    // `struct ifaddrmsg`
    let mut body = [family as u8, len, libc::IFA_F_NODAD as u8, 0, 0, 0, 0, 0];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    Message::new(kind, flags, &body)
        .attribute(libc::IFA_LOCAL, &octets)
        .attribute(libc::IFA_ADDRESS, &octets)
}
