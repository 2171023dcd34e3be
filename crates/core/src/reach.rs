//! The reach of a node's interfaces towards the network of a group's addresses: the observed reach
//! and the effective one.
//!
//! A fault counts at once, and until it has been away for [`RECOVERY`]: a port that flaps is one
//! long fault. This module neither observes a network nor moves a group.

use std::time::Duration;

use heartbeat_common::time::Boottime;
use serde::{Deserialize, Serialize};

/// A fault is over once it has been away for this long without interruption.
pub const RECOVERY: Duration = Duration::from_secs(5);

/// Ordered: less is better.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Reach {
    #[default]
    Whole,
    /// The interface works as far as the node can tell, but the node receives no peer on its link,
    /// while it receives peers on other links.
    Silent,
    /// The interface is missing, switched off or without carrier.
    Broken,
}

/// The condition of one interface or link, from repeated observations.
///
/// ```text
///   Whole ──fault──▶ Faulty ──no fault──▶ Recovering ──RECOVERY──▶ Whole
///                      ▲                      │
///                      └────────fault─────────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Whole,
    Faulty {
        reach: Reach,
        since: Boottime,
    },
    /// No fault is observed any more. The last fault still counts.
    Recovering {
        reach: Reach,
        /// The time at which the fault began.
        since: Boottime,
        well_since: Boottime,
    },
}

impl Condition {
    /// Records the observation at `now`.
    pub fn observe(&mut self, seen: Reach, now: Boottime) {
        *self = match (*self, seen) {
            (Self::Whole, Reach::Whole) => Self::Whole,
            (Self::Whole, reach) => Self::Faulty { reach, since: now },
            (Self::Faulty { reach, since }, Reach::Whole) => Self::Recovering {
                reach,
                since,
                well_since: now,
            },
            (Self::Recovering { well_since, .. }, Reach::Whole)
                if now.since(well_since) >= RECOVERY =>
            {
                Self::Whole
            }
            (recovering @ Self::Recovering { .. }, Reach::Whole) => recovering,
            (Self::Faulty { since, .. } | Self::Recovering { since, .. }, reach) => {
                Self::Faulty { reach, since }
            }
        };
    }

    /// The reach that counts.
    pub const fn reach(self) -> Reach {
        match self {
            Self::Whole => Reach::Whole,
            Self::Faulty { reach, .. } | Self::Recovering { reach, .. } => reach,
        }
    }

    /// The beginning of the fault that is observed now.
    pub const fn faulty_since(self) -> Option<Boottime> {
        match self {
            Self::Faulty { since, .. } => Some(since),
            Self::Whole | Self::Recovering { .. } => None,
        }
    }
}

/// The reach of this node and of the others for one group, as last observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distance {
    /// This node's reach.
    pub(crate) own: Reach,
    /// The beginning of this node's fault, if one is observed now.
    pub(crate) faulty_since: Option<Boottime>,
    /// The best reach among the nodes that could have the group otherwise.
    pub(crate) best: Reach,
    pub(crate) carries_probes: bool,
}

impl Distance {
    /// Whether a node with this reach should leave the group to another.
    pub(crate) fn is_beyond(&self, reach: Reach) -> bool {
        reach > self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Boottime {
        Boottime::from_nanos(1).after(SECOND * seconds as u32)
    }

    #[test]
    fn fault_counts_at_once_and_until_it_has_been_away_for_long() {
        let mut port = Condition::default();
        port.observe(Reach::Whole, at(0));
        assert_eq!(port, Condition::Whole);
        port.observe(Reach::Broken, at(1));
        assert_eq!(
            (port.reach(), port.faulty_since()),
            (Reach::Broken, Some(at(1)))
        );
        port.observe(Reach::Whole, at(2));
        assert_eq!((port.reach(), port.faulty_since()), (Reach::Broken, None));
        port.observe(Reach::Whole, at(6));
        assert_eq!(port.reach(), Reach::Broken, "RECOVERY has not passed");
        port.observe(Reach::Whole, at(7));
        assert_eq!(port, Condition::Whole);
    }

    #[test]
    fn port_that_flaps_is_one_long_fault() {
        let mut port = Condition::default();
        for second in (0..60).step_by(2) {
            port.observe(Reach::Broken, at(second));
            assert_eq!(port.faulty_since(), Some(at(0)));
            port.observe(Reach::Whole, at(second + 1));
            assert_eq!(port.reach(), Reach::Broken);
        }
    }

    #[test]
    fn fault_that_changes_its_kind_began_when_it_began() {
        let mut port = Condition::default();
        port.observe(Reach::Silent, at(1));
        port.observe(Reach::Broken, at(2));
        assert_eq!(
            (port.reach(), port.faulty_since()),
            (Reach::Broken, Some(at(1)))
        );
        // The cable is back, and the switch does not forward yet.
        port.observe(Reach::Silent, at(3));
        assert_eq!(
            (port.reach(), port.faulty_since()),
            (Reach::Silent, Some(at(1)))
        );
    }
}
