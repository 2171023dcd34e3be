//! Events of groups and addresses in words.

use std::fmt;

use heartbeat_core::{
    group::{GroupEvent, Reason},
    proposer::Obstacle,
    resource::GroupState,
};

use super::Micros;
use crate::protocol::{NamedGroupEvent, VipEvent};

/// An event of a group, without the group's name.
pub(super) struct Told<'a>(pub(super) &'a NamedGroupEvent);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GroupEvent::LeaseAcquired { timeline, .. } => write!(
                f,
                "lease acquired, {} after it was free",
                Micros(timeline.free.as_nanos(), timeline.majority.as_nanos())
            ),
            GroupEvent::LeaseGivenUp(reason) => {
                write!(f, "stops being served here ({}", why(reason))?;
                if let Some(successor) = reason.clone().to() {
                    write!(f, ", for {successor}")?;
                }
                f.write_str(")")
            }
            GroupEvent::ClaimGivenUp(obstacle) => {
                f.write_str("claim given up for now: ")?;
                match obstacle {
                    Obstacle::Lease { owner, remaining } => write!(
                        f,
                        "the lease of {owner} lives on for {} us",
                        remaining.as_micros()
                    ),
                    Obstacle::Promise { to, .. } => {
                        write!(f, "{to} claims it with a higher ballot")
                    }
                    Obstacle::Unheard | Obstacle::Silence => {
                        f.write_str("too few acceptors granted it in time")
                    }
                }
            }
            GroupEvent::BallotsExhausted => f.write_str(
                "its ballots are used up: some node has claimed it with a clock or a release that is far \
                 off; restart all agents and responders of the cluster",
            ),
            GroupEvent::State(state) => f.write_str(state_in_words(state)),
        }
    }
}

const fn why(reason: &Reason<String>) -> &'static str {
    match reason {
        Reason::LeaseLost => "lease-lost",
        Reason::Moved { .. } => "moved",
        Reason::FailBack { .. } => "fail-back",
        Reason::NodeUnfit => "node-unfit",
        Reason::Unhealthy => "unhealthy",
        Reason::Drained { .. } => "drained",
        Reason::Rebalanced { .. } => "rebalanced",
        Reason::Failed => "failed",
        Reason::Disabled => "stopped",
        Reason::Constrained => "constraint",
        Reason::CutOff => "cut-off",
    }
}

const fn state_in_words(state: &GroupState<String>) -> &'static str {
    match state {
        GroupState::Ready => "ready",
        GroupState::Started => "all of it runs",
        GroupState::Incomplete => "not all of it runs",
        GroupState::Stopped => "all of it has stopped",
        GroupState::Barred { .. } => {
            "cannot run here for now; `heartbeat cleanup` forgets its failures"
        }
        GroupState::Fit => "may run here again",
        GroupState::Blocked { .. } => {
            "BLOCKED: it could not be stopped, and may still run; stop it by hand, then \
             `heartbeat cleanup`"
        }
        GroupState::Unblocked => "unblocked",
        GroupState::Broken => {
            "an interface of its addresses is missing, down or without carrier here"
        }
        GroupState::Mended => "the interfaces of its addresses work again here",
    }
}

impl fmt::Display for VipEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Takeover {
                decided_ns,
                address_ns,
                announced_ns,
                ..
            } => write!(
                f,
                "taken over; address up {} after the decision, announced {}",
                Micros(*decided_ns, *address_ns),
                Micros(*decided_ns, *announced_ns)
            ),
            Self::Release {
                decided_ns,
                address_ns,
            } => write!(
                f,
                "released; address gone {} after the decision",
                Micros(*decided_ns, *address_ns)
            ),
            Self::PutBack { message, .. }
            | Self::Claimed { message, .. }
            | Self::Stray { message }
            | Self::Failed { message } => f.write_str(message),
        }
    }
}
