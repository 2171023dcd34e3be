//! Lease entries: what is asked, and what the near node's kernel receives of the votes.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, RingBuf};
use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::{Ballot, Operation, Vote},
    maps::VoteEvent,
    time::Boottime,
    wire::{Incarnation, LeaseEntry, MAX_LEASES, NodeId},
};
use heartbeat_user::dataplane::OwnVote;

use super::{
    pair::{FAR, MAX_LEASE, NEAR, Pair},
    probes::VOTER_SET,
};
use crate::{sys::boottime, wait::wait_until};

/// Groups that the near node is granted.
const GRANTED_FROM: u16 = 1;
/// Groups that the far node holds.
const REFUSED_FROM: u16 = 101;
/// Share of the votes that must be what was meant to be measured.
const AS_MEANT: f64 = 0.9;

/// The first `count` entries of the near node that meet `vote`.
pub(super) fn entries(vote: Vote, count: usize) -> Vec<LeaseEntry> {
    let from = match vote {
        Vote::Refused => REFUSED_FROM,
        Vote::Granted | Vote::Abstains => GRANTED_FROM,
    };
    requests(from, NEAR, count)
}

fn requests(from: u16, node: NodeId, count: usize) -> Vec<LeaseEntry> {
    let entry = |group| LeaseEntry {
        group,
        operation: Operation::Renew as u8,
        vote: Vote::Abstains as u8,
        micros: MAX_LEASE.as_micros() as u32,
        ballot: Ballot::new(1, node).0,
    };
    (from..).take(count).map(entry).collect()
}

/// The far node, as one that holds leases by the vote of its own kernel.
#[derive(Debug)]
pub(super) struct Rival {
    own: OwnVote,
    entries: Vec<LeaseEntry>,
    event: VoteEvent,
}

impl Rival {
    /// Waits until the far acceptor votes. The near one was there first, and does by then.
    pub(super) fn start(pair: &Pair) -> Result<Self> {
        let incarnation = Incarnation(boottime().as_nanos());
        let key = pair.key();
        let mut rival = Self {
            own: pair.far_plane().own_vote(key, incarnation, incarnation.0)?,
            entries: requests(REFUSED_FROM, FAR, MAX_LEASES),
            event: VoteEvent::zeroed(),
        };
        rival.own.claim_by(VOTER_SET.claiming);
        wait_until(MAX_LEASE * 5, "the far acceptor votes", || rival.hold())?;
        Ok(rival)
    }

    /// Holds its leases for another [`MAX_LEASE`]; false if they were not granted.
    pub(super) fn hold(&mut self) -> Result<bool> {
        self.own.ask(&self.entries, boottime(), &mut self.event)?;
        let granted = |entry: &LeaseEntry| entry.vote == Vote::Granted as u8;
        Ok(self.event.entries.iter().all(granted))
    }
}

/// The votes that came with replies to the near node.
pub(super) struct Votes {
    ring: RingBuf<MapData>,
}

impl Votes {
    /// Opens the ring of votes. Only one value may read it at a time.
    pub(super) fn open(pair: &Pair) -> Result<Self> {
        let path = pair.near_plane().pins().path("votes");
        let map =
            MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut votes = Self {
            ring: Map::RingBuf(map).try_into()?,
        };
        votes.skip();
        Ok(votes)
    }

    /// Passes over all that have come by now.
    pub(super) fn skip(&mut self) {
        while self.next().is_some() {}
    }

    /// The next event, if there is one by now.
    pub(super) fn next(&mut self) -> Option<VoteEvent> {
        let item = self.ring.next()?;
        bytemuck::try_pod_read_unaligned(&item).ok()
    }
}

impl AsFd for Votes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Whether the votes of a window were those that were to be measured.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: u64,
    as_meant: u64,
}

impl Tally {
    /// Takes all votes that have come. They must be taken often, or the ring has no room for more.
    pub(super) fn take(&mut self, votes: &mut Votes, meant: Vote) {
        while let Some(event) = votes.next() {
            if event.acceptor().is_none() {
                continue;
            }
            for entry in event.entries.iter().take(event.count as usize) {
                self.received += 1;
                self.as_meant += u64::from(entry.vote == meant as u8);
            }
        }
    }

    /// Fails if there were none, or other ones.
    pub(super) fn check(&self, meant: Vote) -> Result<()> {
        let Self { received, as_meant } = *self;
        ensure!(
            received > 0 && as_meant as f64 >= received as f64 * AS_MEANT,
            "only {as_meant} of {received} votes were {meant:?}"
        );
        Ok(())
    }
}

/// The departure time of the probe that asked for these votes.
pub(super) fn left(event: &VoteEvent) -> Boottime {
    Boottime::from_nanos(event.t1)
}
