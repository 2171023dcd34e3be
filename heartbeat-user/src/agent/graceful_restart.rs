//! The end for a restart: programs, addresses, resources and leases stay as they are, and the next agent of
//! this node goes on with them.
//!
//! Nothing depends on it: an agent that is killed leaves the same behind, but for a lease that is as long as
//! the acceptors grant.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use heartbeat_common::time::Boottime;

use super::{Ending, Threads};
use crate::{clock, messages::Directive};

/// How the agent comes to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    /// It hands over what is served, and waits for what does not begin to stop no longer than until then.
    Draining(Boottime),
    /// It is to leave all as it is, once what is stopping has stopped: the next agent could not keep others from
    /// starting that.
    Waiting,
    /// The pulse gets the last leases, and ends.
    GracefulRestart,
}

/// What follows on a request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Wait,
    Drain,
    /// It is ending in this way already.
    None,
    /// It is ending in another way, and cannot turn back.
    Refused(&'static str),
}

impl Reply {
    /// `departure`: what the agent is doing. `keep`: whether it is asked to leave all as it is.
    pub(super) const fn of(departure: Option<Departure>, keep: bool) -> Self {
        match (departure, keep) {
            (None, true) => Self::Wait,
            // Nothing has been left to a next agent yet, and perhaps there will not be one.
            (None | Some(Departure::Waiting), false) => Self::Drain,
            (Some(Departure::GracefulRestart), false) => {
                Self::Refused("it is ending for a restart already, and leaves all as it is")
            }
            (Some(Departure::Draining(_)), true) => {
                Self::Refused("it is stopping already, and hands over what it serves")
            }
            (Some(_), _) => Self::None,
        }
    }
}

impl Departure {
    /// Whether the threads have done what there was to do.
    pub(super) fn is_done(self, threads: &Threads) -> bool {
        match self {
            Self::Draining(until) => threads.is_drained(until),
            Self::Waiting => false,
            Self::GracefulRestart => !threads.pulse.is_running(),
        }
    }
}

impl Threads {
    /// Begins to leave: the pulse gets leases of this length, and ends.
    pub(super) fn part(&self, lease: Duration) -> Departure {
        self.pulse.directives().tell(Directive::Part(lease));
        Departure::GracefulRestart
    }

    /// What follows on a departure by itself.
    pub(super) fn next(&self, departure: Departure, lease: Duration) -> Departure {
        match departure {
            Departure::Waiting if self.pulse.stats.stopping().next().is_none() => self.part(lease),
            other => other,
        }
    }

    /// Ends, and leaves all as it is.
    pub(super) fn leave(self) -> Ending {
        self.pulse.stop();
        self.manager.leave();
        Ending::Parted
    }
}

/// How long this agent took from the start of its process to its first probe.
pub(super) fn start_took(threads: &Threads, began: Boottime) -> Option<Duration> {
    let first = threads.pulse.stats.first_probe_at.load(Relaxed);
    (first > 0).then(|| Boottime::from_nanos(first).since(began))
}

/// Says in which time the next agent has to be there. `verified` is whether this one had the kernel programs verified,
/// which one of the same object need not.
pub(super) fn say_deadline(threads: &Threads, began: Boottime, verified: bool) {
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
            "leases last another {left} ms without an agent; this one took {took} ms to start{how}: another node \
             takes over meanwhile. Set `max_lease` to {} ms or more on all nodes",
            2 * took
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_comes_while_the_agent_waits_to_part_drains() {
        assert_eq!(Reply::of(None, true), Reply::Wait);
        assert_eq!(Reply::of(Some(Departure::Waiting), false), Reply::Drain);
        assert_eq!(Reply::of(None, false), Reply::Drain);
    }

    #[test]
    fn a_departure_that_cannot_turn_back_refuses_the_other_one() {
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
