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

/// The UDP port of the service.
pub const PORT: u16 = 7_700;
/// The length of the number at the start of each datagram, in network byte order.
pub(crate) const NUMBER_LEN: usize = 8;
/// The length of the instant of an answer, behind its number, in network byte order.
pub(crate) const GIVEN_LEN: usize = 8;
/// The period in which threads check whether they must end.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// The service of a node. It runs until it is dropped, whatever happens to the node's agent.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the service on all addresses of `ns`, including later ones.
    pub fn start(ns: &Namespace, node: &str) -> Result<Self> {
        let socket = ns
            .enter(listen)
            .with_context(|| format!("cannot start the service of {node}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name(format!("service-{node}"))
            .spawn({
                let (stop, node) = (Arc::clone(&stop), node.to_owned());
                move || {
                    sys::realtime();
                    serve(&socket, &node, &stop);
                }
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

/// Runs the service of this machine, which is called `node`, until the process ends. It has no
/// precedence over the agent, with which it shares a CPU.
pub fn run(node: &str) -> Result<()> {
    let socket = listen().context("cannot start the service")?;
    serve(&socket, node, &AtomicBool::new(false));
    Ok(())
}

/// Opens a socket for both families that reports the destination of each datagram.
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
    let mut buffer = [0; 64];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    while !stop.load(Ordering::Relaxed) {
        let Some((len, client, mut to)) = receive(socket, &mut buffer, &mut control) else {
            continue;
        };
        let Some(number) = buffer[..len].first_chunk::<NUMBER_LEN>() else {
            continue;
        };
        // The answer comes from the requested address; the route chooses the interface.
        to.ipi6_ifindex = 0;
        // The guard judges the answer after this instant: each that it passes was given before it
        // closed.
        let given = sys::boottime().as_nanos().to_be_bytes();
        let answer = [
            IoSlice::new(number),
            IoSlice::new(&given),
            IoSlice::new(node.as_bytes()),
        ];
        let from = [ControlMessage::Ipv6PacketInfo(&to)];
        // An answer that cannot be sent is missing at the client.
        let _ = sendmsg(
            socket.as_raw_fd(),
            &answer,
            &from,
            MsgFlags::empty(),
            Some(&client),
        );
    }
}

/// Receives a datagram: its length, sender and destination. `None` after a time-out.
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
