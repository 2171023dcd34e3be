//! The UDP socket that sends the probes of one link.

use crate::net::option;
use anyhow::Context;
use nix::{errno::Errno, sys::socket::SockaddrStorage};
use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Class selector 6, network control (RFC 2474), in the former TOS byte.
const TRAFFIC_CLASS: libc::c_int = 0xc0;
/// `TC_PRIO_INTERACTIVE`: first band of the default queue; the highest one without a privilege.
const PRIORITY: libc::c_int = 6;
/// Room for a tick's probes to the greatest possible number of peers (about 1.3 KB each by the
/// kernel's count), while the driver has not sent the last tick's. This is a limit, not allocated
/// memory.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// linux/udp.h
const UDP_NO_CHECK6_TX: libc::c_int = 101;

/// A UDP socket bound to one link: to its address, the heartbeat port, and its interface.
///
/// Probes leave by that interface only, over its own routes (a router on it included). If the
/// kernel could choose another way around a broken link, that link would appear sound.
///
/// Probes leave *without a UDP checksum*. TC egress writes time, liveness and tag into the probe
/// and then the whole checksum. A network card that computes checksums would add the sum again.
///
/// The socket never receives anything. XDP handles our packets, and a filter drops the rest before
/// it is queued, so that junk to the port wakes no thread. The socket still owns the port. So the
/// host sends no ICMP "port unreachable", and a second agent on the same address is refused.
#[derive(Debug)]
pub struct ProbeSocket {
    socket: OwnedFd,
    cookie: u64,
}

impl ProbeSocket {
    /// `local` is an address of the interface. The scope of a link-local address (fe80::) is the
    /// interface too.
    pub fn open(local: IpAddr, port: u16, ifindex: u32) -> anyhow::Result<Self> {
        let socket = new_socket(local).context("cannot open a UDP socket")?;
        configure(&socket, local, ifindex).with_context(|| {
            format!("cannot prepare the probe socket of {local} on interface {ifindex}")
        })?;
        bind(&socket, local, port, ifindex).map_err(|errno| {
            anyhow::Error::new(io::Error::from(errno)).context(format!(
                "cannot bind the probe socket to {} on interface {ifindex}{}",
                SocketAddr::new(local, port),
                remedy(errno)
            ))
        })?;
        let cookie = option::get(&socket, libc::SOL_SOCKET, libc::SO_COOKIE)
            .context("SO_COOKIE of the probe socket")?;
        Ok(Self { socket, cookie })
    }

    /// The kernel's number of this socket, unique until the next boot. Never 0.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }
}

impl AsFd for ProbeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EADDRINUSE => ": another program uses this port, perhaps another agent; stop it",
        Errno::EADDRNOTAVAIL => {
            ": the address is not on this host, or still undergoes duplicate address detection"
        }
        Errno::EACCES => ": a port below 1024 needs root or CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

fn new_socket(local: IpAddr) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: no pointers.
    let fd = Errno::result(unsafe {
        libc::socket(
            family,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        )
    })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn configure(socket: &OwnedFd, local: IpAddr, ifindex: u32) -> anyhow::Result<()> {
    let set = |level, name, value: libc::c_int, what: &'static str| {
        option::set(socket, level, name, &value).context(what)
    };
    receive_nothing(socket).context("filter of received datagrams")?;
    set(
        libc::SOL_SOCKET,
        libc::SO_BINDTOIFINDEX,
        ifindex.cast_signed(),
        "SO_BINDTOIFINDEX",
    )?;
    // "Probe" means: never fragment (fragments are not answered), and ignore ICMP messages with a
    // smaller path MTU, which any host can forge. A probe fits everywhere.
    match local {
        IpAddr::V4(_) => {
            set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1, "SO_NO_CHECK")?;
            set(libc::IPPROTO_IP, libc::IP_TOS, TRAFFIC_CLASS, "IP_TOS")?;
            let probe = libc::IP_PMTUDISC_PROBE;
            set(
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                probe,
                "IP_MTU_DISCOVER",
            )?;
        }
        IpAddr::V6(_) => {
            set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1, "IPV6_V6ONLY")?;
            set(libc::IPPROTO_UDP, UDP_NO_CHECK6_TX, 1, "UDP_NO_CHECK6_TX")?;
            set(
                libc::IPPROTO_IPV6,
                libc::IPV6_TCLASS,
                TRAFFIC_CLASS,
                "IPV6_TCLASS",
            )?;
            let probe = libc::IPV6_PMTUDISC_PROBE;
            set(
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                probe,
                "IPV6_MTU_DISCOVER",
            )?;
        }
    }
    // This comes after IP_TOS, which sets a priority of its own.
    set(libc::SOL_SOCKET, libc::SO_PRIORITY, PRIORITY, "SO_PRIORITY")?;
    // A size above the administrator's limit needs CAP_NET_ADMIN; without it the limit applies.
    set(
        libc::SOL_SOCKET,
        libc::SO_SNDBUFFORCE,
        SEND_BUFFER,
        "SO_SNDBUFFORCE",
    )
    .or_else(|_| set(libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER, "SO_SNDBUF"))
}

// SAFETY: laid out by C without padding that is read; `receive_nothing` sets a valid pointer.
unsafe impl option::Value for libc::sock_fprog {}

/// Attaches a classic BPF program of one instruction: keep 0 bytes, which means drop.
fn receive_nothing(socket: &OwnedFd) -> io::Result<()> {
    let mut drop_all = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut drop_all,
    };
    option::set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn bind(socket: &OwnedFd, local: IpAddr, port: u16, ifindex: u32) -> Result<(), Errno> {
    let address = match local {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(v6, port, 0, ifindex))
        }
        _ => SocketAddr::new(local, port),
    };
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockname, getsockopt, sockopt};

    /// Loopback's index in every network namespace.
    const LO: u32 = 1;

    #[test]
    fn second_socket_on_the_same_address_is_refused() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let first = ProbeSocket::open(local, 0, LO).unwrap();
        let address: SockaddrStorage = getsockname(first.as_fd().as_raw_fd()).unwrap();
        let port = address.as_sockaddr_in().unwrap().port();
        let error = format!("{:#}", ProbeSocket::open(local, port, LO).unwrap_err());
        assert!(error.contains("perhaps another agent"), "{error}");
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    }

    #[test]
    fn each_socket_has_a_cookie_of_its_own() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let sockets = [(); 3].map(|()| ProbeSocket::open(local, 0, LO).unwrap());
        let cookies: std::collections::HashSet<u64> =
            sockets.iter().map(ProbeSocket::cookie).collect();
        assert_eq!(cookies.len(), 3);
        assert!(!cookies.contains(&0));
    }

    #[test]
    fn foreign_address_is_refused() {
        let error = ProbeSocket::open("192.0.2.1".parse().unwrap(), 0, LO).unwrap_err();
        assert!(
            format!("{error:#}").contains("not on this host"),
            "{error:#}"
        );
    }

    #[test]
    fn priority_survives_the_traffic_class() {
        let socket = ProbeSocket::open("127.0.0.1".parse().unwrap(), 0, LO).unwrap();
        assert_eq!(getsockopt(&socket, sockopt::Priority).unwrap(), PRIORITY);
        assert_eq!(
            getsockopt(&socket, sockopt::Ipv4Tos).unwrap(),
            TRAFFIC_CLASS
        );
    }
}
