//! A slow link between the switch and a node. It delays frames to the node, by another time for
//! each sender, and reorders them.
//!
//! This kernel has no netem. Two threads carry the frames between two interfaces of the switch, as
//! they are, offloads included.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{MsgFlags, SockProtocol, recv},
        time::TimeSpec,
    },
};

use crate::{e2e::flood::raw_socket, netns::Namespace};

/// The option for a header with checksum and segment data in front of each frame.
const PACKET_VNET_HDR: libc::c_int = 15;
const VNET_HDR_LEN: usize = 10;
/// The option that hides frames sent on this host.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// A length above that of any frame, including unsegmented ones.
const MAX_FRAME: usize = 1 << 17;
/// The period in which an idle thread checks whether it must end.
const IDLE: Duration = Duration::from_millis(50);

pub type Mac = [u8; 6];

/// The shortest and the longest delay of each sender's frames.
type Delays = Arc<Mutex<HashMap<Mac, (Duration, Duration)>>>;

/// A running relay. It ends when this value is dropped.
#[derive(Debug)]
pub struct Relay {
    delays: Delays,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts to carry frames between `near`, the node's side, and `far`, both in `ns`.
    pub(crate) fn start(ns: &Namespace, near: &str, far: &str) -> Result<Self> {
        let (near, far) = (wire(ns, near)?, wire(ns, far)?);
        let delays = Delays::default();
        // The relay owns the threads from the start: if the second fails, the first ends.
        let mut relay = Self {
            delays: Arc::clone(&delays),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let (ear, mouth) = (near.try_clone()?, far.try_clone()?);
        relay.spawn("relay-out", ear, mouth, Delays::default())?;
        relay.spawn("relay-in", far, near, delays)?;
        Ok(relay)
    }

    /// Delays each frame from `from` to the node by a pseudo-random time between `least` and
    /// `most`.
    pub fn delay(&self, from: Mac, least: Duration, most: Duration) {
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        delays.insert(from, (least, most));
    }

    fn spawn(&mut self, name: &str, ear: OwnedFd, mouth: OwnedFd, delays: Delays) -> Result<()> {
        let stop = Arc::clone(&self.stop);
        let mut carrier = Carrier {
            ear,
            mouth,
            delays,
            held: BTreeMap::new(),
            count: 0,
        };
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                carrier.carry();
            }
        });
        self.threads.push(thread.context("cannot start a relay")?);
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of the thread was shown when it happened.
            let _ = thread.join();
        }
    }
}

/// One direction of a relay.
struct Carrier {
    ear: OwnedFd,
    mouth: OwnedFd,
    delays: Delays,
    /// The held frames by their departure and number.
    held: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
}

impl Carrier {
    /// Reads the frames that have come, and writes those that are due.
    fn carry(&mut self) {
        let due = self.held.first_key_value().map(|((due, _), _)| *due);
        let patience = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
        // A spurious wakeup only costs one more check.
        let _ = ppoll(&mut fds, Some(TimeSpec::from(patience.min(IDLE))), None);
        let mut frame = vec![0; MAX_FRAME];
        while let Ok(len) = recv(self.ear.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            self.hold(frame[..len].to_vec());
        }
        let now = Instant::now();
        while let Some(first) = self.held.first_entry()
            && first.key().0 <= now
        {
            // A frame that the interface does not take is lost, as on any wire.
            let _ = nix::unistd::write(&self.mouth, &first.remove());
        }
    }

    fn hold(&mut self, frame: Vec<u8>) {
        let from = frame.get(VNET_HDR_LEN + 6..VNET_HDR_LEN + 12);
        let from: Option<Mac> = from.and_then(|from| from.try_into().ok());
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let (least, most) = from
            .and_then(|from| delays.get(&from).copied())
            .unwrap_or_default();
        self.count += 1;
        // The golden ratio spreads the delays well enough between the limits.
        let spread = (self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32;
        let more = (most.saturating_sub(least) * spread) / (1 << 16);
        self.held
            .insert((Instant::now() + least + more, self.count), frame);
    }
}

/// Opens a raw socket that receives incoming frames of `interface` unchanged.
fn wire(ns: &Namespace, interface: &str) -> Result<OwnedFd> {
    let socket = raw_socket(ns, interface, Some(SockProtocol::EthAll))?;
    for option in [PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING] {
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads an int from a valid pointer during the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                ptr::from_ref(&on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        Errno::result(result)
            .with_context(|| format!("cannot set option {option} of a packet socket"))?;
    }
    Ok(socket)
}
