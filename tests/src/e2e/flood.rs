//! Frames sent as fast as one thread can, and frames recorded from a wire.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind,
        recv, sendmmsg, setsockopt, socket, sockopt,
    },
    sys::time::TimeVal,
};

use crate::{netns::Namespace, sys};

/// The number of frames in one system call.
const BATCH: usize = 64;
/// A length above that of any frame here.
const MAX_FRAME: usize = 2_048;

/// A running flood. It ends when this value is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    begun: Instant,
    thread: Option<JoinHandle<u64>>,
}

/// The result of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub frames: u64,
    pub lasted: Duration,
}

impl Sent {
    /// Frames per second.
    pub fn rate(self) -> f64 {
        self.frames as f64 / self.lasted.as_secs_f64()
    }
}

impl Flood {
    /// Starts to send `frames` repeatedly out of `interface` in `ns`.
    pub fn start(ns: &Namespace, interface: &str, frames: Vec<Vec<u8>>) -> Result<Self> {
        ensure!(!frames.is_empty(), "a flood of nothing");
        let mouth = raw_socket(ns, interface, None)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // An attacker would have a CPU of its own. Here it must not take the CPU time in which
            // its victim's receive queues are emptied.
            sys::idle();
            pour(&mouth, &frames, &stopped)
        });
        Ok(Self {
            stop,
            begun: Instant::now(),
            thread: Some(thread),
        })
    }

    /// Ends the flood.
    pub fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let lasted = self.begun.elapsed();
        let thread = self.thread.take().context("it has ended before")?;
        let frames = thread.join().map_err(|_| anyhow!("the flood panicked"))?;
        Ok(Sent { frames, lasted })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the number of frames that the interface took. A flood may lose some at a full queue.
fn pour(mouth: &OwnedFd, frames: &[Vec<u8>], stopped: &AtomicBool) -> u64 {
    let slices: Vec<[IoSlice<'_>; 1]> = frames
        .iter()
        .cycle()
        .take(BATCH.max(frames.len()))
        .map(|frame| [IoSlice::new(frame)])
        .collect();
    let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, None);
    let nowhere = vec![None; BATCH];
    let mut sent = 0;
    while !stopped.load(Ordering::Relaxed) {
        for batch in slices.chunks(BATCH) {
            let flags = MsgFlags::empty();
            let result = sendmmsg(mouth.as_raw_fd(), &mut headers, batch, &nowhere, [], flags);
            sent += result.map_or(0, |results| results.count() as u64);
        }
    }
    sent
}

/// Sends each of `frames` once.
pub fn send(ns: &Namespace, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    let mouth = raw_socket(ns, interface, None)?;
    for frame in frames {
        nix::unistd::write(&mouth, frame)?;
    }
    Ok(())
}

/// Lets frames of a raw socket bypass the programs at TC egress, which would drop some of them
/// before their receiver's cost is measured.
pub(crate) fn bypass_egress(socket: &OwnedFd) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(
        result == 0,
        "a raw socket cannot bypass TC egress: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// Records the next `count` incoming frames of `interface` that are `wanted`.
pub fn record(
    ns: &Namespace,
    interface: &str,
    count: usize,
    patience: Duration,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Vec<u8>>> {
    let ear = raw_socket(ns, interface, Some(SockProtocol::EthAll))?;
    setsockopt(&ear, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
    let until = Instant::now() + patience;
    let mut frames = Vec::new();
    let mut frame = vec![0; MAX_FRAME];
    while frames.len() < count {
        ensure!(
            Instant::now() < until,
            "only {} of {count} frames came by {interface}",
            frames.len()
        );
        // A time-out without a frame is no error.
        let len = recv(ear.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap_or(0);
        if len > 0 && wanted(&frame[..len]) {
            frames.push(frame[..len].to_vec());
        }
    }
    Ok(frames)
}

/// Opens a raw socket on one interface that receives frames of `protocol`.
pub(crate) fn raw_socket(
    ns: &Namespace,
    interface: &str,
    protocol: Option<SockProtocol>,
) -> Result<OwnedFd> {
    ns.enter(|| {
        let opened = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        let mut all = getifaddrs()?.filter(|entry| entry.interface_name == interface);
        let address = all.find_map(|entry| entry.address?.as_link_addr().copied());
        let address = address.with_context(|| format!("there is no interface {interface}"))?;
        bind(opened.as_raw_fd(), &address)?;
        Ok(opened)
    })
}
