//! Ordinary traffic: datagrams that are no heartbeats, over each of the cables.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::OwnedFd,
};

use anyhow::{Context as _, Result};
use heartbeat_common::guard::Direction;
use nix::unistd::write;

use super::{
    guarded::{self, Subject},
    pair::{BASELINE_FAR, BASELINE_NEAR, FAR_ADDRESS, NEAR_ADDRESS, Pair},
    probes::PROBE_LEN,
};
use crate::{
    e2e::flood::{bypass_egress, raw_socket},
    netns::Namespace,
};

/// Any port that is not the heartbeat's.
const PORT: u16 = 7_701;

/// The direction of a datagram: to the far node, or away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the cable that no program is on.
    Bare(Direction),
    /// Through the program that only passes.
    PassOnly,
    /// By the link of the heartbeats.
    Link,
    /// By an interface that carries a guarded address, and no heartbeats.
    Guard(Direction, Subject),
    /// By one that carries both.
    GuardedLink(Subject),
}

impl Way {
    /// Whether any address is to be guarded then, if it matters.
    pub(super) fn wants_vips(self) -> Option<bool> {
        match self {
            Self::Guard(_, subject) | Self::GuardedLink(subject) => Some(subject != Subject::NoVip),
            Self::Bare(_) | Self::PassOnly | Self::Link => None,
        }
    }

    /// From where to where.
    fn ends(self) -> (Direction, IpAddr, IpAddr) {
        let (direction, near, far) = match self {
            Self::Bare(direction) => (direction, guarded::BARE_NEAR, guarded::BARE_FAR),
            Self::PassOnly => (Direction::In, BASELINE_NEAR, BASELINE_FAR),
            Self::Link => (Direction::In, NEAR_ADDRESS, FAR_ADDRESS),
            Self::Guard(direction, Subject::Vip) => {
                (direction, guarded::NEAR_ADDRESS, guarded::VIP)
            }
            Self::Guard(direction, _) => (direction, guarded::NEAR_ADDRESS, guarded::FAR_ADDRESS),
            Self::GuardedLink(Subject::Vip) => {
                (Direction::In, guarded::LINK_NEAR, guarded::LINK_VIP)
            }
            Self::GuardedLink(_) => (Direction::In, guarded::LINK_NEAR, guarded::LINK_FAR),
        };
        match direction {
            Direction::In => (direction, near, far),
            Direction::Out => (direction, far, near),
        }
    }
}

/// Sends ordinary datagrams each way.
#[derive(Debug)]
pub(super) struct Ordinary {
    datagrams: Vec<(Way, Datagrams)>,
    /// Bound, so that no ICMP message answers what passes; never read.
    _sinks: [UdpSocket; 2],
}

impl Ordinary {
    pub(super) fn new(pair: &Pair, ways: impl IntoIterator<Item = Way>) -> Result<Self> {
        let datagrams = ways.into_iter().map(|way| {
            let (direction, from, to) = way.ends();
            let ns = match direction {
                Direction::In => &pair.near,
                Direction::Out => &pair.far,
            };
            let payload = vec![0xaa; PROBE_LEN];
            let datagrams = Datagrams::new(ns, from, SocketAddr::new(to, PORT), payload)?;
            Ok((way, datagrams))
        });
        Ok(Self {
            datagrams: datagrams.collect::<Result<_>>()?,
            _sinks: [sink(&pair.near)?, sink(&pair.far)?],
        })
    }

    /// # Panics
    /// If it was not made for that way.
    pub(super) fn datagrams(&self, way: Way) -> &Datagrams {
        let found = self.datagrams.iter().find(|(known, _)| *known == way);
        let Some((_, datagrams)) = found else {
            panic!("no socket was opened for the way {way:?}");
        };
        datagrams
    }
}

/// The same datagram, again and again.
#[derive(Debug)]
pub(super) struct Datagrams {
    way_out: WayOut,
    /// The frame, where it is put on the wire as it is.
    payload: Vec<u8>,
}

#[derive(Debug)]
enum WayOut {
    Stack(UdpSocket),
    /// Past TC egress, where the sender's own programs drop what looks like a forgery.
    Wire(OwnedFd),
}

impl Datagrams {
    pub(super) fn new(
        ns: &Namespace,
        from: IpAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    ) -> Result<Self> {
        let socket = ns.enter(|| {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect(to)?;
            Ok(socket)
        })?;
        let way_out = WayOut::Stack(socket);
        Ok(Self { way_out, payload })
    }

    /// The whole `frame`, put on the wire at `interface`.
    pub(super) fn on_the_wire(ns: &Namespace, interface: &str, frame: Vec<u8>) -> Result<Self> {
        let socket = raw_socket(ns, interface, None)?;
        bypass_egress(&socket)?;
        Ok(Self {
            way_out: WayOut::Wire(socket),
            payload: frame,
        })
    }

    pub(super) fn send(&self) -> Result<()> {
        let sent = match &self.way_out {
            WayOut::Stack(socket) => socket.send(&self.payload),
            WayOut::Wire(socket) => write(socket, &self.payload).map_err(std::io::Error::from),
        };
        sent.context("a datagram could not be sent")?;
        Ok(())
    }
}

fn sink(ns: &Namespace) -> Result<UdpSocket> {
    let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    ns.enter(|| UdpSocket::bind(address).with_context(|| format!("cannot bind {address}")))
}
