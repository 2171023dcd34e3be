//! The kinds of frames whose cost is measured. All are of one length.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use heartbeat_common::wire::{Incarnation, Kind};

use super::{
    pair::{
        BASELINE_FAR, BASELINE_NEAR, FAR, FAR_ADDRESS, NEAR, NEAR_ADDRESS, PORT, Pair, STRANGER,
    },
    probes::{MANY, PROBE_LEN, Prober, fill, header},
};
use crate::netns::Namespace;

/// Any port that is not the heartbeat's.
const OTHER_PORT: u16 = 7_701;
/// Time between two frames where they are paced, as between heartbeats.
const PACE: Duration = Duration::from_millis(1);

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// Over the other cable, through the program that only passes.
    Baseline,
    Probes,
    /// To the heartbeat port, not beginning as heartbeats do.
    BadMagic,
    /// A heartbeat from an address that is on no allow-list.
    UnknownPeer,
    /// A heartbeat from a peer's address whose tag is wrong.
    BadMac,
    /// Other datagrams, to another port.
    Other,
}

/// How densely the frames follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as one thread can send: all caches are warm.
    Flood,
    /// One per millisecond, as heartbeats come: caches are as the rest of the machine left them.
    Heartbeat,
}

/// Sends frames of every kind.
#[derive(Debug)]
pub(super) struct Traffic {
    prober: Prober,
    baseline: Datagrams,
    bad_magic: Datagrams,
    unknown_peer: Datagrams,
    bad_mac: Datagrams,
    other: Datagrams,
    /// Bound, so that no ICMP message answers what passes; never read.
    _sinks: [UdpSocket; 2],
}

impl Traffic {
    pub(super) fn new(pair: &Pair) -> Result<Self> {
        let mut plain = vec![0xaa; PROBE_LEN];
        let heartbeat_port = SocketAddr::new(FAR_ADDRESS, PORT);
        let bad_magic = Datagrams::new(&pair.near, NEAR_ADDRESS, heartbeat_port, plain.clone())?;
        let other = SocketAddr::new(FAR_ADDRESS, OTHER_PORT);
        let baseline = SocketAddr::new(BASELINE_FAR, OTHER_PORT);
        let sinks = [sink(&pair.far, other)?, sink(&pair.far, baseline)?];
        let other = Datagrams::new(&pair.near, NEAR_ADDRESS, other, plain.clone())?;
        let baseline = Datagrams::new(&pair.near, BASELINE_NEAR, baseline, plain.clone())?;
        // A reply, since the stamp would sign or refuse a probe; up to the MAC both fare alike. The
        // tag stays as it is, and is wrong.
        fill(
            &mut plain,
            &header(Kind::Reply, NEAR, FAR, Incarnation(1), 1),
        );
        Ok(Self {
            prober: Prober::start(pair)?,
            unknown_peer: Datagrams::new(&pair.near, STRANGER, heartbeat_port, plain.clone())?,
            bad_mac: Datagrams::new(&pair.near, NEAR_ADDRESS, heartbeat_port, plain)?,
            bad_magic,
            other,
            baseline,
            _sinks: sinks,
        })
    }

    /// Sends for about as long as `span`.
    pub(super) fn send(&mut self, kind: Frames, pace: Pace, span: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < span {
            match pace {
                Pace::Flood => self.many(kind)?,
                Pace::Heartbeat => {
                    thread::sleep(PACE);
                    self.one(kind)?;
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, kind: Frames) -> Result<()> {
        match self.datagrams(kind) {
            Some(datagrams) => datagrams.send(),
            None => self.prober.send_one().map(drop),
        }
    }

    fn many(&mut self, kind: Frames) -> Result<()> {
        match self.datagrams(kind) {
            Some(datagrams) => (0..MANY).try_for_each(|_| datagrams.send()),
            None => self.prober.send_many(),
        }
    }

    /// Probes are no datagrams that could be repeated.
    fn datagrams(&self, kind: Frames) -> Option<&Datagrams> {
        match kind {
            Frames::Probes => None,
            Frames::Baseline => Some(&self.baseline),
            Frames::BadMagic => Some(&self.bad_magic),
            Frames::UnknownPeer => Some(&self.unknown_peer),
            Frames::BadMac => Some(&self.bad_mac),
            Frames::Other => Some(&self.other),
        }
    }
}

/// The same datagram, again and again.
#[derive(Debug)]
struct Datagrams {
    socket: UdpSocket,
    payload: Vec<u8>,
}

impl Datagrams {
    fn new(ns: &Namespace, from: IpAddr, to: SocketAddr, payload: Vec<u8>) -> Result<Self> {
        let socket = ns.enter(|| {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect(to)?;
            Ok(socket)
        })?;
        Ok(Self { socket, payload })
    }

    fn send(&self) -> Result<()> {
        self.socket
            .send(&self.payload)
            .context("a datagram could not be sent")?;
        Ok(())
    }
}

fn sink(ns: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    ns.enter(|| UdpSocket::bind(address).with_context(|| format!("cannot bind {address}")))
}
