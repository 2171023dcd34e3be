//! One observed link: an agent's pulse, its kernel, and a peer with scripted answers.
//!
//! The simulated pulse behaves like the real one: at a tick it sends and checks, and at a deadline
//! of the detector or of the kernel it checks.

use std::collections::BTreeMap;

use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, LinkId, NodeState},
};
use heartbeat_core::{
    Timing,
    link::{Finding, LinkDetector, LinkState, Silence},
};

use super::{MS, START, TIMINGS, kernel::Kernel, ns, timing};

const LINK: LinkId = LinkId(0);

/// The delays after which the copies of the reply to probe *n* arrive, in nanoseconds; none if it
/// is lost.
type Answers = Box<dyn FnMut(u64) -> Vec<u64>>;

pub(crate) struct Observer {
    pub(crate) now: u64,
    pub(crate) timing: Timing,
    pub(crate) kernel: Kernel,
    pub(crate) detector: LinkDetector,
    /// Each change of state, and its time.
    pub(crate) changes: Vec<(u64, LinkState)>,
    /// The last silence that was counted.
    pub(crate) silence: Option<Silence>,
    /// The number of stalls that the detector found.
    pub(crate) stalls: usize,
    peer: Kernel,
    answers: Answers,
    next_tick: u64,
    /// Replies under way, by arrival.
    arrivals: BTreeMap<(u64, u64), Vec<u8>>,
    arrivals_made: u64,
    speaks: bool,
    /// The number of probes that leave at each tick.
    pub(crate) frames: u64,
}

impl Observer {
    pub(crate) fn new(timing: Timing) -> Self {
        let mut kernel = Kernel::new(1, &[2], 1, ns(timing.timeout));
        kernel.introduce(Incarnation(1), NodeState::Active);
        let mut peer = Kernel::new(2, &[1], 1, ns(timing.timeout));
        peer.introduce(Incarnation(1), NodeState::Active);
        Self {
            now: START,
            timing,
            kernel,
            detector: LinkDetector::default(),
            changes: Vec::new(),
            silence: None,
            stalls: 0,
            peer,
            answers: Box::new(|_| Vec::new()),
            next_tick: START,
            arrivals: BTreeMap::new(),
            arrivals_made: 0,
            speaks: true,
            frames: 1,
        }
    }

    /// Makes the peer answer each probe after `rtt` nanoseconds, from now on.
    pub(crate) fn peer_answers_after(&mut self, rtt: u64) {
        self.peer_answers(move |_| vec![rtt]);
    }

    /// Makes the peer answer no probe from now on. Replies under way still arrive.
    pub(crate) fn peer_dies(&mut self) {
        self.peer_answers(|_| Vec::new());
    }

    pub(crate) fn peer_answers(&mut self, answers: impl FnMut(u64) -> Vec<u64> + 'static) {
        self.answers = Box::new(answers);
    }

    /// Stops all probes at TC egress from now on.
    pub(crate) fn fall_mute(&mut self) {
        self.speaks = false;
    }

    pub(crate) fn speak_again(&mut self) {
        self.speaks = true;
    }

    pub(crate) fn state(&self) -> LinkState {
        self.detector.state()
    }

    /// The instants at which the link was declared down.
    pub(crate) fn downs(&self) -> Vec<u64> {
        let down = |(at, state): &(u64, LinkState)| (*state == LinkState::Down).then_some(*at);
        self.changes.iter().filter_map(down).collect()
    }

    pub(crate) fn last_reply_at(&self) -> u64 {
        self.kernel.row(0).last_reply_at
    }

