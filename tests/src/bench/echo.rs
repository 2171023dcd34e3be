//! A UDP echo in userspace, and the records of its round trips.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use super::{
    children::{Process, Role},
    pair::{FAR_ADDRESS, NEAR_ADDRESS, Pair},
    probes::PROBE_LEN,
    quantiles::Quantiles,
    rtt::Asked,
    stamps::{Stamp, StampedSocket},
};
use crate::wait_until;

/// The longest start of an echo.
const START: Duration = Duration::from_secs(10);

/// Bytes that may wait for an echo: one that is not scheduled is late, as a long round trip shows,
/// and should not also lose what does not fit.
const BACKLOG: usize = 8 << 20;

/// An echo process on the far node, and a socket on the near one that asks it.
#[derive(Debug)]
pub(super) struct Echo {
    socket: StampedSocket,
    process: Process,
    payload: [u8; PROBE_LEN],
    /// Number of the first datagram that counts: earlier ones waited for the process to start.
    first: u32,
    trips: Vec<Trip>,
    open: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trip {
    left: Option<Duration>,
    arrived: Option<Duration>,
    answered: bool,
}

impl Echo {
    /// Starts an echo and waits until it answers, and until the kernel stamps.
    pub(super) fn start(pair: &Pair, role: Role, limit: Duration) -> Result<Self> {
        let far = pair
            .far
            .enter(|| Ok(UdpSocket::bind((FAR_ADDRESS, 0))?))
            .context("cannot bind the socket of an echo")?;
        setsockopt(&far, RcvBufForce, &BACKLOG).context("cannot enlarge an echo's buffer")?;
        let address = far.local_addr()?;
        let near = SocketAddr::new(NEAR_ADDRESS, 0);
        let socket = pair.near.enter(|| StampedSocket::open(near, address))?;
        let process = Process::start(role, limit, Stdio::from(OwnedFd::from(far)))?;
        let mut echo = Self {
            socket,
            process,
            payload: [0; PROBE_LEN],
            first: 0,
            trips: Vec::new(),
            open: 0,
        };
        wait_until(START, "an echo answers", || {
            echo.process.check()?;
            echo.ask()?;
            echo.collect()?;
            Ok(echo.trips.iter().any(|trip| trip.nanos().is_some()))
        })?;
        // Until all are back, so that none runs beside those that count.
        wait_until(START, "an echo answers all", || {
            echo.collect()?;
            Ok(!echo.outstanding())
        })?;
        echo.first = echo.trips.len() as u32;
        echo.trips.clear();
        Ok(echo)
    }

    /// Fails if the process ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// The trip of datagram `number`, if it counts.
    fn trip(&mut self, number: u32) -> Option<&mut Trip> {
        let index = number.checked_sub(self.first)?;
        self.trips.get_mut(index as usize)
    }
}

impl Asked for Echo {
    fn ask(&mut self) -> Result<()> {
        self.socket.send(&mut self.payload)?;
        self.trips.push(Trip::default());
        self.open += 1;
        Ok(())
    }

    fn collect(&mut self) -> Result<()> {
        while let Some(stamp) = self.socket.next()? {
            let (Stamp::Left { number, .. } | Stamp::Arrived { number, .. }) = stamp;
            let Some(trip) = self.trip(number) else {
                continue;
            };
            let was_open = trip.is_open();
            match stamp {
                Stamp::Left { at, .. } => trip.left = Some(at),
                Stamp::Arrived { at, .. } => {
                    trip.answered = true;
                    trip.arrived = at;
                }
            }
            if was_open && !trip.is_open() {
                self.open -= 1;
            }
        }
        Ok(())
    }

    fn outstanding(&self) -> bool {
        self.open > 0
    }

    fn quantiles(&self) -> Quantiles {
        let nanos = self.trips.iter().filter_map(Trip::nanos).collect();
        Quantiles::new(nanos, self.trips.len())
    }
}

impl Trip {
    fn is_open(&self) -> bool {
        self.left.is_none() || !self.answered
    }

    fn nanos(&self) -> Option<u64> {
        Some(self.arrived?.checked_sub(self.left?)?.as_nanos() as u64)
    }
}
