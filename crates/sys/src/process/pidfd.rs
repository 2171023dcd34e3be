//! A descriptor of one process, which stays valid when the id is reused (pidfd_open(2)).

use std::{
    io,
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd},
    task::{Context, Poll},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::Pid,
};
use tokio::io::unix::AsyncFd;

use crate::files::readiness::readable;

/// A process whose end can be awaited, whatever its parent.
#[derive(Debug)]
pub struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Opens the process that has this id now, even if it has ended and is not reaped yet. `ESRCH`
    /// if there is none.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the descriptor is new, and nothing else owns it. The kernel closes it on exec.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(readable(fd)?))
    }

    /// Returns when the process has ended, without reaping it. Cancel-safe.
    pub async fn ended(&self) -> io::Result<()> {
        let _ready = self.0.readable().await?;
        Ok(())
    }

    /// Ready once all threads have ended and their files and memory are released.
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error means that the runtime ends, and its tasks with it.
        while let Poll::Ready(Ok(mut ready)) = self.0.poll_read_ready(context) {
            if self.is_gone() {
                return Poll::Ready(());
            }
            ready.clear_ready();
        }
        Poll::Pending
    }

    fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.0.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(1)
    }
}
