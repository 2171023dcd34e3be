//! Reports when an interface of this host gets its carrier back, or when anything about one
//! changes.
//!
//! The watch receives the kernel's announcements (rtnetlink(7), RTMGRP_LINK) and changes nothing.

use std::{
    collections::HashMap,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use tokio::io::unix::AsyncFd;

use super::multicast::{self, Groups};
use crate::files::readiness::readable;

/// `RTMGRP_LINK`, include/uapi/linux/rtnetlink.h.
const GROUP: Groups = Groups {
    bits: 1,
    of: "links",
};
/// `RTM_NEWLINK`, in the same file.
const NEW_LINK: u16 = 16;
/// `RTM_DELLINK`, in the same file.
const DEL_LINK: u16 = 17;
/// `IFF_LOWER_UP`, include/uapi/linux/if.h: the interface has a carrier.
const LOWER_UP: u32 = 1 << 16;
const HEADER_LEN: usize = 16;

#[derive(Debug)]
pub struct LinkWatch {
    /// The socket before its registration with tokio.
    fresh: Option<OwnedFd>,
    socket: Option<AsyncFd<OwnedFd>>,
    /// By interface index: whether the last announcement showed a carrier.
    carriers: HashMap<u32, bool>,
    buffer: Vec<u8>,
}

impl LinkWatch {
    /// Subscribes in the network namespace of the calling thread.
    pub fn open() -> Result<Self> {
        Ok(Self {
            fresh: Some(multicast::listen(GROUP, None)?),
            socket: None,
            carriers: HashMap::new(),
            buffer: vec![0; 16 * 1024],
        })
    }

    /// Returns when something about an interface changes, or may have changed. The value is the
    /// index of an interface that got its carrier back, if that is the change. The future can be
    /// dropped at any await.
    pub async fn next(&mut self) -> Result<Option<u32>> {
        // After lost announcements, a carrier among them is reported late.
        let len = self.announcement().await?;
        Ok(len.and_then(|len| came_up(&self.buffer[..len], &mut self.carriers)))
    }

    /// Returns when something about an interface changes, or may have changed. The future can be
    /// dropped at any await.
    pub async fn changed(&mut self) -> Result<()> {
        self.announcement().await.map(drop)
    }

    /// The length of the next datagram in the buffer; `None` if some were lost.
    async fn announcement(&mut self) -> Result<Option<usize>> {
        if let Some(fresh) = self.fresh.take() {
            self.socket = Some(readable(fresh)?);
        }
        let socket = self.socket.as_ref().context("the socket is gone")?;
        loop {
            let mut ready = socket.readable().await?;
            match recv(socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(len) => return Ok(Some(len)),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::ENOBUFS) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("could not read from rtnetlink"),
            }
        }
    }
}

/// The interface that got its carrier back, according to one datagram.
fn came_up(mut datagram: &[u8], carriers: &mut HashMap<u32, bool>) -> Option<u32> {
    let mut found = None;
    while let Some(length) = u32_at(datagram, 0) {
        let length = (length as usize).max(HEADER_LEN);
        let kind = datagram
            .get(4..6)
            .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        // struct ifinfomsg: family, type, index, flags.
        let (index, flags) = (
            u32_at(datagram, HEADER_LEN + 4),
            u32_at(datagram, HEADER_LEN + 8),
        );
        // When a port leaves a bridge, the bridge sends the same message with its own family.
        let is_link = datagram.get(HEADER_LEN) == Some(&0);
        match (kind, index, flags) {
            (Some(NEW_LINK), Some(index), Some(flags)) => {
                let up = flags & LOWER_UP != 0;
                if carriers.insert(index, up) == Some(false) && up {
                    found = Some(index);
                }
            }
            (Some(DEL_LINK), Some(index), _) if is_link => drop(carriers.remove(&index)),
            _ => {}
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, index: u32, flags: u32) -> Vec<u8> {
        let mut message = vec![0; HEADER_LEN + 16];
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_LEN + 4..][..4].copy_from_slice(&index.to_ne_bytes());
        message[HEADER_LEN + 8..][..4].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    #[test]
    fn only_a_carrier_that_was_away_comes_back() {
        let mut carriers = HashMap::new();
        let (up, down) = (message(NEW_LINK, 7, LOWER_UP | 1), message(NEW_LINK, 7, 1));
        assert_eq!(
            came_up(&up, &mut carriers),
            None,
            "it may have been up before"
        );
        assert_eq!(came_up(&down, &mut carriers), None);
        assert_eq!(came_up(&up, &mut carriers), Some(7));
        assert_eq!(came_up(&up, &mut carriers), None);
        let both = [down, message(20, 7, LOWER_UP), up].concat();
        assert_eq!(
            came_up(&both, &mut carriers),
            Some(7),
            "several messages in a datagram"
        );
    }

    #[test]
    fn interface_that_is_gone_is_forgotten() {
        let mut carriers = HashMap::new();
        for index in 1..1_000 {
            came_up(&message(NEW_LINK, index, 1), &mut carriers);
            came_up(&message(DEL_LINK, index, 1), &mut carriers);
        }
        assert!(carriers.is_empty(), "{carriers:?}");
        // An interface that only leaves a bridge still exists.
        came_up(&message(NEW_LINK, 7, 1), &mut carriers);
        let mut leaves = message(DEL_LINK, 7, 1);
        leaves[HEADER_LEN] = 7;
        came_up(&leaves, &mut carriers);
        assert_eq!(carriers.len(), 1);
    }

    #[test]
    fn cut_and_senseless_datagrams_are_passed_over() {
        let whole = message(NEW_LINK, 7, 1);
        for len in 0..whole.len() {
            assert_eq!(came_up(&whole[..len], &mut HashMap::new()), None);
        }
        assert_eq!(
            came_up(&[0; 64], &mut HashMap::new()),
            None,
            "lengths of zero end, too"
        );
    }
}
