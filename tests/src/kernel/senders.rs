//! Makes the socket that `BPF_PROG_TEST_RUN` gives to a leaving frame one of the agent's.
//!
//! The kernel makes that socket for the run alone, and gives it a cookie when the program asks for
//! it. Each CPU gives cookies in order, from its own batch. So the next ones follow that of a
//! socket which was just made.

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// `COOKIE_LOCAL_BATCH`, include/linux/cookie.h.
const BATCH: u64 = 4096;
/// The number of cookies that may be the socket's: other sockets on this CPU may get some first.
const AHEAD: u64 = 32;

/// The map `senders`.
pub(super) struct Senders {
    map: HashMap<MapData, u64, u32>,
    /// The link of the agent's socket by which frames leave; `None` for a foreign socket.
    pub(super) link: Option<u32>,
}

impl Senders {
    /// Entries that the map must have room for.
    pub(super) const ENTRIES: u32 = AHEAD as u32;

    pub(super) fn new(map: HashMap<MapData, u64, u32>) -> Self {
        Self { map, link: None }
    }

    /// Fills the map for one leaving frame, and calls `run`.
    pub(super) fn around<R>(&mut self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        let Some(link) = self.link else { return run() };
        stay_here()?;
        let last = cookie()?;
        let ahead = last + 1..=last + AHEAD;
        for cookie in ahead.clone() {
            self.map.insert(cookie, link, 0)?;
        }
        let ran = run();
        for cookie in ahead {
            self.map.remove(&cookie)?;
        }
        ran
    }
}

/// Keeps this thread on the CPU that it is on.
fn stay_here() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &here).context("cannot stay on one CPU")
}

/// A cookie with enough later ones in its batch.
fn cookie() -> Result<u64> {
    loop {
        let cookie = cookie_of(&UdpSocket::bind("127.0.0.1:0")?.into())?;
        // The last of a batch is a multiple of its length.
        if (1..BATCH - AHEAD).contains(&(cookie % BATCH)) {
            return Ok(cookie);
        }
    }
}

/// The number by which the kernel knows a socket.
pub fn cookie_of(socket: &OwnedFd) -> Result<u64> {
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointers and the length are those of `cookie` and `len`, which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    Errno::result(result).context("the socket has no cookie")?;
    Ok(cookie)
}
