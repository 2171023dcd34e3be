//! The state of the pulse, which the control task can read at any time.

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
    /// The scheduling policy of the pulse, unless the configuration requests none.
    pub granted: OnceLock<Granted>,
    /// Rounds that exceeded the runtime reserved by the kernel.
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
    /// The time of the first probe, in nanoseconds of boot time; 0 before.
    pub first_probe_at: AtomicU64,
    /// The number of live nodes, this one included.
    pub alive: AtomicU64,
    /// The number of voting nodes.
    pub voters: AtomicU64,
    /// In the order of the configuration.
    pub groups: ByGroup<GroupStats>,
}

/// The state of this node's claim to one group.
#[derive(Debug, Default)]
pub struct GroupStats {
    /// The ballot of this node's requests; 0 if it requests nothing.
    pub ballot: AtomicU64,
    /// The end of the right to serve, in nanoseconds of boot time; 0 without this right.
    pub open_until: AtomicU64,
    /// The number of acceptors that granted the lease.
    pub votes: AtomicU64,
    /// Whether anything of the group runs here, or a lease is still requested.
    pub busy: AtomicBool,
    /// Whether waiting for a stop is useless: the group is in maintenance mode, or could not be
    /// stopped.
    pub stuck: AtomicBool,
    /// Whether the group is in maintenance mode: its resources are not touched.
    pub left_alone: AtomicBool,
    /// Whether the group is stopping here, is not in maintenance mode, and has not stopped yet.
    pub stopping: AtomicBool,
    /// The time limit for its resources to stop, in nanoseconds.
    pub stop_timeout: AtomicU64,
}

impl PulseStats {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| GroupStats::default()).collect(),
            ..Self::default()
        }
    }

    /// Records a tick that came this much after it was due.
    pub(super) fn ticked(&self, late: Duration, interval: Duration) {
        let [late, interval] = [late, interval].map(|time| time.as_nanos() as u64);
        self.ticks.fetch_add(1, Relaxed);
        self.missed_ticks.fetch_add(late / interval, Relaxed);
        self.late_ticks
            .fetch_add(u64::from(late >= interval / 2), Relaxed);
        self.max_lateness_ns.fetch_max(late, Relaxed);
    }

    /// Returns the end of the lease that ends first, if this node holds one.
    pub fn lease_end(&self) -> Option<Boottime> {
        let ends = self
            .groups
            .iter()
            .map(|group| group.open_until.load(Relaxed));
        ends.filter(|end| *end > 0).min().map(Boottime::from_nanos)
    }

    /// Returns whether no group is served here and no acceptor receives requests.
    pub fn is_idle(&self) -> bool {
        !self.groups.iter().any(|group| group.busy.load(Relaxed))
    }

    /// Returns the longest stop timeout of the groups that run here.
    pub fn stop_timeout(&self) -> Duration {
        let busy = self.groups.iter().filter(|group| group.busy.load(Relaxed));
        let longest = busy.map(|group| group.stop_timeout.load(Relaxed)).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// Returns whether this node is idle, apart from groups in maintenance mode, which do not stop.
    pub fn has_stopped(&self) -> bool {
        let busy = |group: &GroupStats| group.busy.load(Relaxed) && !group.left_alone.load(Relaxed);
        !self.groups.iter().any(busy)
    }

    /// Returns the groups that are stopping.
    pub fn stopping(&self) -> impl Iterator<Item = GroupIndex> {
        let groups = self.groups.iter_enumerated();
        let stopping = |(_, group): &(GroupIndex, &GroupStats)| group.stopping.load(Relaxed);
        groups.filter(stopping).map(|(index, _)| index)
    }

    /// Returns whether this node is idle, apart from groups for which waiting is useless.
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
