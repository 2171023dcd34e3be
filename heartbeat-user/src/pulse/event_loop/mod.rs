//! The loop of the pulse thread. It waits for the next tick or deadline, for events of the kernel
//! and for directives, and then lets the core decide.

mod decide;
mod directives;
mod probes;

use std::{
    collections::VecDeque,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use bytemuck::Zeroable as _;
use heartbeat_common::{
    maps::{PeerRow, VoteEvent},
    time::Boottime,
    wire::{LeaseEntry, LinkId, Owned, VoterSet},
};
use heartbeat_core::{
    Command, ReadSlot,
    index::{GroupIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    record::Input,
};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use super::{
    Identity, Sink, StartState,
    directive::Inbox,
    driver::Driver,
    plan::{addresses, plan},
    realtime::{self, Granter, Reservation, Scheduling},
    sender::Sender,
    stats::PulseStats,
};
use crate::{
    clock,
    config::{Config, MAX_GROUPS, key::Keys},
    dataplane::{Dataplane, GuardView, LeaseSlots, LocalView, OwnVote, PeerRows},
    messages::Directive,
};

/// The load of a node before its first measurement: such a node must not attract groups.
const UNKNOWN_LOAD: u16 = 1_000;
const TIMER: u64 = 0;
const EVENTS: u64 = 1;
const INBOX: u64 = 2;
const VOTES: u64 = 3;

/// The greatest number of rounds of urgent requests after one wake-up, for example prepare, accept,
/// and both again with a higher ballot. Further requests wait for the next wake-up.
const MAX_ROUNDS: usize = 4;

/// The time between two attempts to send pending messages while another thread holds a queue.
const RETRY: Duration = Duration::from_micros(200);

/// The number of rounds of probes for the last lease before a restart.
const LAST_LEASE_ROUNDS: u32 = 3;

pub(super) struct EventLoop<S> {
    interval: Duration,
    /// The number of links to each peer.
    links: usize,
    cluster: Driver,
    /// The accepting and the claiming version in this node's heartbeats.
    voter_set: VoterSet,
    sender: Sender,
    own_vote: OwnVote,
    rows: PeerRows,
    slots: LeaseSlots,
    /// Buffers for the rows and slots that a step reads. They are kept to avoid allocations.
    read_rows: Vec<PeerRow>,
    read_slots: Vec<ReadSlot>,
    guard: GuardView,
    /// The addresses of each group.
    guarded: ByGroup<Vec<VipIndex>>,
    events: RingBuf<MapData>,
    votes: RingBuf<MapData>,
    timer: TimerFd,
    epoll: Epoll,
    inbox: Inbox,
    stats: Arc<PulseStats>,
    local: LocalView,
    sink: S,
    commands: Vec<Command>,
    entries: Vec<LeaseEntry>,
    /// The received directives that are not carried out yet. The queue is kept to avoid
    /// allocations.
    directives: VecDeque<Directive>,
    /// A buffer for the votes of the own acceptor. It is kept to avoid allocations.
    scratch: VoteEvent,
    /// The runtime that the kernel reserves for this thread in each period.
    reserved: Duration,
    /// The number of groups that are served here, and the links on which this node is cut off.
    owned: Owned,
    send_failing: bool,
    vote_failing: bool,
    /// The deadline of a graceful restart. At the deadline the thread ends, even if the last leases
    /// were not granted. A group that is stopping extends the deadline.
    graceful_restart: Option<Boottime>,
}

impl<S: Sink> EventLoop<S> {
    /// Writes this agent's identity into the map `local`, and opens all sources of events. Returns
    /// by link the index of the interface to which its socket is bound, if there is one.
    pub(super) fn open(
        config: &Config,
        keys: &Keys,
        dataplane: &mut Dataplane,
        state: StartState<'_>,
        inbox: Inbox,
        sink: S,
    ) -> Result<(Self, IndexVec<LinkId, Option<u32>>)> {
        let Identity { incarnation, nonce } = state.identity;
        let voter_set = state.membership.voter_set();
        let cluster = start_core(config, state);
        let (sender, bound) = Sender::open(config, incarnation, nonce, &mut dataplane.senders()?)?;
        let local = dataplane.local()?;
        local.introduce(
            incarnation,
            nonce,
            keys.active.0,
            config.digest(keys.active.1),
            voter_set,
            clock::now(),
        );
        local.set_load(UNKNOWN_LOAD);
        let mut own_vote = dataplane.own_vote(keys.active, incarnation, nonce)?;
        own_vote.claim_by(voter_set.claiming);
        let rows = dataplane.peer_rows()?;
        let event_loop = Self {
            voter_set,
            interval: config.interval,
            links: config.links.len(),
            cluster,
            sender,
            own_vote,
            read_rows: Vec::with_capacity(rows.len()),
            read_slots: Vec::with_capacity(config.groups.len() + config.vips.len()),
            rows,
            slots: dataplane.slots()?,
            guard: dataplane.guard()?,
            events: dataplane.take_events()?,
            votes: dataplane.take_votes()?,
            timer: TimerFd::new(
                ClockId::CLOCK_BOOTTIME,
                TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
            )
            .context("could not make the pulse's timer")?,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            inbox,
            // Room for the greatest number of groups.
            stats: Arc::new(PulseStats::new(MAX_GROUPS)),
            local,
            sink,
            commands: Vec::with_capacity(64),
            entries: Vec::with_capacity(config.groups.len() + config.vips.len()),
            guarded: config.served_groups().iter().map(addresses).collect(),
            directives: VecDeque::with_capacity(64),
            scratch: VoteEvent::zeroed(),
            reserved: Duration::MAX,
            owned: Owned::default(),
            send_failing: false,
            vote_failing: false,
            graceful_restart: None,
        };
        event_loop.watch()?;
        Ok((event_loop, bound))
    }

    pub(super) fn stats(&self) -> Arc<PulseStats> {
        Arc::clone(&self.stats)
    }

    fn watch(&self) -> Result<()> {
        let add = |fd: BorrowedFd<'_>, token| {
            self.epoll
                .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
                .context("epoll_ctl failed")
        };
        add(self.timer.as_fd(), TIMER)?;
        add(self.events.as_fd(), EVENTS)?;
        add(self.votes.as_fd(), VOTES)?;
        add(self.inbox.0.as_fd(), INBOX)
    }

    pub(super) fn request_realtime(
        &mut self,
        granter: &Granter,
        reservation: Reservation,
        priority: u8,
    ) {
        let granted = granter.ask(reservation, priority);
        match granted.scheduling {
            Scheduling::Deadline { runtime, .. } => self.reserved = runtime,
            Scheduling::Fifo(_) => log::warn!(
                "the pulse runs by {}: real-time tasks of a higher priority can delay it ({})",
                granted.scheduling,
                granted.reason()
            ),
            Scheduling::Ordinary => log::warn!(
                "real-time scheduling was refused ({}): going on without; under CPU load probes \
                 may leave late",
                granted.reason()
            ),
        }
        // Only this thread sets the cell.
        let _ = self.stats.granted.set(granted);
        match realtime::lock_memory() {
            Ok(()) => self.stats.memory_locked.store(true, Relaxed),
            Err(error) => log::warn!(
                "locking memory was refused ({error}): going on without; the agent may wait for \
                 swapped pages (CAP_IPC_LOCK is needed, or LimitMEMLOCK=infinity)"
            ),
        }
    }

    pub(super) fn run(&mut self) {
        let mut next_tick = clock::now();
        let mut ready = [EpollEvent::empty(); 4];
        loop {
            let mut wake_at = self
                .cluster
                .next_deadline()
                .map_or(next_tick, |at| at.min(next_tick));
            if !self.sink.deliver() {
                wake_at = wake_at.min(clock::now().after(RETRY));
            }
            self.arm(wake_at);
            let has_directives = match self.epoll.wait(&mut ready, EpollTimeout::NONE) {
                Ok(count) => ready[..count].iter().any(|event| event.data() == INBOX),
                Err(nix::Error::EINTR) => continue,
                Err(error) => {
                    log::error!("the pulse cannot wait for events any more: {error}");
                    break;
                }
            };
            if has_directives && self.handle_directives() {
                break;
            }
            // The events only wake this thread: the rows contain the same data.
            while self.events.next().is_some() {}
            self.take_votes();
            let now = clock::now();
            let late = now.since(wake_at);
            if now >= next_tick {
                next_tick = self.tick(next_tick, now);
            }
            self.decide(late);
            for _ in 0..MAX_ROUNDS {
                if !self.cluster.take_urgency() {
                    break;
                }
                self.send_urgent_requests();
                self.decide(Duration::ZERO);
            }
            if clock::now().since(now) > self.reserved {
                self.stats.overruns.fetch_add(1, Relaxed);
            }
            if self.is_ready_for_restart() {
                self.deliver_rest();
                // The next agent continues with the guard as it is.
                return;
            }
        }
        for (group, vips) in self.guarded.iter_enumerated() {
            for vip in vips {
                self.guard.open(*vip, Boottime::default());
            }
            self.guard.serve(group, Boottime::default());
        }
        self.deliver_rest();
    }

    /// Sends all pending messages to the other threads, and returns only then. The wait is allowed
    /// here, because this thread has no deadlines any more.
    fn deliver_rest(&mut self) {
        while !self.sink.deliver() {
            std::thread::sleep(RETRY);
        }
        self.cluster.finish();
    }

    fn is_ready_for_restart(&mut self) -> bool {
        let Some(until) = &mut self.graceful_restart else {
            return false;
        };
        let now = clock::now();
        if self.cluster.is_stopping() {
            // Only this agent renews the lease of a group that is stopping. Without the lease,
            // another node could start the group before it has stopped here.
            *until = now.after(self.interval * LAST_LEASE_ROUNDS);
        }
        now >= *until || self.cluster.is_ready_for_restart(now)
    }

    /// Sets the timer for an absolute instant; an instant in the past fires at once.
    fn arm(&self, at: Boottime) {
        // Zero would disarm the timer.
        let at = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos().max(1)));
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        if let Err(error) = self.timer.set(Expiration::OneShot(at), flags) {
            log::error!("could not set the pulse's timer: {error}");
        }
    }
}

/// Returns the core of a new agent, with the leases of an earlier one.
fn start_core(config: &Config, state: StartState<'_>) -> Driver {
    let StartState {
        identity,
        membership,
        inherited,
        tap,
        ..
    } = state;
    let mut cluster = Driver::new(plan(config, membership, identity.incarnation), tap);
    for (group, until) in inherited.iter().enumerate() {
        if let Some(until) = *until {
            cluster.apply(Input::Inherit {
                group: GroupIndex(group),
                until,
            });
        }
    }
    cluster.apply(Input::Load(UNKNOWN_LOAD));
    cluster
}
