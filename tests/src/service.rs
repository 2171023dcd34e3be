//! The service behind the virtual address: each node answers each datagram with its own name.

use std::{
    io::{IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    cmsg_space, libc,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
        SockaddrIn6, bind, recvmsg, sendmsg, setsockopt, socket,
        sockopt::{Ipv6RecvPacketInfo, Ipv6V6Only},
    },
};

use crate::{netns::Namespace, sys};

/// UDP port of the service.
pub const PORT: u16 = 7_700;
/// Bytes of the number at the start of every datagram, in network byte order.
pub(crate) const NUMBER_LEN: usize = 8;
/// Bytes of the time at which an answer was given, behind its number, in network byte order.
pub(crate) const GIVEN_LEN: usize = 8;
/// How often the threads look whether they are to end.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// One node's service. It runs whatever happens to the node's agent, until it is dropped.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Serves on every address of `ns`, those that come later included.
    pub fn start(ns: &Namespace, node: &str) -> Result<Self> {
        let socket = ns
            .enter(listen)
            .with_context(|| format!("cannot start the service of {node}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name(format!("service-{node}"))
            .spawn({
                let (stop, node) = (Arc::clone(&stop), node.to_owned());
                move || serve(&socket, &node, &stop)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket for both families that tells to which address a datagram came.
fn listen() -> Result<UdpSocket> {
    let fd: OwnedFd = socket(
        AddressFamily::Inet6,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&fd, Ipv6V6Only, &false)?;
    setsockopt(&fd, Ipv6RecvPacketInfo, &true)?;
    let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0);
    bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(POLL))?;
    Ok(socket)
}

fn serve(socket: &UdpSocket, node: &str, stop: &AtomicBool) {
    sys::realtime();
    let mut buffer = [0; 64];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    while !stop.load(Ordering::Relaxed) {
        let Some((len, client, mut to)) = receive(socket, &mut buffer, &mut control) else {
            continue;
        };
        let Some(number) = buffer[..len].first_chunk::<NUMBER_LEN>() else {
            continue;
        };
        // Answer from the address that was asked; the interface is for the route to choose.
        to.ipi6_ifindex = 0;
        // The guard looks at it after this: what it lets out was given before it closed.
        let given = sys::boottime().as_nanos().to_be_bytes();
        let answer = [
            IoSlice::new(number),
            IoSlice::new(&given),
            IoSlice::new(node.as_bytes()),
        ];
        let from = [ControlMessage::Ipv6PacketInfo(&to)];
        // An answer that cannot be sent is a lost answer: the client sees it missing.
        let _ = sendmsg(
            socket.as_raw_fd(),
            &answer,
            &from,
            MsgFlags::empty(),
            Some(&client),
        );
    }
}

/// The next datagram's length, sender and destination; none at a time-out.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    control: &mut [u8],
) -> Option<(usize, SockaddrIn6, libc::in6_pktinfo)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        MsgFlags::empty(),
    )
    .ok()?;
    let to = message.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
        _ => None,
    })?;
    Some((message.bytes, message.address?, to))
}
