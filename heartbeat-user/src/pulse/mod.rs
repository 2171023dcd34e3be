//! The pulse: one real-time thread that sends probes, reads the kernel's rows and votes, runs the
//! core and keeps the guard.
//!
//! The pulse must never wait for another thread. The commands of the core leave through channels
//! that do not block, and a tick allocates nothing in the steady state.

mod directive;
mod driver;
pub mod mailbox;
pub mod realtime;
mod replan;
mod sender;
mod stats;

use std::{
    collections::VecDeque,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use bytemuck::Zeroable as _;
use heartbeat_common::{
    lease::Operation,
    maps::{PeerRow, VoteEvent},
    time::Boottime,
    wire::{GroupId, Incarnation, LeaseEntry, LinkId, LinkSet, MAX_LEASES, Owned, VoterSet},
};
use heartbeat_core::{
    Command, ReadSlot, Timing,
    cluster::{MAX_STEPS, Member, Plan, StepInput},
    group::{GroupPlan, Serving},
    index::{AddressIndex, GroupIndex, VipIndex},
    index_vec::{ByGroup, IndexVec},
    membership::Membership,
    placement::{Constraints, Layout},
    record::Input,
    report,
};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use crate::{
    clock,
    config::{Config, Group, MAX_GROUPS, Resource, ResourceKind, Role, key::Keys},
    dataplane::{Dataplane, GuardView, LeaseSlots, LocalView, OwnVote, PeerRows},
    messages::Directive,
    record::Tap,
};
pub use directive::{Directives, Inbox};
use driver::Driver;
use realtime::{Granter, Reservation, Scheduling};
pub use replan::{Reform, Replan};
use sender::Sender;
pub use stats::{GroupStats, PulseStats};

/// The receiver of the core's commands. The pulse thread calls it, so it must not block, nor take a
/// lock that another thread may hold.
pub trait Sink: Send + 'static {
    /// Sends the pending messages that can be sent without waiting. Returns whether all were sent.
    fn deliver(&mut self) -> bool;
    /// Passes on a command of the core, which was decided at `at`.
    fn command(&mut self, at: Boottime, command: Command);
    /// Takes a peer's report that is no longer used. Another thread must free it, because freeing
    /// memory of another thread may take a lock.
    fn spent(&mut self, report: report::GroupReports);
    /// Reports that a round of probes had `errors`, and the round before had none.
    fn send_failed(&mut self, error: Option<nix::Error>, errors: u64);
    /// Reports that this node's own acceptor did not answer, and had answered the time before.
    fn own_vote_failed(&mut self, error: anyhow::Error);
}

/// The identity of this agent.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub incarnation: Incarnation,
    pub nonce: u64,
}

/// The initial state of an agent's pulse.
#[derive(Debug)]
pub struct StartState<'a> {
    pub identity: Identity,
    /// The voting nodes.
    pub membership: Membership,
    /// By group: the end of the lease under which an earlier agent of this node left the group
    /// served, if it did.
    pub inherited: &'a [Option<Boottime>],
    /// The recorder of the run, if there is one.
    pub tap: Option<Tap>,
    /// The thread that grants real-time scheduling.
    pub granter: Granter,
}

/// A running pulse thread.
#[derive(Debug)]
pub struct Pulse {
    directives: Directives,
    thread: JoinHandle<()>,
    pub stats: Arc<PulseStats>,
    /// By link: the index of the interface to which its socket was bound at the start, if there was
    /// one.
    pub bound: IndexVec<LinkId, Option<u32>>,
}

impl Pulse {
    /// Writes this agent's identity into the map `local`, and starts the thread.
    pub fn start(
        config: &Config,
        keys: &Keys,
        dataplane: &mut Dataplane,
        state: StartState<'_>,
        (directives, inbox): (Directives, Inbox),
        sink: impl Sink,
    ) -> Result<Self> {
        let StartState {
            identity: Identity { incarnation, nonce },
            membership,
            inherited,
            tap,
            granter,
        } = state;
        // Room for the greatest number of groups.
        let stats = Arc::new(PulseStats::new(MAX_GROUPS));
        let voter_set = membership.voter_set();
        let mut cluster = Driver::new(plan(config, membership, incarnation), tap);
        for (group, until) in inherited.iter().enumerate() {
            if let Some(until) = *until {
                cluster.apply(Input::Inherit {
                    group: GroupIndex(group),
                    until,
                });
            }
        }
        cluster.apply(Input::Load(UNKNOWN_LOAD));
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
        let mut body = Body {
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
            stats: Arc::clone(&stats),
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
        body.watch()?;
        let wanted = config
            .realtime_priority
            .map(|priority| (realtime::of_pulse(config.interval), priority));
        let (done_sender, done) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || {
                if let Some((reservation, priority)) = wanted {
                    body.request_realtime(&granter, reservation, priority);
                }
                drop((done_sender, granter));
                body.run();
            })
            .context("could not start the pulse thread")?;
        // The wait ends when the thread's scheduling is settled: the status can show it from then
        // on.
        let _ = done.recv();
        Ok(Self {
            directives,
            thread,
            stats,
            bound,
        })
    }

