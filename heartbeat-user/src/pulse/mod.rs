//! The pulse: one real-time thread that sends probes, reads the kernel's rows and runs the core.
//!
//! It must never wait for the slow side: commands go out through channels that do not block, and
//! nothing it does each tick allocates in the steady state.

pub mod realtime;
mod sender;
mod stats;

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use heartbeat_common::{time::Boottime, wire::Incarnation};
use heartbeat_core::{Cluster, Command, Timing, cluster::Vip};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    eventfd::{EfdFlags, EventFd},
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use crate::{
    clock,
    config::Config,
    dataplane::{Dataplane, LocalView, PeerRows},
};
use sender::Sender;
pub use stats::PulseStats;

/// Who gets the core's commands. Called on the pulse thread: it must not block.
pub trait Sink: Send + 'static {
    fn command(&mut self, at: Boottime, command: Command);
    /// A round of probes had `errors`, after one without.
    fn send_failed(&mut self, at: Boottime, error: Option<nix::Error>, errors: u64);
}

/// A running pulse thread.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<EventFd>,
    thread: JoinHandle<()>,
    pub stats: Arc<PulseStats>,
}

impl Pulse {
    /// Introduces this agent to its kernel and starts sending.
    pub fn start(
        config: &Config,
        dataplane: &mut Dataplane,
        local: Arc<LocalView>,
        incarnation: Incarnation,
        nonce: u64,
        key_id: u8,
        sink: impl Sink,
    ) -> Result<Self> {
        let stop = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
        )?);
        let stats = Arc::new(PulseStats::default());
        let timing = Timing {
            interval: config.interval,
            timeout: config.timeout,
            agent_stall: config.agent_stall,
        };
        let vips = config
            .vips
            .iter()
            .map(|vip| Vip {
                ranked: vip.rank.clone(),
            })
            .collect();
        let peers = config.peers().map(|peer| peer.id);
        let cluster = Cluster::new(config.local().id, timing, peers, config.links.len(), vips);
        let sender = Sender::open(config, incarnation, nonce)?;
        local.introduce(incarnation, nonce, key_id, clock::now());
        let mut body = Body {
            interval: config.interval,
            cluster,
            sender,
            rows: dataplane.peer_rows()?,
            events: dataplane.take_events()?,
            timer: TimerFd::new(
                ClockId::CLOCK_BOOTTIME,
                TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
            )
            .context("could not make the pulse's timer")?,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
            local,
            sink,
            commands: Vec::with_capacity(64),
            send_failing: false,
        };
        body.watch()?;
        let priority = config.realtime_priority;
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || {
                if let Some(priority) = priority {
                    body.ask_for_punctuality(priority);
                }
                body.run();
            })
            .context("could not start the pulse thread")?;
        Ok(Self {
            stop,
            thread,
            stats,
        })
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        if let Err(error) = self.stop.write(1) {
            log::error!("could not wake the pulse to stop it: {error}");
            return;
        }
        if self.thread.join().is_err() {
            log::error!("the pulse thread had panicked");
        }
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

const TIMER: u64 = 0;
const EVENTS: u64 = 1;
const STOP: u64 = 2;

struct Body<S> {
    interval: Duration,
    cluster: Cluster,
    sender: Sender,
    rows: PeerRows,
    events: RingBuf<MapData>,
    timer: TimerFd,
    epoll: Epoll,
    stop: Arc<EventFd>,
    stats: Arc<PulseStats>,
    local: Arc<LocalView>,
    sink: S,
    commands: Vec<Command>,
    send_failing: bool,
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
        add(self.stop.as_fd(), STOP)
    }

    fn ask_for_punctuality(&self, priority: u8) {
        match realtime::set_fifo(priority) {
            Ok(()) => self.stats.realtime_priority.store(priority, Relaxed),
            Err(error) => log::warn!(
                "real-time scheduling was refused ({error}): going on without; under CPU load \
                 probes may leave late (CAP_SYS_NICE is needed)"
            ),
        }
        match realtime::lock_memory() {
            Ok(()) => self.stats.memory_locked.store(true, Relaxed),
            Err(error) => log::warn!(
                "locking memory was refused ({error}): going on without; the agent may wait for \
                 swapped pages (CAP_IPC_LOCK is needed)"
            ),
        }
    }

    fn run(&mut self) {
        let mut next_tick = clock::now();
        let mut ready = [EpollEvent::empty(); 4];
        loop {
            let wake_at = self
                .cluster
                .next_deadline()
                .map_or(next_tick, |at| at.min(next_tick));
            self.arm(wake_at);
            let ready = match self.epoll.wait(&mut ready, EpollTimeout::NONE) {
                Ok(count) => &ready[..count],
                Err(nix::Error::EINTR) => continue,
                Err(error) => {
                    log::error!("the pulse cannot wait for events any more: {error}");
                    return;
                }
            };
            if ready.iter().any(|event| event.data() == STOP) {
                return;
            }
            // What the events say stands in the rows too; they only wake this thread.
            while self.events.next().is_some() {}
            let now = clock::now();
            if now >= next_tick {
                next_tick = self.tick(next_tick, now);
            }
            let now = clock::now();
            self.decide(now, now.since(wake_at));
        }
    }

    /// Sets the timer for an absolute instant; one that has passed fires at once.
    fn arm(&self, at: Boottime) {
        // Zero would disarm the timer.
        let at = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos().max(1)));
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        if let Err(error) = self.timer.set(Expiration::OneShot(at), flags) {
            log::error!("could not set the pulse's timer: {error}");
        }
    }

    /// One round of probes. Returns when the next is due, on the grid that began with the first.
    fn tick(&mut self, due: Boottime, now: Boottime) -> Boottime {
        let interval = self.interval.as_nanos() as u64;
        let missed = now.since(due).as_nanos() as u64 / interval;
        self.stats.ticked(missed, now.since(due).as_nanos() as u64);
        self.local.pulse_tick(now);
        let sent = self.sender.send(&self.rows);
        self.stats.send_errors.fetch_add(sent.errors, Relaxed);
        if sent.errors > 0 && !self.send_failing {
            self.sink.send_failed(now, sent.first_error, sent.errors);
        }
        self.send_failing = sent.errors > 0;
        due.after(self.interval * (u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1))
    }

    fn decide(&mut self, now: Boottime, late: Duration) {
        self.cluster.step(now, late, &self.rows, &mut self.commands);
        for command in self.commands.drain(..) {
            if let Command::Announce(state) = command {
                self.local.set_state(state);
            }
            self.sink.command(now, command);
        }
        self.stats.deaf.store(self.cluster.deaf(), Relaxed);
        self.stats
            .deaf_count
            .store(self.cluster.deaf_count(), Relaxed);
        self.stats
            .alive
            .store(self.cluster.alive(now) as u64, Relaxed);
    }
}
