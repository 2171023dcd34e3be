//! Passes connections through a socket that both ends inherited (SCM_RIGHTS, unix(7)). So each
//! request has a connection of its own, and no other process can send requests.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
        sendmsg, socketpair,
    },
};

/// The two ends. They carry whole messages, and each end notices the close of the other.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// Sends a connection. This never waits: `EAGAIN` if too many are on their way.
pub fn send(through: impl AsFd, connection: &UnixStream) -> nix::Result<()> {
    let rights = [connection.as_raw_fd()];
    sendmsg::<()>(
        through.as_fd().as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Receives a connection: `None` at the end; `EAGAIN` if there is none at present.
pub fn receive(through: impl AsFd) -> nix::Result<Option<UnixStream>> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!(std::os::fd::RawFd);
    let message = recvmsg::<()>(
        through.as_fd().as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    if message.bytes == 0 {
        return Ok(None);
    }
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = part
            && let [connection] = rights[..]
        {
            // SAFETY: the kernel has just made this descriptor for us.
            let connection = unsafe { OwnedFd::from_raw_fd(connection) };
            return Ok(Some(connection.into()));
        }
    }
    Err(Errno::EBADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn connection_arrives_and_its_end_is_noticed() {
        let (one, other) = pair().unwrap();
        assert_eq!(receive(&other).unwrap_err(), Errno::EAGAIN);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        send(&one, &theirs).unwrap();
        drop(theirs);
        let mut theirs = receive(&other).unwrap().unwrap();
        ours.write_all(b"x").unwrap();
        let mut byte = [0];
        theirs.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop(one);
        assert!(receive(&other).unwrap().is_none());
    }

    #[test]
    fn nobody_waits_for_one_who_does_not_take_them() {
        let (one, _other) = pair().unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let refused = std::iter::repeat_with(|| send(&one, &ours)).take(100_000);
        let refused = refused.filter_map(Result::err).next();
        assert!(matches!(refused, Some(Errno::EAGAIN | Errno::ETOOMANYREFS)));
    }
}