    /// Ends the thread and waits for that. All guards are closed then, except after a graceful
    /// restart.
    pub fn stop(self) {
        self.directives.send(Directive::Stop);
        if self.thread.join().is_err() {
            log::error!("the pulse thread had panicked");
        }
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The sender of directives to the pulse.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }
}

fn member(node: &crate::config::Node) -> Member {
    Member {
        node: node.id,
        witness: node.role == Role::Witness,
    }
}

fn plan(config: &Config, membership: Membership, incarnation: Incarnation) -> Plan {
    Plan {
        membership,
        local: config.local().id,
        timing: Timing {
            interval: config.interval,
            timeout: config.timeout,
            agent_stall: config.agent_stall,
            lease: config.lease,
            drift_ppm: config.drift_ppm,
        },
        peers: config.peers().map(member).collect(),
        links: config.links.len(),
        layout: layout(config),
        auto_failback: config.auto_failback,
        incarnation,
    }
}

/// Returns the groups that this node may serve, and their placement rules.
fn layout(config: &Config) -> Layout {
    let mut layout = whole_layout(config);
    // A witness serves no group.
    layout.groups.truncate(config.served_groups().len());
    layout
}

/// Returns the layout of all groups, including those that this node may not serve.
pub fn whole_layout(config: &Config) -> Layout {
    let capacity = |node: &crate::config::Node| (node.id, node.capacity.clone());
    Layout {
        groups: config
            .groups
            .iter()
            .map(|group| group_plan(config, group))
            .collect(),
        constraints: Constraints {
            colocations: config.colocations.clone(),
            orders: config.orders.clone(),
        },
        policy: config.placement.clone(),
        capacities: config.members().map(capacity).collect(),
    }
}

/// Returns the core's plan of a group.
fn group_plan(config: &Config, group: &Group) -> GroupPlan {
    let vips = addresses(group).into_iter();
    let link_of = |vip: VipIndex| {
        let interface = config.vips.get(vip).map(|vip| vip.interface.as_str());
        let mut links = config.local_links();
        links.find(|link| Some(link.interface) == interface)
    };
    let links: Vec<_> = addresses(group).into_iter().map(link_of).collect();
    GroupPlan {
        links: links
            .iter()
            .flatten()
            .fold(LinkSet::default(), |all, link| {
                all.and(LinkSet::of(link.id))
            }),
        beside_links: links.iter().any(Option::is_none),
        id: group.id,
        addresses: vips.map(|vip| config.vips[vip].lease).collect(),
        ranked: group.rank.clone(),
        locations: group.locations.clone(),
        stickiness: group.stickiness,
        demand: group.demand.clone(),
        rebalance: group.rebalance,
        supervised: true,
    }
}

/// Returns the indices of a group's addresses, in the order of its plan.
fn addresses(group: &Group) -> Vec<VipIndex> {
    let resources = group.resources.iter();
    let address = |resource: &Resource| match resource.kind {
        ResourceKind::Vip(vip) => Some(vip),
        _ => None,
    };
    resources.filter_map(address).collect()
}

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

struct Body<S> {
    interval: Duration,
    /// The number of links to each peer.
    links: usize,
    cluster: Driver,
    /// The voter set in this node's heartbeats.
    voter_set: VoterSet,
    sender: Sender,
    own_vote: OwnVote,
    rows: PeerRows,
    slots: LeaseSlots,
    /// The rows and slots of the last step, for reuse.
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
    /// The received directives that are not carried out yet. The queue is reused.
    directives: VecDeque<Directive>,
    /// The votes of the own acceptor, for reuse.
    scratch: VoteEvent,
    /// The runtime that the kernel reserves for this thread in each period.
    reserved: Duration,
    /// The number of groups that are served here, and the links on which this node is cut off.
    owned: Owned,
    send_failing: bool,
    vote_failing: bool,
    /// The deadline of a graceful restart: the thread ends then, even without the last leases. A
    /// group that is stopping extends the deadline.
    graceful_restart: Option<Boottime>,
}

