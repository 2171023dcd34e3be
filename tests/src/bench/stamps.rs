//! A UDP socket whose datagrams the kernel stamps, as they leave and as they arrive.
//!
//! See the kernel's Documentation/networking/timestamping.rst. Stamps of what left come by the
//! socket's error queue and carry the datagram's number: 0 for the first, then 1, 2, ...

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, TimestampingFlag, Timestamps, recvmsg,
        setsockopt, sockopt,
    },
};

#[derive(Debug)]
pub(super) struct StampedSocket {
    socket: UdpSocket,
    sent: u32,
    control: Vec<u8>,
}

/// The kernel's report on one datagram, with times of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Left {
        number: u32,
        at: Duration,
    },
    /// Without a time at the very start: the kernel turns its stamping on in the background.
    Arrived {
        number: u32,
        at: Option<Duration>,
    },
}

impl StampedSocket {
    /// A socket connected to `to`, opened in the calling thread's namespace.
    pub(super) fn open(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        setsockopt(&socket, sockopt::Timestamping, &flags)
            .context("the kernel does not stamp datagrams")?;
        Ok(Self {
            socket,
            sent: 0,
            control: cmsg_space!(Timestamps, libc::sock_extended_err, libc::sockaddr_in),
        })
    }

    /// Sends `payload` with the datagram's number at its start, and returns that number.
    pub(super) fn send(&mut self, payload: &mut [u8]) -> Result<u32> {
        let number = self.sent;
        if let Some(start) = payload.first_chunk_mut() {
            *start = number.to_be_bytes();
        }
        self.socket
            .send(payload)
            .context("a datagram could not be sent")?;
        self.sent += 1;
        Ok(number)
    }

    /// The next stamp, if there is one by now.
    pub(super) fn next(&mut self) -> Result<Option<Stamp>> {
        match self.read(MsgFlags::MSG_ERRQUEUE)? {
            None => self.read(MsgFlags::empty()),
            left => Ok(left),
        }
    }

    fn read(&mut self, queue: MsgFlags) -> Result<Option<Stamp>> {
        let mut start = [0; 4];
        let mut parts = [IoSliceMut::new(&mut start)];
        let flags = queue | MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<SockaddrIn>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            flags,
        );
        let message = match received {
            Ok(message) => message,
            // The ICMP error of an earlier datagram, as while the other side is not there yet.
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(None),
            Err(errno) => return Err(errno).context("could not read a stamp"),
        };
        let (mut at, mut left) = (None, None);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampsns(stamps) => {
                    at = Some(Duration::from(stamps.system));
                }
                ControlMessageOwned::Ipv4RecvErr(error, _)
                    if error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING =>
                {
                    left = Some(error.ee_data);
                }
                _ => {}
            }
        }
        Ok(Some(match left {
            Some(number) => Stamp::Left {
                number,
                at: at.context("the kernel stamped a datagram, but with no time")?,
            },
            None => Stamp::Arrived {
                number: u32::from_be_bytes(start),
                at,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn both_ends_of_a_round_trip_are_stamped() {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut near =
            StampedSocket::open("127.0.0.1:0".parse().unwrap(), far.local_addr().unwrap()).unwrap();
        let mut payload = [7; 32];
        let start = Instant::now();
        let mut stamped = 0;
        for number in 0.. {
            assert_eq!(near.send(&mut payload).unwrap(), number);
            let (len, from) = far.recv_from(&mut payload).unwrap();
            far.send_to(&payload[..len], from).unwrap();
            let (mut sent, mut answered) = (None, None);
            while sent.is_none() || answered.is_none() {
                assert!(start.elapsed() < Duration::from_secs(10));
                match near.next().unwrap() {
                    Some(Stamp::Left { number, at }) => sent = Some((number, at)),
                    Some(Stamp::Arrived { number, at }) => answered = Some((number, at)),
                    None => {}
                }
            }
            let ((sent, left), (received, arrived)) = (sent.unwrap(), answered.unwrap());
            assert_eq!((sent, received), (number, number));
            let Some(arrived) = arrived else { continue };
            assert!(left <= arrived && arrived - left < Duration::from_secs(10));
            stamped += 1;
            if stamped == 3 {
                return;
            }
        }
    }
}
