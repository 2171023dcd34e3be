//! Opens rtnetlink sockets that receive the kernel's announcements (rtnetlink(7)) and send nothing.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket,
    sockopt::RcvBuf,
};

/// Groups of announcements: bits of `RTMGRP_*`, include/uapi/linux/rtnetlink.h.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) bits: u32,
    /// The subject of the announcements, for messages.
    pub(super) of: &'static str,
}

/// Subscribes to `groups` in the network namespace of the calling thread. A read never waits.
///
/// `room` is the size of the receive buffer, in bytes; without it the socket has the system's
/// default. The kernel may give less. With a smaller buffer more announcements are lost.
pub(super) fn listen(groups: Groups, room: Option<usize>) -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )
    .context("could not open an rtnetlink socket")?;
    if let Some(room) = room {
        let _ = setsockopt(&socket, RcvBuf, &room);
    }
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.bits))
        .with_context(|| format!("could not subscribe to changes of {}", groups.of))?;
    Ok(socket)
}
