//! The durations of the configuration, and the bounds that the decisions derive from them.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::proposer::Term;

/// The durations of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The time between two probes to the same peer on the same link.
    pub interval: Duration,
    /// The longest silence of a live link.
    pub timeout: Duration,
    /// The greatest age of the last tick of an agent, a peer's or this node's.
    pub agent_stall: Duration,
    /// The length of a lease on an acceptor.
    pub lease: Duration,
    /// The bound on the difference between the rate of any node's clock and true time, in parts per
    /// million.
    pub drift_ppm: u32,
}

impl Timing {
    /// The number of unanswered probes without which a silence does not count. A full timeout holds
    /// this many beside the answered probe. The number is 8 at most: with more, a long timeout
    /// would outlast the kernel's memory of departures.
    pub fn probes_needed(&self) -> u64 {
        let per_timeout = self.timeout.as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(per_timeout)
            .unwrap_or(u64::MAX)
            .saturating_sub(1)
            .clamp(1, 8)
    }

    /// The shortest time in which the last of these probes may be answered: no less than on
    /// schedule.
    pub fn grace(&self) -> Duration {
        let needed = u32::try_from(self.probes_needed()).unwrap_or(u32::MAX);
        self.timeout
            .saturating_sub(self.interval.saturating_mul(needed))
            .max(self.interval / 2)
    }

    /// The longest time between two of these probes. Answers that waited longer in the network card
    /// of a paused machine may have come too late to be fresh.
    pub fn pause(&self) -> Duration {
        self.timeout
            .saturating_sub(self.interval)
            .max(self.interval * 2)
    }

    /// A lease of this length. The owner counts a vote from the departure of the probe that asked
    /// for it. The counted time is the lease less the greatest drift of the two clocks in it, each
    /// by the bound.
    pub fn term(&self, lease: Duration) -> Term {
        let nanos = lease.as_nanos();
        let margin = (nanos * 2 * u128::from(self.drift_ppm)).div_ceil(1_000_000);
        let counted = u64::try_from(nanos.saturating_sub(margin)).unwrap_or(u64::MAX);
        Term {
            asked: lease,
            counted: Duration::from_nanos(counted),
        }
    }

    /// The time by which each next node in rank contends later for a free lease. The node before it
    /// has had a tick by then.
    pub fn stagger(&self) -> Duration {
        self.interval
    }

    /// The time in which a lapsed owner may try to renew before it stops its services. Its guard is
    /// closed meanwhile.
    pub fn grace_after_lapse(&self) -> Duration {
        self.interval * 2
    }

    /// The greatest lateness of a decision that is still trusted. A later decision may follow a
    /// pause of this whole machine, with answers waiting in the network card.
    pub fn slack(&self) -> Duration {
        self.interval.min(Duration::from_millis(5))
    }
}
