//! A TCP socket on one link.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use tokio::net::TcpSocket;

/// Returns a socket bound to `local` whose packets use `interface` only. Otherwise the kernel could
/// route around a broken link, and the link would seem to work.
pub(super) fn open(interface: &str, local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nodelay(true)?;
    if local.port() != 0 {
        // A lingering connection of the previous agent must not block the address.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(local)?;
    Ok(socket)
}

/// Returns the index of the interface with this name, if there is one.
pub(super) fn index(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// Returns the remedy for an error of `open`.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => ": another program has this port; end that one",
        ErrorKind::AddrNotAvailable => {
            ": the address is not on this host, or still undergoes duplicate address detection"
        }
        ErrorKind::PermissionDenied => ": a port below 1024 needs root or CAP_NET_BIND_SERVICE",
        _ if error.raw_os_error() == Some(libc::ENODEV) => ": this host has no such interface",
        _ => "",
    }
}