    /// Runs the whole machine on time.
    pub(crate) fn run_for(&mut self, duration: u64) {
        let end = self.now + duration;
        let mut looks_at_once = 0;
        loop {
            let looks_at = self
                .detector
                .deadline()
                .map_or(u64::MAX, Boottime::as_nanos);
            let wake_at = self.next_tick.min(looks_at.max(self.now));
            let next = wake_at.min(self.next_kernel_event());
            if next > end {
                break;
            }
            looks_at_once = if next > self.now {
                0
            } else {
                looks_at_once + 1
            };
            assert!(looks_at_once < 10, "the pulse spins at {}", self.now);
            self.now = next.max(self.now);
            let fired = self.run_kernel();
            if self.now >= wake_at || fired {
                self.wake();
            }
        }
        self.now = end;
    }

    /// Stalls the agent while its kernel runs. At the end the agent wakes, late.
    pub(crate) fn stall_agent_for(&mut self, duration: u64) {
        let end = self.now + duration;
        while self.next_kernel_event() <= end {
            self.now = self.next_kernel_event().max(self.now);
            self.run_kernel();
        }
        self.now = end;
        self.wake();
    }

    /// Pauses the whole machine. Frames wait in its network card. At the end the kernel runs first,
    /// or (`agent_first`) the agent before the kernel has received a single frame.
    pub(crate) fn pause_for(&mut self, duration: u64, agent_first: bool) {
        self.now += duration;
        if agent_first {
            self.wake();
        }
        self.run_kernel();
        self.wake();
    }

    fn next_kernel_event(&self) -> u64 {
        let arrival = self.arrivals.keys().next().map_or(u64::MAX, |(at, _)| *at);
        arrival.min(self.kernel.next_timer().unwrap_or(u64::MAX))
    }

    /// Delivers the frames that are due, then runs the timers. Returns whether one fired.
    fn run_kernel(&mut self) -> bool {
        while let Some(entry) = self.arrivals.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let reply = entry.remove();
            self.kernel.arrive(LINK, reply, self.now);
        }
        self.kernel.fire_timers(self.now)
    }

    fn wake(&mut self) {
        if self.now >= self.next_tick {
            let interval = ns(self.timing.interval);
            let missed = (self.now - self.next_tick) / interval;
            self.next_tick += (missed + 1) * interval;
            if self.speaks {
                (0..self.frames).for_each(|_| self.send());
            }
        }
        self.poll();
    }

    fn send(&mut self) {
        let probe = self.kernel.send(0, &[], self.now);
        let sequence = self.kernel.row(0).last_probe_seq;
        let delays = (self.answers)(sequence);
        let Some(first) = delays.iter().min() else {
            return;
        };
        let reply = self.peer.arrive(LINK, probe, self.now + first / 2);
        let reply = reply.expect("the peer answers each probe once");
        for after in delays {
            self.arrivals_made += 1;
            let key = (self.now + after, self.arrivals_made);
            self.arrivals.insert(key, reply.clone());
        }
    }

    fn poll(&mut self) {
        let from = self.detector.state();
        let now = Boottime::from_nanos(self.now);
        match self.detector.observe(self.kernel.row(0), now, &self.timing) {
            Finding::Silent(silence) if from != LinkState::Down => self.silence = Some(silence),
            Finding::Stalled { .. } => self.stalls += 1,
            _ => {}
        }
        if self.detector.state() != from {
            self.changes.push((self.now, self.detector.state()));
        }
    }
}

/// An observer whose peer has answered a few probes, each after `rtt`.
pub(crate) fn acquainted(interval_ms: u64, timeout_ms: u64, rtt: u64) -> Observer {
    let mut link = Observer::new(timing(interval_ms, timeout_ms));
    link.peer_answers_after(rtt);
    link.run_for(20 * interval_ms * MS + interval_ms * MS / 2);
    assert_eq!(link.state(), LinkState::Up);
    link
}

/// Every timing with its usual round trip: a tenth of the interval.
pub(crate) fn every_timing() -> impl Iterator<Item = Observer> {
    TIMINGS
        .into_iter()
        .map(|(interval, timeout)| acquainted(interval, timeout, interval * MS / 10))
}
