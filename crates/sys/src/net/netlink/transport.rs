//! Requests to the kernel over one rtnetlink socket, one at a time.
//!
//! This module handles the framing, acknowledgement and errors of netlink, and nothing about
//! addresses or interfaces. It must never wait for an answer without a limit.

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt::ReceiveTimeout},
        time::TimeVal,
    },
};
use std::{fmt, io};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_MIN_TYPE: u16 = 16;
/// `NLMSGERR_ATTR_MSG` of linux/netlink.h: the reason as text.
const EXTENDED_ACK_TEXT: u16 = 1;
/// The kernel fills dumps up to this size, and no answer is longer.
const BUFFER_LEN: usize = 32 * 1024;
/// Answers are in the socket when `send` returns, so this time passes only if something is broken.
const ANSWER_TIMEOUT_SECONDS: i64 = 1;
/// Number of attempts at a list that changes while it is read.
const DUMP_ATTEMPTS: u32 = 8;

/// The reason why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused the request; `detail` is its own explanation, if it gave one.
    Refused {
        errno: Errno,
        detail: Option<String>,
    },
    /// The socket failed, or no answer came in time.
    Socket(io::Error),
    /// An answer that could not be read.
    Unreadable(String),
    /// The list changed each time that it was read.
    Unstable,
}

