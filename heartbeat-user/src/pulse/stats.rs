//! How the pulse does, for the control task to read at any time.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use heartbeat_common::time::Boottime;
use heartbeat_core::{
    group::{Group, Serving},
    index::GroupIndex,
    index_vec::ByGroup,
};

use super::realtime::Granted;

#[derive(Debug, Default)]
pub struct PulseStats {
    /// By which policy it is scheduled, unless the configuration asks for none.
    pub granted: OnceLock<Granted>,
    /// Rounds that took longer than the time that the kernel keeps for them.
    pub overruns: AtomicU64,
    pub memory_locked: AtomicBool,
    pub ticks: AtomicU64,
    pub missed_ticks: AtomicU64,
    /// Ticks that were late by half an interval or more.
    pub late_ticks: AtomicU64,
    pub max_lateness_ns: AtomicU64,
    pub local_stall: AtomicBool,
    pub local_stalls: AtomicU64,
    pub send_errors: AtomicU64,
    /// When the first probe had left, in nanoseconds of boot time; 0 before.
    pub first_probe_at: AtomicU64,
    /// Nodes that count as alive, this one included.
    pub alive: AtomicU64,
    /// Nodes of which a majority is needed.
    pub voters: AtomicU64,
    /// In the order of the configuration.
    pub groups: ByGroup<GroupStats>,
}

/// One group, as this node's claim to it stands.
#[derive(Debug, Default)]
pub struct GroupStats {
    /// What this node asks with; 0 if it asks for nothing.
    pub ballot: AtomicU64,
    /// Until when it may serve, in nanoseconds of boot time; 0 if it may not.
    pub open_until: AtomicU64,
    /// Acceptors that granted it.
    pub votes: AtomicU64,
    /// Whether anything of it runs here, or is still asked for.
    pub busy: AtomicBool,
    /// Whether waiting for it to stop is of no use: it is left alone, or could not be stopped.
    pub stuck: AtomicBool,
    /// Whether it is left alone: what runs of it is not touched.
    pub left_alone: AtomicBool,
    /// Whether it is to stop here, is not left alone, and has not said that it has stopped.
    pub stopping: AtomicBool,
    /// How long its resources may take to stop, in nanoseconds.
    pub stop_timeout: AtomicU64,
}

impl PulseStats {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| GroupStats::default()).collect(),
            ..Self::default()
        }
    }

    /// Notes a tick that came this much after it was due.
    pub(super) fn ticked(&self, late: Duration, interval: Duration) {
        let [late, interval] = [late, interval].map(|time| time.as_nanos() as u64);
        self.ticks.fetch_add(1, Relaxed);
        self.missed_ticks.fetch_add(late / interval, Relaxed);
        self.late_ticks
            .fetch_add(u64::from(late >= interval / 2), Relaxed);
        self.max_lateness_ns.fetch_max(late, Relaxed);
    }

    /// Until when the first of the leases lasts that this node holds, if it holds one.
    pub fn lease_end(&self) -> Option<Boottime> {
        let ends = self
            .groups
            .iter()
            .map(|group| group.open_until.load(Relaxed));
        ends.filter(|end| *end > 0).min().map(Boottime::from_nanos)
    }

    /// Whether nothing is served here and no acceptor is asked for anything.
    pub fn is_idle(&self) -> bool {
        !self.groups.iter().any(|group| group.busy.load(Relaxed))
    }

    /// How long the slowest of the groups that run here may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        let busy = self.groups.iter().filter(|group| group.busy.load(Relaxed));
        let longest = busy.map(|group| group.stop_timeout.load(Relaxed)).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// Whether it is, but for groups that are left alone, and so do not stop.
    pub fn has_stopped(&self) -> bool {
        let busy = |group: &GroupStats| group.busy.load(Relaxed) && !group.left_alone.load(Relaxed);
        !self.groups.iter().any(busy)
    }

    /// The groups that are to stop and have not.
    pub fn stopping(&self) -> impl Iterator<Item = GroupIndex> {
        let groups = self.groups.iter_enumerated();
        let stopping = |(_, group): &(GroupIndex, &GroupStats)| group.stopping.load(Relaxed);
        groups.filter(stopping).map(|(index, _)| index)
    }

    /// Whether it is, but for groups that it is of no use to wait for.
    pub fn is_idle_as_can_be(&self) -> bool {
        let busy = |group: &GroupStats| group.busy.load(Relaxed) && !group.stuck.load(Relaxed);
        !self.groups.iter().any(busy)
    }
}

impl GroupStats {
    pub(super) fn note(&self, group: &Group, now: Boottime) {
        let proposer = group.proposer();
        let ballot = proposer.ask().map_or(0, |ask| ask.ballot.0);
        let idle = group.is_idle();
        self.ballot.store(ballot, Relaxed);
        self.open_until
            .store(group.served_until().as_nanos(), Relaxed);
        self.votes.store(proposer.votes(now) as u64, Relaxed);
        self.busy.store(!idle, Relaxed);
        self.stuck.store(group.is_stuck(), Relaxed);
        self.left_alone.store(group.is_maintained(), Relaxed);
        let stopping = group.serving() == Serving::Stopping && !group.is_maintained();
        self.stopping.store(stopping, Relaxed);
        let stop_timeout = u64::try_from(group.stop_timeout().as_nanos()).unwrap_or(u64::MAX);
        self.stop_timeout.store(stop_timeout, Relaxed);
    }
}
