//! The durations that the decisions are made by.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::proposer::Term;

/// What the configuration says about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between two probes to the same peer on the same link.
    pub interval: Duration,
    /// How long a silence may last.
    pub timeout: Duration,
    /// How old the last tick of an agent, a peer's or our own, may be.
    pub agent_stall: Duration,
    /// How long a lease lasts on an acceptor.
    pub lease: Duration,
    /// By how much the rates of two clocks may differ, in parts per million.
    pub drift_ppm: u32,
}

impl Timing {
    /// Unanswered probes without which a silence counts for nothing: as many as a full timeout holds
    /// beside the one that was answered, but no more than 8, or a long timeout would outlast the
    /// kernel's memory of departures.
    pub fn probes_needed(&self) -> u64 {
        let per_timeout = self.timeout.as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(per_timeout)
            .unwrap_or(u64::MAX)
            .saturating_sub(1)
            .clamp(1, 8)
    }

    /// The shortest time that the last of these probes is given to be answered: no less than it would
    /// have had on schedule.
    pub fn grace(&self) -> Duration {
        let needed = u32::try_from(self.probes_needed()).unwrap_or(u32::MAX);
        self.timeout
            .saturating_sub(self.interval.saturating_mul(needed))
            .max(self.interval / 2)
    }

    /// The longest time between two of these probes: answers that waited for longer in the network card
    /// of a paused machine may have turned late.
    pub fn pause(&self) -> Duration {
        self.timeout
            .saturating_sub(self.interval)
            .max(self.interval * 2)
    }

    /// A lease of this length. Its owner counts on a vote from the departure of the probe that asked for
    /// it, for a lease less what the two clocks may drift apart in it, each by the bound.
    pub fn term(&self, lease: Duration) -> Term {
        let nanos = lease.as_nanos();
        let margin = (nanos * 2 * u128::from(self.drift_ppm)).div_ceil(1_000_000);
        let counted = u64::try_from(nanos.saturating_sub(margin)).unwrap_or(u64::MAX);
        Term {
            asked: lease,
            counted: Duration::from_nanos(counted),
        }
    }

    /// By how much later each next node in rank contends for a free lease: the one before has had a
    /// tick by then.
    pub fn stagger(&self) -> Duration {
        self.interval
    }

    /// For how long a lapsed owner may try to renew before it stops what it served. Its guard is closed
    /// meanwhile.
    pub fn grace_after_lapse(&self) -> Duration {
        self.interval * 2
    }

    /// How late a decision may come and still be trusted. A later one may follow a pause of this
    /// whole machine, with answers waiting in the network card.
    pub fn slack(&self) -> Duration {
        self.interval.min(Duration::from_millis(5))
    }
}
