//! The phases of a group on one node.
//!
//! ```text
//!             turn has come               majority granted
//!  waiting ────────────────▶ claiming ───────────────────▶ serving ◀────────┐
//!   │ ▲ ▲                      │ │ ▲                        │   │ lease     │ granted
//!   │ │ └──── lost, given up ──┘ │ │                        │   ▼ ended     │ again
//!   │ │                          │ │                        │  lapsed ──────┘
//!   ▼ │ others made way          │ │                        │   │
//!  displacing                    │ │                        │   │ not had again in time,
//!                  given up when │ │ stopped, and still     ▼   ▼ or must leave
//!                        granted │ └─ asked for ────────── stopping
//!                                ▼                          │   │
//!  waiting ◀────────────────── releasing ◀── stopped, lease ┘   │
//!    ▲   all acceptors heard,                held               │
//!    │   or have forgotten it                                   │
//!    └────────────────────────── stopped, lease not held ───────┘
//! ```
//!
//! Votes and time move a group along; only [`Group::stopped`] leads out of *stopping*. Traffic may
//! pass in *serving* and *lapsed* alone, and in *lapsed* the lease has ended, so that the guard is
//! closed. Facts from an operator or resource manager, such as maintenance or a failed stop,
//! are kept beside the phase and never change it at once.

use heartbeat_common::{
    lease::{Ballot, Successor},
    time::Boottime,
};

use super::{AcquisitionTimeline, Group, Period, Reason, Serving};

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Phase {
    /// No resource runs here and no request is sent: the group belongs to another node, or it is
    /// not this node's turn yet.
    #[default]
    Waiting,
    /// It is this node's turn, but another group has to make way here first.
    Displacing,
    /// The lease is requested. It had been free since `free`.
    Claiming { free: Boottime },
    /// The group runs here, or is about to start.
    Serving(Tenure),
    /// The group runs here, but its lease has ended: this period began then.
    Lapsed(Tenure, Period),
    /// The resources were told to stop, and have not confirmed it yet.
    Stopping(Stop),
    /// The lease has been in release since `since`.
    Releasing { since: Boottime },
}

/// The time in which a group is served here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tenure {
    pub(super) timeline: AcquisitionTimeline,
    /// The reason why the group is about to stop, once nothing here depends on it any more.
    pub(super) leaving: Option<Reason>,
    /// An operator wants the group here, however good other nodes are.
    pub(super) pinned: bool,
    /// The ballot of the lease under which the group was last served.
    pub(super) served_with: Option<Ballot>,
    /// The time until which an earlier agent of this node left the guard open.
    pub(super) inherited_until: Boottime,
}

/// A stop that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) reason: Reason,
    /// The node for which the lease is released.
    pub(super) successor: Successor,
    /// The time since which the lease had been free when this node last requested it.
    pub(super) free: Boottime,
}

impl Phase {
    /// The phase of a group that runs here. `lapsed` is the time since its lease ended, if it has.
    pub(super) fn served(tenure: Tenure, lapsed: Option<Period>) -> Self {
        match lapsed {
            None => Self::Serving(tenure),
            Some(since) => Self::Lapsed(tenure, since),
        }
    }

    pub(super) fn serving(&self) -> Serving {
        match self {
            Self::Waiting | Self::Displacing | Self::Claiming { .. } | Self::Releasing { .. } => {
                Serving::Stopped
            }
            Self::Serving(_) | Self::Lapsed(..) => Serving::Started,
            Self::Stopping(_) => Serving::Stopping,
        }
    }

    pub(super) fn tenure(&self) -> Option<&Tenure> {
        match self {
            Self::Serving(tenure) | Self::Lapsed(tenure, _) => Some(tenure),
            _ => None,
        }
    }

    pub(super) fn tenure_mut(&mut self) -> Option<&mut Tenure> {
        match self {
            Self::Serving(tenure) | Self::Lapsed(tenure, _) => Some(tenure),
            _ => None,
        }
    }

    /// Whether a group in this phase may go on in the phase `next`.
    fn may_become(&self, next: &Self) -> bool {
        use Phase::{Claiming, Displacing, Lapsed, Releasing, Serving, Stopping, Waiting};
        match (self, next) {
            // A group that runs is stopped before anything else.
            (Serving(_) | Lapsed(..), Serving(_) | Lapsed(..) | Stopping(_)) => true,
            (Serving(_) | Lapsed(..), _) => false,
            // Only a confirmed stop allows the release of the lease.
            (Stopping(_), Stopping(_) | Releasing { .. } | Claiming { .. } | Waiting) => true,
            (Stopping(_), _) => false,
            (Waiting | Displacing, Waiting | Displacing | Claiming { .. }) => true,
            (Waiting | Displacing, _) => false,
            (Claiming { .. }, Claiming { .. } | Serving(_) | Releasing { .. } | Waiting) => true,
            (Claiming { .. }, _) => false,
            (Releasing { .. }, Releasing { .. } | Waiting) => true,
            (Releasing { .. }, _) => false,
        }
    }
}

impl Group {
    /// Changes to the phase `next`.
    pub(super) fn enter(&mut self, next: Phase) {
        // docs/design/leases.md#rule-4: a running group is stopped, and its lease released only
        // after that.
        debug_assert!(
            self.phase.may_become(&next),
            "{:?} cannot become {next:?}",
            self.phase
        );
        self.phase = next;
        self.assert_claim_fits();
    }

    /// Asserts that the phase and the claim to the lease agree.
    fn assert_claim_fits(&self) {
        let proposer = &self.claim.proposer;
        debug_assert!(
            match self.phase {
                Phase::Waiting | Phase::Displacing => proposer.is_idle(),
                Phase::Claiming { .. } => proposer.is_preparing() || proposer.is_holding(),
                // docs/design/leases.md#rule-4: the lease of a group that may run is not released.
                Phase::Serving(_) | Phase::Lapsed(..) | Phase::Stopping(_) =>
                    !proposer.is_releasing(),
                Phase::Releasing { .. } => proposer.is_releasing(),
            },
            "{:?} with {proposer:?}",
            self.phase
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // docs/design/leases.md#rule-4
    #[test]
    fn group_that_runs_is_stopped_before_anything_else() {
        let tenure = Tenure::default();
        let runs = [
            Phase::Serving(tenure),
            Phase::Lapsed(tenure, Period::since(Boottime::default())),
        ];
        let since = Boottime::default();
        for phase in runs {
            assert!(!phase.may_become(&Phase::Waiting));
            assert!(!phase.may_become(&Phase::Displacing));
            assert!(!phase.may_become(&Phase::Claiming { free: since }));
            assert!(!phase.may_become(&Phase::Releasing { since }));
        }
    }

    // docs/design/leases.md#rule-4
    #[test]
    fn group_that_stops_is_not_served_before_it_is_claimed_again() {
        let stopping = Phase::Stopping(Stop {
            reason: Reason::LeaseLost,
            successor: Successor::default(),
            free: Boottime::default(),
        });
        assert!(!stopping.may_become(&Phase::Serving(Tenure::default())));
        assert_eq!(stopping.serving(), Serving::Stopping);
    }
}
