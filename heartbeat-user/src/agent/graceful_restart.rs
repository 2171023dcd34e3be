//! The end of an agent for a restart: programs, addresses, resources and leases stay in place, and
//! the next agent of this node continues with them.
//!
//! No guarantee depends on a graceful restart: a killed agent leaves the same state behind, except
//! for a lease of the greatest length that the acceptors grant.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::time::Boottime;

use super::{Ending, threads::Threads};
use crate::{clock, messages::Directive};

/// The way in which the agent ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    /// The agent hands over its groups. The given time limits the wait for groups that do not begin
    /// to stop.
    Draining(Boottime),
    /// The agent leaves everything in place once all stopping groups have stopped: the next agent
    /// could not keep other nodes from starting those.
    Waiting,
    /// The pulse acquires the last leases, and ends.
    GracefulRestart,
}

/// The reaction to a request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Wait,
    Drain,
    /// The agent is already ending in this way.
    None,
    /// The agent is ending in another way, and cannot change that any more.
    Refused(&'static str),
}

impl Reply {
    /// Returns the reaction. `departure` is the present state of the agent; `keep` asks to leave
    /// everything in place.
    pub(super) const fn of(departure: Option<Departure>, keep: bool) -> Self {
        match (departure, keep) {
            (None, true) => Self::Wait,
            // No state has been left to a next agent yet, and there may be none.
            (None | Some(Departure::Waiting), false) => Self::Drain,
            (Some(Departure::GracefulRestart), false) => Self::Refused(
                "the agent is already stopping for a restart, and leaves everything \
                in place",
            ),
            (Some(Departure::Draining(_)), true) => {
                Self::Refused("the agent is already stopping, and hands over its groups")
            }
            (Some(_), _) => Self::None,
        }
    }
}

impl Departure {
    /// Returns whether the threads have finished their part.
    pub(super) fn is_done(self, threads: &Threads) -> bool {
        match self {
            Self::Draining(until) => threads.is_drained(until),
            Self::Waiting => false,
            Self::GracefulRestart => !threads.pulse.is_running(),
        }
    }
}

impl Threads {
    /// Begins the last phase: the pulse acquires leases of this length, and ends.
    pub(super) fn prepare_restart(&self, lease: Duration) -> Departure {
        self.pulse
            .directives()
            .send(Directive::GracefulRestart(lease));
        Departure::GracefulRestart
    }

    /// Returns the next state of a departure, if it advances without a request.
    pub(super) fn next(&self, departure: Departure, lease: Duration) -> Departure {
        match departure {
            Departure::Waiting if self.pulse.stats.stopping().next().is_none() => {
                self.prepare_restart(lease)
            }
            other => other,
        }
    }

    /// Ends the threads, and leaves everything in place.
    pub(super) fn leave(self) -> Ending {
        self.pulse.stop();
        self.manager.leave();
        Ending::GracefulRestart
    }
}

/// Returns the time from the start of this agent's process to its first probe.
pub(super) fn start_took(threads: &Threads, began: Boottime) -> Option<Duration> {
    let first = threads.pulse.stats.first_probe_at.load(Relaxed);
    (first > 0).then(|| Boottime::from_nanos(first).since(began))
}

/// Logs the deadline for the start of the next agent.
///
/// `verified` means that the kernel verified this agent's programs. A next agent with the same
/// object need not have them verified.
pub(super) fn log_deadline(threads: &Threads, began: Boottime, verified: bool) {
    let Some(end) = threads.pulse.stats.lease_end() else {
        log::info!("no lease held here: the next agent may start at any time");
        return;
    };
    let Some(took) = start_took(threads, began) else {
        return;
    };
    let left = end.since(clock::now()).as_millis();
    let took = took.as_millis();
    let how = if verified {
        " (the kernel verified its programs)"
    } else {
        ""
    };
    if took < left {
        log::info!(
            "leases last another {left} ms without an agent; this one took {took} ms to start{how}"
        );
    } else {
        log::warn!(
            "leases last another {left} ms without an agent; this one took {took} ms to \
             start{how}: another node takes over meanwhile. Set `max_lease` to {} ms or more on \
             all nodes",
            2 * took
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_while_the_agent_waits_for_a_graceful_restart_drains() {
        assert_eq!(Reply::of(None, true), Reply::Wait);
        assert_eq!(Reply::of(Some(Departure::Waiting), false), Reply::Drain);
        assert_eq!(Reply::of(None, false), Reply::Drain);
    }

    #[test]
    fn departure_that_cannot_turn_back_refuses_the_other_one() {
        let draining = Some(Departure::Draining(Boottime::default()));
        assert!(matches!(Reply::of(draining, true), Reply::Refused(_)));
        let graceful_restart = Some(Departure::GracefulRestart);
        assert!(matches!(
            Reply::of(graceful_restart, false),
            Reply::Refused(_)
        ));
        for (same, keep) in [
            (draining, false),
            (graceful_restart, true),
            (Some(Departure::Waiting), true),
        ] {
            assert_eq!(Reply::of(same, keep), Reply::None);
        }
    }
}
