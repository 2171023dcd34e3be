//! The kinds of frames whose cost is measured. All are of one length, but for probes with lease
//! entries.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::{
    lease::Vote,
    wire::{Incarnation, Kind},
};

use super::{
    ordinary::{Datagrams, Ordinary, Way},
    pair::{FAR, FAR_ADDRESS, INTERFACE, NEAR, NEAR_ADDRESS, PORT, Pair, STRANGER},
    probes::{MANY, PROBE_LEN, Prober, fill, header},
    votes::{self, Rival, Tally, Votes},
};
use crate::kernel::frames::FrameSpec;

/// Time between two frames where they are paced, as between heartbeats.
const PACE: Duration = Duration::from_millis(1);

/// The kind of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    Probes,
    /// Probes with that many lease entries, all of which meet that vote.
    Leases(Vote, usize),
    /// To the heartbeat port, not beginning as heartbeats do.
    BadMagic,
    /// A heartbeat from an address that is on no allow-list.
    UnknownPeer,
    /// A heartbeat from a peer's address whose tag is wrong.
    BadTag,
    /// Other datagrams, to another port.
    Ordinary(Way),
}

/// How densely the frames follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as one thread can send: all caches are warm.
    Flood,
    /// One frame per millisecond, like heartbeats: other work of the machine has filled the caches.
    Heartbeat,
}

/// Sends frames of every kind.
pub(super) struct Traffic {
    prober: Prober,
    votes: Votes,
    heard: Tally,
    rival: Rival,
    bad_magic: Datagrams,
    unknown_peer: Datagrams,
    bad_mac: Datagrams,
    ordinary: Ordinary,
}

impl Traffic {
    /// `ways` are those of all ordinary frames that it will be asked to send.
    pub(super) fn new(pair: &Pair, ways: impl IntoIterator<Item = Way>) -> Result<Self> {
        let mut plain = vec![0xaa; PROBE_LEN];
        let heartbeat_port = SocketAddr::new(FAR_ADDRESS, PORT);
        // The near node's own kernel lets nothing to that port out in its name that is not its
        // agent's.
        let forged = |payload: &[u8]| {
            let spec = FrameSpec::probe(NEAR.0, 0, 1).with(|spec| {
                (spec.from, spec.to) = (NEAR_ADDRESS, FAR_ADDRESS);
                (spec.source_port, spec.port) = (PORT, PORT);
            });
            Datagrams::on_the_wire(&pair.near, INTERFACE, spec.frame_around(payload)?)
        };
        let bad_magic = forged(&plain)?;
        // A reply, since the stamp would sign or refuse a probe; up to the MAC both fare alike. The
        // tag stays as it is, and is wrong.
        fill(
            &mut plain,
            &header(Kind::Reply, NEAR, FAR, Incarnation(1), 1),
        );
        Ok(Self {
            prober: Prober::start(pair)?,
            votes: Votes::open(pair)?,
            heard: Tally::default(),
            rival: Rival::start(pair)?,
            unknown_peer: Datagrams::new(&pair.near, STRANGER, heartbeat_port, plain.clone())?,
            bad_mac: forged(&plain)?,
            bad_magic,
            ordinary: Ordinary::new(pair, ways)?,
        })
    }

    /// Sends frames for about `span`. The programs and maps for them must be in place.
    pub(super) fn send(&mut self, kind: Frames, pace: Pace, span: Duration) -> Result<()> {
        self.prepare(kind)?;
        let start = Instant::now();
        while start.elapsed() < span {
            match pace {
                Pace::Flood => self.many(kind)?,
                Pace::Heartbeat => {
                    thread::sleep(PACE);
                    self.one(kind)?;
                }
            }
            self.listen(kind);
        }
        Ok(())
    }

    /// Once all that was sent has been answered: fails if the answers were others than `kind` is
    /// for.
    pub(super) fn check(&mut self, kind: Frames) -> Result<()> {
        self.listen(kind);
        match kind {
            Frames::Leases(vote, _) => self.heard.check(vote),
            _ => Ok(()),
        }
    }

    fn prepare(&mut self, kind: Frames) -> Result<()> {
        match kind {
            Frames::Probes => self.prober.carry(&[]),
            Frames::Leases(vote, count) => {
                self.votes.skip();
                self.heard = Tally::default();
                self.prober.carry(&votes::entries(vote, count));
                let held = self.rival.hold().context("the far node's own vote")?;
                ensure!(held, "the far node's kernel refused its own node a lease");
            }
            _ => {}
        }
        Ok(())
    }

    fn listen(&mut self, kind: Frames) {
        if let Frames::Leases(vote, _) = kind {
            self.heard.take(&mut self.votes, vote);
        }
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
            Frames::Probes | Frames::Leases(..) => None,
            Frames::BadMagic => Some(&self.bad_magic),
            Frames::UnknownPeer => Some(&self.unknown_peer),
            Frames::BadTag => Some(&self.bad_mac),
            Frames::Ordinary(way) => Some(self.ordinary.datagrams(way)),
        }
    }
}
