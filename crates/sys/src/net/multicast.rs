//! Opens rtnetlink sockets that hear the kernel's announcements (rtnetlink(7)). They ask nothing.

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
    /// What they are announcements of, in words.
    pub(super) of: &'static str,
}

/// Listens to `groups` in the network namespace of the calling thread. Reading never waits.
///
/// `room` is for what is announced between two reads, in bytes; without it the socket has the
/// system's default. The kernel gives as much as it may; with less, more announcements are lost.
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
