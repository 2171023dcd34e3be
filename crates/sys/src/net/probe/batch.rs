//! The probes of one tick over one socket, sent with one system call.

use super::ProbeSocket;
use nix::errno::Errno;
use std::{
    mem,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

/// A datagram for each destination, all of one length, with all memory that sending needs.
pub struct ProbeBatch {
    payloads: Vec<u8>,
    /// Allocated bytes for each datagram.
    room: usize,
    /// Present length of each datagram in bytes.
    payload_len: usize,
    destinations: Vec<Destination>,
    /// By datagram: its position in the order of sending.
    places: Vec<usize>,
    // Memory that the kernel reads. `send` sets its pointers each time; they mean nothing in
    // between.
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

/// A socket address as the kernel reads it.
#[derive(Clone, Copy)]
enum Destination {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

/// The result of sending a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams that the kernel accepted.
    pub sent: usize,
    /// Datagrams that the kernel did not accept, the congested ones included.
    pub failed: usize,
    /// Datagrams for which there was no room, in the socket or in the interface's queue.
    pub congested: usize,
    /// The first failed datagram and its error.
    pub first_error: Option<(usize, Errno)>,
}

// SAFETY: the raw pointers are never read between calls of `send`, see there; all else is owned.
unsafe impl Send for ProbeBatch {}

impl std::fmt::Debug for ProbeBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeBatch")
            .field("destinations", &self.destinations.len())
            .field("payload_len", &self.payload_len)
            .finish_non_exhaustive()
    }
}

impl ProbeBatch {
    /// Makes one datagram of `room` zero bytes for each destination. The destinations should be of
    /// the family of the sending socket; a datagram of another family fails alone.
    pub fn new(destinations: &[SocketAddr], room: usize) -> Self {
        let count = destinations.len();
        // SAFETY: an integer and pointers, for all of which zero is a value.
        let vector: libc::iovec = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let message: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            payloads: vec![0; count * room],
            room,
            payload_len: room,
            destinations: destinations
                .iter()
                .map(|to| Destination::new(*to))
                .collect(),
            places: (0..count).collect(),
            vectors: vec![vector; count],
            messages: vec![message; count],
        }
    }

    pub fn len(&self) -> usize {
        self.destinations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// Sets the length of all datagrams, up to the allocated bytes.
    pub fn set_len(&mut self, len: usize) {
        self.payload_len = len.min(self.room);
    }

    /// The payload for the `index`-th destination, which is kept from one `send` to the next.
    ///
    /// # Panics
    /// Panics like a slice, if `index` is not below [`len`](Self::len).
    pub fn payload_mut(&mut self, index: usize) -> &mut [u8] {
        let at = index * self.room;
        &mut self.payloads[at..at + self.payload_len]
    }

    /// Moves the datagrams with the indices that `last` accepts to the end of the order of sending.
    pub fn put_last(&mut self, last: impl Fn(usize) -> bool) {
        let mut next = 0..;
        for turn in [false, true] {
            for (index, place) in self.places.iter_mut().enumerate() {
                if last(index) == turn
                    && let Some(free) = next.next()
                {
                    *place = free;
                }
            }
        }
    }

    /// Sends all datagrams. A failed datagram is skipped and counted, and the others are still
    /// sent.
    pub fn send(&mut self, socket: &ProbeSocket) -> SendReport {
        self.point();
        let fd = socket.as_fd().as_raw_fd();
        let mut report = SendReport::default();
        let mut at = 0;
        // Each round ends past at least one more message.
        while let Some(left @ [_, ..]) = self.messages.get_mut(at..) {
            // SAFETY: `left` is the initialised tail of `messages`, `point` set its pointers, and
            // `self` is borrowed until the kernel is done with them.
            let result =
                unsafe { libc::sendmmsg(fd, left.as_mut_ptr(), left.len() as u32, SEND_FLAGS) };
            match Errno::result(result) {
                Ok(taken @ 1..) => {
                    report.sent += taken as usize;
                    at += taken as usize;
                }
                // The kernel reports an error only for the first message of a call; for a later
                // message it returns the number of messages before it.
                Ok(_) => {
                    report.count(self.datagram_at(at), Errno::UnknownErrno);
                    at += 1;
                }
                Err(errno) => {
                    report.count(self.datagram_at(at), errno);
                    at += 1;
                }
            }
        }
        report
    }

    /// The datagram at the position `before` in the order of sending.
    fn datagram_at(&self, before: usize) -> usize {
        let mut places = self.places.iter();
        places
            .position(|place| *place == before)
            .unwrap_or_default()
    }

    /// Sets the headers' pointers to the present place of the memory.
    fn point(&mut self) {
        // The lengths agree by construction. Empty payloads, which no caller sends, must not panic
        // here; the kernel refuses their headers.
        let payloads = self.payloads.chunks_exact_mut(self.room.max(1));
        let parts = payloads.zip(&mut self.destinations).zip(&mut self.vectors);
        for (((payload, destination), vector), place) in parts.zip(&self.places) {
            vector.iov_base = payload.as_mut_ptr().cast();
            vector.iov_len = self.payload_len;
            let header = &mut self.messages[*place].msg_hdr;
            (header.msg_name, header.msg_namelen) = destination.as_raw();
            header.msg_iov = ptr::from_mut(vector);
            header.msg_iovlen = 1;
        }
    }
}

/// An additional safeguard: the socket does not block anyway.
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT;

impl SendReport {
    fn count(&mut self, index: usize, errno: Errno) {
        self.failed += 1;
        if matches!(errno, Errno::EAGAIN | Errno::ENOBUFS) {
            self.congested += 1;
        }
        self.first_error.get_or_insert((index, errno));
    }
}

impl Destination {
    fn new(to: SocketAddr) -> Self {
        match to {
            SocketAddr::V4(to) => Self::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(to.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(to) => Self::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: to.port().to_be(),
                sin6_flowinfo: to.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: to.ip().octets(),
                },
                sin6_scope_id: to.scope_id(),
            }),
        }
    }

    fn as_raw(&mut self) -> (*mut libc::c_void, libc::socklen_t) {
        match self {
            Self::V4(to) => (ptr::from_mut(to).cast(), size_of_val(to) as u32),
            Self::V6(to) => (ptr::from_mut(to).cast(), size_of_val(to) as u32),
        }
    }
}