impl Failure {
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { errno, detail } => {
                write!(f, "{} ({errno:?})", errno.desc().to_lowercase())?;
                match detail {
                    Some(detail) => write!(f, ", the kernel adds: {detail}"),
                    None => Ok(()),
                }
            }
            Self::Socket(error) if error.kind() == io::ErrorKind::WouldBlock => {
                write!(
                    f,
                    "the kernel did not answer within {ANSWER_TIMEOUT_SECONDS} s"
                )
            }
            Self::Socket(error) => write!(f, "the netlink socket failed: {error}"),
            Self::Unreadable(why) => write!(f, "the kernel's answer cannot be read: {why}"),
            Self::Unstable => write!(f, "the list kept changing while it was read"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

pub(super) struct Transport {
    socket: Socket,
    sequence: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Only the kernel (port 0) may answer; other processes' messages are refused.
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // Both options only improve answers, and the oldest kernels lack them: reasons as text, and
        // lists filtered by the kernel. (The lists are filtered here again.)
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        setsockopt(
            &socket,
            ReceiveTimeout,
            &TimeVal::new(ANSWER_TIMEOUT_SECONDS, 0),
        )?;
        Ok(Self {
            socket,
            sequence: 0,
            request: Vec::with_capacity(1024),
            answer: Vec::with_capacity(BUFFER_LEN),
        })
    }

    /// Makes the kernel carry out a request, and waits until that is done.
    pub(super) fn execute(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Failure> {
        self.exchange(message, flags | NLM_F_ACK, |_| Ok(()))
    }

    /// Requests one object. `read` gets the body of each message of the answer.
    pub(super) fn get<T>(
        &mut self,
        message: RouteNetlinkMessage,
        mut read: impl FnMut(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Failure> {
        let mut found = None;
        self.exchange(message, NLM_F_ACK, |body| {
            found = Some(read(body)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Requests a consistent list.
    pub(super) fn list<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        mut read: impl FnMut(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, Failure> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut items = Vec::new();
            let result = self.exchange(message.clone(), NLM_F_DUMP, |body| {
                items.push(read(body)?);
                Ok(())
            });
            match result {
                Ok(()) => return Ok(items),
                Err(Failure::Unstable) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Unstable)
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut read: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), Failure> {
        self.send(message, flags)?;
        let mut unstable = false;
        loop {
            self.receive()?;
            let mut rest = self.answer.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest)?;
                let aligned = (message.length() as usize).next_multiple_of(4);
                rest = &rest[aligned.min(rest.len())..];
                // The message belongs to an earlier request whose answer came too late.
                if message.sequence_number() != self.sequence {
                    continue;
                }
                unstable |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        outcome(&message)?;
                        return if unstable {
                            Err(Failure::Unstable)
                        } else {
                            Ok(())
                        };
                    }
                    kind if kind >= NLMSG_MIN_TYPE => read(message.payload())?,
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        self.request.clear();
        self.request.resize(message.header.length as usize, 0);
        message.serialize(&mut self.request);
        self.socket.send(&self.request, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.answer.clear();
            match self.socket.recv(&mut self.answer, libc::MSG_TRUNC) {
                Ok(len) if len > self.answer.len() => {
                    return Err(io::Error::other(format!(
                        "an answer of {len} bytes was cut"
                    )));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The result in an acknowledgement, or in the end of a list.
fn outcome(message: &NetlinkBuffer<&[u8]>) -> Result<(), Failure> {
    let body = message.payload();
    if message.message_type() == NLMSG_DONE && body.is_empty() {
        return Ok(());
    }
    // The end of a list begins with the same error code.
    let code = ErrorBuffer::new_checked(body)?.code();
    let Some(code) = code else { return Ok(()) };
    let attributes = match message.message_type() {
        NLMSG_DONE => body.get(4..),
        // The code is followed by the header of our own request, without its body.
        _ if message.flags() & NLM_F_CAPPED != 0 => body.get(4 + 16..),
        _ => None,
    };
    let detail = attributes.and_then(|bytes| {
        let mut attributes = NlasIterator::new(bytes).flatten();
        attributes
            .find(|a| a.kind() == EXTENDED_ACK_TEXT)
            .map(|a| as_clause(a.value()))
    });
    Err(Failure::Refused {
        errno: Errno::from_raw(code.get().saturating_abs()),
        detail,
    })
}

/// The kernel's sentence as a part of ours: "Device not found." gets a lower-case letter, "IPv6 is
/// disabled" does not.
fn as_clause(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches(['\0', '.']);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `NLMSG_ERROR` in the kernel's form with capped and extended acknowledgement.
    fn refusal(code: i32, text: Option<&str>) -> Vec<u8> {
        let mut body = code.to_ne_bytes().to_vec();
        body.extend([0xee; 16]);
        if let Some(text) = text {
            let value_len = text.len() + 1;
            body.extend((4 + value_len as u16).to_ne_bytes());
            body.extend(EXTENDED_ACK_TEXT.to_ne_bytes());
            body.extend(text.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
        message.extend(NLMSG_ERROR.to_ne_bytes());
        message.extend((NLM_F_CAPPED | 0x200).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        message
    }

    fn outcome_of(bytes: &[u8]) -> Result<(), Failure> {
        outcome(&NetlinkBuffer::new_checked(bytes).unwrap())
    }

    #[test]
    fn acknowledgement_is_no_error() {
        outcome_of(&refusal(0, None)).unwrap();
    }

    #[test]
    fn refusal_is_told_with_the_kernels_words() {
        let error = outcome_of(&refusal(-libc::EADDRNOTAVAIL, None)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EADDRNOTAVAIL));
        assert_eq!(
            error.to_string(),
            "cannot assign requested address (EADDRNOTAVAIL)"
        );
        let error =
            outcome_of(&refusal(-libc::EINVAL, Some("Invalid prefix length."))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid argument (EINVAL), the kernel adds: invalid prefix length"
        );
        let error = outcome_of(&refusal(-libc::EACCES, Some("IPv6 is disabled"))).unwrap_err();
        assert!(error.to_string().ends_with("adds: IPv6 is disabled"));
    }

    #[test]
    fn cut_refusal_is_unreadable_not_a_panic() {
        let whole = refusal(-libc::EPERM, Some("no"));
        for len in 16..whole.len() {
            let mut cut = whole[..len].to_vec();
            cut[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            let _ = outcome_of(&cut);
        }
    }
}