impl<S: Sink> Body<S> {
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

    fn request_realtime(&mut self, granter: &Granter, reservation: Reservation, priority: u8) {
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

    fn run(&mut self) {
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

    /// Sends all pending messages and waits for that. The wait is allowed here, because this thread
    /// has no deadlines any more.
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

    /// Carries out the received directives. Returns whether the thread must end.
    fn handle_directives(&mut self) -> bool {
        self.inbox.0.try_take(&mut self.directives);
        while let Some(directive) = self.directives.pop_front() {
            if matches!(directive, Directive::Stop) {
                return true;
            }
            let input = self.handle_outside_core(directive);
            if let Some(spent) = input.and_then(|input| self.cluster.apply(input)) {
                self.sink.spent(spent);
            }
        }
        false
    }

    /// Carries out the part of a directive outside the core. Returns the input for the core, if
    /// any.
    fn handle_outside_core(&mut self, directive: Directive) -> Option<Input> {
        match directive {
            Directive::Stopped { group } => {
                let now = clock::now();
                return Some(Input::Stopped { group, now });
            }
            Directive::Move { group, to } => return Some(Input::Move { group, to }),
            Directive::Note { group, note } => return Some(Input::Note { group, note }),
            Directive::Reported { node, report } => return Some(Input::Reported { node, report }),
            Directive::Broken(links) => return Some(Input::Broken(links)),
            Directive::Intend(intent) => return Some(Input::Intend(intent)),
            Directive::Health(sum) => {
                self.local.set_health(sum.health, sum.watched);
                return Some(Input::Health(sum.health));
            }
            Directive::Load(load) => {
                self.local.set_load(load);
                return Some(Input::Load(load));
            }
            Directive::GracefulRestart(lease) => {
                self.graceful_restart = Some(clock::now().after(self.interval * LAST_LEASE_ROUNDS));
                return Some(Input::GracefulRestart(lease));
            }
            Directive::Report { number } => self.local.set_report(number),
            Directive::Replan(new) => self.replan(*new),
            Directive::Rekey { key, generation } => {
                self.own_vote.seal_with(key);
                self.local.set_key(key.0);
                self.local.set_generation(generation);
            }
            Directive::Rebind { link, socket } => self.sender.rebind(link, socket),
            Directive::Stop => {}
        }
        None
    }

    /// Switches to a changed configuration.
    fn replan(&mut self, new: Replan) {
        if let Some(reform) = new.reform {
            // Pending votes come first, while the rows still belong to their peers.
            self.take_votes();
            self.cluster.apply(Input::Reform {
                peers: reform.peers,
                links: self.links,
                membership: reform.membership,
            });
            self.sender.turn_to(reform.rounds);
            self.rows = reform.rows;
            self.publish_voter_set();
        }
        self.cluster.apply(Input::Replan(new.layout));
        self.cluster.apply(Input::AutoFailback(new.auto_failback));
        (self.guarded, self.guard) = (new.guarded, new.guard);
        self.local.set_generation(new.generation);
        let leases = self.guarded.iter().map(|vips| 1 + vips.len()).sum();
        self.entries.reserve(leases);
        self.read_slots.reserve(leases);
        self.read_rows.reserve(self.rows.len());
    }

    /// Publishes the voter set of this node in its heartbeats, if the set has changed.
    fn publish_voter_set(&mut self) {
        let voter_set = self.cluster.membership().voter_set();
        if voter_set != self.voter_set {
            self.voter_set = voter_set;
            self.local.set_voter_set(voter_set);
            self.own_vote.claim_by(voter_set.claiming);
        }
    }

    /// Passes all votes of peers since the last call to the core.
    fn take_votes(&mut self) {
        let now = clock::now();
        while let Some(item) = self.votes.next() {
            let Ok(event) = bytemuck::try_pod_read_unaligned::<VoteEvent>(&item) else {
                continue;
            };
            let Some(place) = event.acceptor() else {
                let group = GroupId(event.entries[0].group);
                self.cluster.apply(Input::Freed(group));
                continue;
            };
            // Votes of removed peers are ignored.
            if let Some(number) = self.rows.number_at(place) {
                let peer = number.peer(self.links);
                self.cluster.count(Some(peer), &event, now);
            }
        }
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

    /// Sends one round of probes. Returns the time of the next, on the grid that began with the
    /// first.
    fn tick(&mut self, due: Boottime, now: Boottime) -> Boottime {
        let missed = now.since(due).as_nanos() / self.interval.as_nanos();
        self.stats.ticked(now.since(due), self.interval);
        self.local.pulse_tick(now);
        self.send();
        if self.stats.first_probe_at.load(Relaxed) == 0 {
            let now = clock::now().as_nanos();
            self.stats.first_probe_at.store(now, Relaxed);
        }
        due.after(self.interval * (u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1))
    }

    /// Sends pending requests to all acceptors, without waiting for the tick.
    fn send_urgent_requests(&mut self) {
        if self.cluster.requests().next().is_some() {
            self.send();
        }
    }

    /// Sends one probe to every peer on every link, or more if there are many requests. The own
    /// acceptor gets the same requests.
    ///
    /// The own acceptor comes first if a lease is released: the successor sends requests to all
    /// acceptors as soon as it receives the release.
    fn send(&mut self) {
        self.entries.clear();
        self.entries.extend(self.cluster.requests());
        let release = |entry: &LeaseEntry| entry.operation == Operation::Release as u8;
        let releases = self.entries.iter().any(release);
        if releases {
            self.ask_own_acceptor();
        }
        let sent = self.sender.send(&self.rows, &self.entries);
        self.stats.send_errors.fetch_add(sent.errors, Relaxed);
        if sent.errors > 0 && !self.send_failing {
            self.sink.send_failed(sent.first_error, sent.errors);
        }
        self.send_failing = sent.errors > 0;
        if !releases {
            self.ask_own_acceptor();
        }
    }

    fn ask_own_acceptor(&mut self) {
        let mut failure = None;
        for entries in self.entries.chunks(MAX_LEASES) {
            let now = clock::now();
            match self.own_vote.ask(entries, now, &mut self.scratch) {
                Ok(()) => self.cluster.count(None, &self.scratch, now),
                Err(error) => failure = Some(error),
            }
        }
        let failing = failure.is_some();
        if let Some(error) = failure.filter(|_| !self.vote_failing) {
            self.sink.own_vote_failed(error);
        }
        self.vote_failing = failing;
    }

    /// Reads the kernel's state, and lets the core decide on it.
    fn step(&mut self, now: Boottime, late: Duration) {
        self.rows.read(&mut self.read_rows);
        let votes_from = self.slots.votes_from();
        let leases = self.cluster.slots_to_read(now, votes_from);
        let slots = leases.map(|lease| ReadSlot {
            lease,
            slot: self.slots.slot(lease),
        });
        self.read_slots.clear();
        self.read_slots.extend(slots);
        let input = StepInput {
            now,
            late,
            control_tick_at: self.local.reason_tick_at(),
            rows: &self.read_rows,
            slots: &self.read_slots,
            votes_from,
        };
        self.cluster.step(&input, &mut self.commands);
    }

    fn decide(&mut self, late: Duration) {
        let now = clock::now();
        self.step(now, late);
        for _ in 1..MAX_STEPS {
            if !self.cluster.lacks_slots() {
                break;
            }
            self.step(now, Duration::ZERO);
        }
        self.publish_voter_set();
        // The guard comes first: it closes a lost group before any message about the loss leaves.
        let mut owned = 0_u8;
        for (index, group) in self.cluster.groups().iter_enumerated() {
            let addresses = (0..).map(AddressIndex);
            for (address, vip) in addresses.zip(&self.guarded[index]) {
                self.guard.open(*vip, group.address_open_until(address));
            }
            self.guard.serve(index, group.open_until());
            self.stats.groups[index].note(group, now);
            owned += u8::from(group.serving() == Serving::Started);
        }
        let owned = Owned::new(owned, self.cluster.cut_off());
        if owned != self.owned {
            self.owned = owned;
            self.local.set_owned(owned);
        }
        for command in self.commands.drain(..) {
            if let Command::Announce(state) = command {
                self.local.set_state(state);
            }
            self.sink.command(now, command);
        }
        // The rest is sent before this thread waits.
        self.sink.deliver();
        self.stats
            .local_stall
            .store(self.cluster.is_locally_stalled(), Relaxed);
        self.stats
            .local_stalls
            .store(self.cluster.local_stalls(), Relaxed);
        self.stats
            .alive
            .store(self.cluster.alive(now) as u64, Relaxed);
        self.stats
            .voters
            .store(self.cluster.voters().nodes.len() as u64, Relaxed);
    }
}
