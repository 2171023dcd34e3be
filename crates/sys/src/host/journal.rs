//! journald's socket for entries with fields: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
};

/// The socket of the host's journald.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// A connection to journald.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Journal {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    /// Sends an entry without waiting: `EAGAIN` if journald has not read earlier ones yet. An entry
    /// that is too long for a datagram goes in a sealed file in memory.
    pub fn send(&self, entry: &[u8]) -> nix::Result<()> {
        match self.try_send(entry) {
            // Another journald may have the socket now.
            Err(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOTCONN | Errno::EPIPE) => {
                let connected = self.socket.connect(&self.path);
                connected
                    .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
                self.try_send(entry)
            }
            result => result,
        }
    }

    /// Waits until journald may have room for an entry.
    pub fn wait_for_room(&self, patience: PollTimeout) -> nix::Result<()> {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        loop {
            match poll(&mut sockets, patience) {
                Ok(0) => return Err(Errno::EAGAIN),
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    fn try_send(&self, entry: &[u8]) -> nix::Result<()> {
        match self.send_message(&[IoSlice::new(entry)], &[]) {
            Err(Errno::EMSGSIZE | Errno::ENOBUFS) => {
                let file = sealed(entry)?;
                let rights = [file.as_raw_fd()];
                self.send_message(&[], &[ControlMessage::ScmRights(&rights)])
            }
            result => result,
        }
    }

    fn send_message(
        &self,
        parts: &[IoSlice<'_>],
        rights: &[ControlMessage<'_>],
    ) -> nix::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), parts, rights, flags, None).map(drop)
    }
}

/// A file in memory that its reader can trust not to change.
fn sealed(content: &[u8]) -> nix::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("heartbeat-journal", flags)?);
    file.write_all(content)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{IoSliceMut, Read as _, Seek as _},
        os::fd::{FromRawFd as _, RawFd},
    };

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    fn path(name: &str) -> PathBuf {
        let name = format!("heartbeat-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn entry_arrives_as_one_datagram_also_at_another_journald() {
        let path = path("journal-datagram");
        let first = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        let mut buffer = [0; 64];
        journal.send(b"MESSAGE=one\n").unwrap();
        let length = first.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MESSAGE=one\n");
        drop(first);
        assert_eq!(journal.send(b"MESSAGE=two\n"), Err(Errno::ECONNREFUSED));
        fs::remove_file(&path).unwrap();
        assert_eq!(journal.send(b"MESSAGE=three\n"), Err(Errno::ENOENT));
        let second = UnixDatagram::bind(&path).unwrap();
        journal.send(b"MESSAGE=four\n").unwrap();
        let length = second.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MESSAGE=four\n");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn long_entry_arrives_in_a_sealed_file() {
        let path = path("journal-long");
        let server = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        let entry = [b"MESSAGE=".to_vec(), vec![b'x'; 4 << 20], b"\n".to_vec()].concat();
        journal.send(&entry).unwrap();
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let mut room = nix::cmsg_space!(RawFd);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            recvmsg::<()>(server.as_raw_fd(), &mut parts, Some(&mut room), flags).unwrap();
        assert_eq!(message.bytes, 0);
        let rights = message.cmsgs().unwrap().next().unwrap();
        let ControlMessageOwned::ScmRights(rights) = rights else {
            panic!("no descriptor");
        };
        // SAFETY: the kernel has just made this descriptor for us.
        let mut file = unsafe { File::from_raw_fd(rights[0]) };
        file.rewind().unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert!(content == entry);
        assert!(file.write_all(b"x").is_err(), "it can be changed");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn entry_for_a_journald_that_does_not_read_is_refused_at_once() {
        let path = path("journal-hangs");
        let server = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        let refused = std::iter::repeat_with(|| journal.send(b"MESSAGE=x\n")).take(100_000);
        let refused = refused.filter_map(Result::err).next();
        assert_eq!(refused, Some(Errno::EAGAIN));
        assert_eq!(journal.wait_for_room(PollTimeout::ZERO), Err(Errno::EAGAIN));
        server.recv(&mut [0; 16]).unwrap();
        journal.wait_for_room(PollTimeout::ZERO).unwrap();
        fs::remove_file(path).unwrap();
    }
}
