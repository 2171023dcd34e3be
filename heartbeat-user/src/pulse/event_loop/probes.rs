//! Sends the probes of a tick, and the lease requests to all acceptors.

use std::sync::atomic::Ordering::Relaxed;

use heartbeat_common::{
    lease::Operation,
    time::Boottime,
    wire::{LeaseEntry, MAX_LEASES},
};

use super::EventLoop;
use crate::{clock, pulse::Sink};

impl<S: Sink> EventLoop<S> {
    /// Sends one round of probes. Returns the time of the next, on the grid that began with the
    /// first.
    pub(super) fn tick(&mut self, due: Boottime, now: Boottime) -> Boottime {
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
    pub(super) fn send_urgent_requests(&mut self) {
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
}
