//! The time from a free lease to its grant by a majority, beside the round trip of a single probe.
//!
//! The near node contends alone. It is one of three voters, and the third voter is silent, so its
//! own kernel and the far kernel form the majority. The core's proposer chooses the requests. The
//! benchmark sends them like the agent's pulse, and the thread sleeps until the kernel wakes it for
//! a vote. So a round consists of two exchanges, prepare and accept, each with its system calls.

use std::{
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::Successor,
    maps::VoteEvent,
    wire::{GroupId, LeaseEntry},
};
use heartbeat_core::{
    index::{AcceptorIndex, PeerIndex},
    proposer::{Ask, MajorityConfig, Proposer, Term},
};
use heartbeat_user::dataplane::{LeaseSlots, OwnVote};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use serde::Serialize;

use super::{
    cpu::{CpuTime, CpuUse},
    pair::{MAX_LEASE, NEAR, Pair},
    probes::Prober,
    quantiles::Quantiles,
    rtt::round_trip,
    votes::{Votes, left},
};
use crate::{
    interrupt,
    sys::{self, Ticker, boottime},
    wait::wait_until,
};

/// A group of no other measurement.
const GROUP: GroupId = GroupId(200);
/// The duration of each lease: the default of the configuration, counted at the default drift bound
/// of 1,000 ppm.
const TERM: Term = Term {
    asked: Duration::from_millis(60),
    counted: Duration::from_nanos(59_880_000),
};
const VOTERS: usize = 3;
const OWN: AcceptorIndex = AcceptorIndex::OWN;
const FAR: AcceptorIndex = AcceptorIndex::of_peer(PeerIndex(0));
/// Lease and round trip take turns.
const PERIOD: Duration = Duration::from_millis(1);
/// A longer time counts as lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// The period in which a sleeping thread checks its limit.
const LOOK_MS: u16 = 10;
/// Between two looks for an answer. The kernels stamp it: being late does not matter.
const PAUSE: Duration = Duration::from_micros(20);
/// The longest wait for the end of a lease that could not be released.
const UNTIL_FREE: Duration = Duration::from_secs(2);

/// The durations of lease grants and of plain round trips, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Acquisitions {
    /// From a free lease until a majority has granted it.
    pub acquire: Quantiles,
    /// A probe without lease entries, in turns with it.
    pub kernel_rtt: Quantiles,
    /// Of the whole machine, all of this included.
    pub cpu: CpuUse,
    /// Whether the asking thread was SCHED_FIFO, as an agent's pulse is.
    pub asker_realtime: bool,
}

pub(super) fn measure(pair: &Pair, phase: Duration) -> Result<Acquisitions> {
    let mut candidate = Candidate::new(pair)?;
    wait_until(MAX_LEASE * 5, "both acceptors grant a lease", || {
        let granted = candidate.acquire()?.is_some();
        candidate.give_back()?;
        Ok(granted)
    })?;
    let cpu = CpuTime::now()?;
    // A thread of its own, so that nothing started later inherits its priority.
    let (asker_realtime, acquired, trips) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let realtime = sys::realtime();
            take_turns(&mut candidate, phase).map(|(acquired, trips)| (realtime, acquired, trips))
        });
        asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(Acquisitions {
        acquire: acquired.quantiles(),
        kernel_rtt: trips.quantiles(),
        cpu: cpu.until_now()?,
        asker_realtime,
    })
}

/// The number of requested leases, and the time of each granted one.
#[derive(Debug, Default)]
struct Book {
    asked: usize,
    nanos: Vec<u64>,
}

impl Book {
    fn note(&mut self, nanos: Option<u64>) {
        self.asked += 1;
        self.nanos.extend(nanos);
    }

    fn quantiles(self) -> Quantiles {
        Quantiles::new(self.nanos, self.asked)
    }
}

