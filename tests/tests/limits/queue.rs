//! A full send queue: the node stops serving in time, and reports no peer as down.

use std::{
    fs,
    net::SocketAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Result, bail, ensure};
use heartbeat_tests::{
    config::Family,
    e2e::{
        EventLog, MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{options, wait_logged, wait_status, with_cluster},
    },
    needs,
};
use nix::{
    errno::Errno,
    sys::socket::{SockaddrIn, getsockname, setsockopt, sockopt},
};

use crate::never_two_at_once;

/// A rate at which about one probe a second leaves.
const SLOW: [&str; 12] = [
    "qdisc", "add", "dev", "hb0", "root", "tbf", "rate", "1kbit", "burst", "1600", "limit",
    "1000000",
];

/// Duplicates the socket of process `pid` that is bound to `address`.
fn socket_of(pid: u32, address: SocketAddr) -> Result<OwnedFd> {
    let fd = |result: libc::c_long| -> Result<OwnedFd> {
        let fd = Errno::result(result)? as i32;
        // SAFETY: the system calls below make a new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: takes no pointer.
    let process = fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let number: i32 = entry?.file_name().to_string_lossy().parse()?;
        // SAFETY: takes no pointer.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        let Ok(taken) = fd(taken) else { continue };
        let name = getsockname::<SockaddrIn>(taken.as_raw_fd());
        if name.is_ok_and(|name| SocketAddr::V4(name.into()) == address) {
            return Ok(taken);
        }
    }
    bail!("process {pid} has no socket at {address}")
}

#[test]
fn node_with_a_full_send_queue_stops_serving_and_comes_back() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut event_log = EventLog::begin(cluster)?;
        // The smallest send buffer is full at once.
        let pid = cluster.node_mut("a")?.agent()?.pid();
        let probes = socket_of(pid, SocketAddr::new(Family::V4.address(0, 1), 694))?;
        setsockopt(&probes, sockopt::SndBuf, &1)?;
        drop(probes);
        let a = cluster.node("a")?;
        a.tool("tc", SLOW)?;
        wait_served(&client, "b", SOON)?;
        // Most probes are refused, and a few pass.
        wait_status(a, "its probes are refused", |status| {
            status.pulse.send_errors > 500
        })?;
        let refused = "probes could not be sent: EAGAIN";
        wait_logged(a, refused)?;
        let logged = a.logged()?.matches(refused).count();
        ensure!(logged == 1, "it says so {logged} times");

        a.tool("tc", ["qdisc", "del", "dev", "hb0", "root"])?;
        cluster.wait_well(SOON, "a")?;
        wait_served(&client, "a", SOON)?;
        never_two_at_once(cluster, &mut event_log, &client)?;
        // The peers received its kernel all the time. A node that does not send does not take
        // silence for death.
        event_log.no_down_reports()
    })
}