fn take_turns(candidate: &mut Candidate, phase: Duration) -> Result<(Book, Book)> {
    let (mut acquired, mut trips) = (Book::default(), Book::default());
    let mut ticker = Ticker::new(PERIOD);
    let start = Instant::now();
    while start.elapsed() < phase {
        interrupt::check()?;
        ticker.wait();
        trips.note(candidate.round_trip()?);
        ticker.wait();
        let took = candidate.acquire()?;
        acquired.note(took.map(|took| took.as_nanos() as u64));
        candidate.give_back()?;
    }
    Ok((acquired, trips))
}

/// The near node's claim to the lease.
struct Candidate {
    prober: Prober,
    own: OwnVote,
    votes: Votes,
    /// Of the near and the far acceptor.
    slots: [LeaseSlots; 2],
    proposer: Proposer,
    event: VoteEvent,
}

impl Candidate {
    fn new(pair: &Pair) -> Result<Self> {
        let prober = Prober::start(pair)?;
        // Beyond the rounds of an earlier one on this host: none has a thousand a millisecond.
        let round = boottime().as_nanos() / 1_000;
        Ok(Self {
            own: prober.own_vote(pair)?,
            prober,
            votes: Votes::open(pair)?,
            slots: [pair.near_plane().slots()?, pair.far_plane().slots()?],
            proposer: Proposer::new(NEAR, MajorityConfig::of_all(VOTERS), round, TERM),
            event: VoteEvent::zeroed(),
        })
    }

    /// Claims the lease, which must be free; how long it took to be granted.
    fn acquire(&mut self) -> Result<Option<Duration>> {
        self.votes.skip();
        let start = boottime();
        self.proposer.prepare().context("there is no ballot left")?;
        let mut asked = None;
        loop {
            if self.proposer.lease_end() > start {
                return Ok(Some(boottime().since(start)));
            }
            let ask = self.proposer.ask();
            if ask != asked {
                asked = ask;
                self.ask(ask)?;
                continue;
            }
            if boottime().since(start) > PATIENCE {
                return Ok(None);
            }
            self.sleep()?;
            self.take_votes();
        }
    }

    /// Releases the lease and waits until it is free everywhere.
    fn give_back(&mut self) -> Result<()> {
        if self.proposer.is_holding() {
            self.proposer.release(Successor::default());
            self.ask(self.proposer.ask())?;
        }
        // The silent voter will not answer that.
        self.proposer.abandon();
        let free = |slots: &LeaseSlots| slots.slot(GROUP).live_owner(boottime()).is_none();
        if self.slots.iter().all(free) {
            return Ok(());
        }
        wait_until(UNTIL_FREE, "the lease is free", || {
            Ok(self.slots.iter().all(free))
        })
    }

    /// Asks the far acceptor, then the own one.
    fn ask(&mut self, ask: Option<Ask>) -> Result<()> {
        let Some(ask) = ask else {
            return Ok(());
        };
        let entries: [LeaseEntry; 1] = [ask.entry(GROUP)];
        self.prober.ask(&entries)?;
        self.own.ask(&entries, boottime(), &mut self.event)?;
        count(&mut self.proposer, OWN, &self.event);
        Ok(())
    }

    /// Until there is a vote, or it is time to look at the clock.
    fn sleep(&self) -> Result<()> {
        let mut wanted = [PollFd::new(self.votes.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, PollTimeout::from(LOOK_MS)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for votes"),
        }
    }

    fn take_votes(&mut self) {
        while let Some(event) = self.votes.next() {
            // Our own acceptor's word that a lease was released.
            if event.acceptor().is_some() {
                count(&mut self.proposer, FAR, &event);
            }
        }
    }

    /// Sends a probe without a request, and returns its round trip in nanoseconds.
    fn round_trip(&mut self) -> Result<Option<u64>> {
        let sequence = self.prober.ask(&[])?;
        let start = boottime();
        loop {
            let row = self.prober.row();
            if row.last_reply_seq == sequence {
                return Ok(round_trip(&row, sequence));
            }
            if boottime().since(start) > PATIENCE {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }
}

fn count(proposer: &mut Proposer, acceptor: AcceptorIndex, event: &VoteEvent) {
    for vote in event.entries.iter().take(event.count as usize) {
        if vote.group == GROUP.0 {
            proposer.count(acceptor, vote, left(event));
        }
    }
}
