//! The texts of group and address events.

use std::fmt;

use heartbeat_common::units::Short;
use heartbeat_core::{
    group::{GroupEvent, Reason},
    proposer::Obstacle,
    resource::GroupState,
};

use crate::protocol::{NamedGroupEvent, VipEvent};

/// The text of a group's event, without the group's name.
pub(super) struct GroupEventText<'a>(pub(super) &'a NamedGroupEvent);

impl fmt::Display for GroupEventText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GroupEvent::LeaseAcquired { timeline, regained } => {
                let after = Short(timeline.majority.since(timeline.free));
                match regained {
                    false => write!(f, "lease acquired {after} after it became free"),
                    true => write!(
                        f,
                        "lease regained {after} after it ran out; another node may have held it \
                         meanwhile"
                    ),
                }
            }
            GroupEvent::LeaseGivenUp(reason) => {
                write!(f, "stopping here ({})", Why(reason))
            }
            GroupEvent::ClaimGivenUp(obstacle) => {
                f.write_str("claim postponed: ")?;
                match obstacle {
                    Obstacle::Lease { owner, remaining } => {
                        write!(f, "lease of {owner} lasts another {}", Short(*remaining))
                    }
                    Obstacle::Promise { to, .. } => {
                        write!(f, "{to} claims it with a higher ballot")
                    }
                    Obstacle::Unheard | Obstacle::Silence => {
                        f.write_str("too few nodes granted it in time")
                    }
                }
            }
            GroupEvent::BallotsExhausted => f.write_str(
                "ballots exhausted: a node claimed the lease with a clock or a release that is far \
                 off; restart all agents and responders of the cluster",
            ),
            GroupEvent::State(state) => fmt_state(state, f),
        }
    }
}

/// The text for the reason of a group's stop on this node.
struct Why<'a>(&'a Reason<String>);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Moved { to } => return write!(f, "moved to {to} by an operator"),
            Reason::FailBack { to } => return write!(f, "failing back to {to}"),
            Reason::Rebalanced { to } => return write!(f, "rebalanced to {to}"),
            Reason::Drained { to } => return write!(f, "drained to {to}"),
            Reason::LeaseLost => "lease lost: no majority renewed it in time",
            Reason::NodeUnfit => "this node is on standby or stopping, or its control task hangs",
            Reason::Unhealthy => "a fatal health check fails on this node",
            Reason::Failed => "resources failed on this node",
            Reason::Disabled => "stopped by an operator",
            Reason::Removed => "removed from the configuration",
            Reason::Constrained => "a constraint forbids it here",
            Reason::CutOff => "this node does not reach the network of its addresses",
        })
    }
}

fn fmt_state(state: &GroupState<String>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match state {
        GroupState::Barred { resource } => {
            return write!(
                f,
                "barred from this node after failures of {resource}; `heartbeat cleanup` clears \
                 them"
            );
        }
        GroupState::Blocked { resource } => {
            return write!(
                f,
                "BLOCKED: {resource} could not be stopped and may still run; stop it by hand, then \
                 `heartbeat cleanup`"
            );
        }
        GroupState::Ready => "ready",
        GroupState::Started => "started",
        GroupState::Incomplete => "degraded",
        GroupState::Stopped => "stopped",
        GroupState::Fit => "no longer barred from this node",
        GroupState::Unblocked => "no longer blocked",
        GroupState::Broken => "an interface of its addresses is missing, down or without carrier",
        GroupState::Mended => "the interfaces of its addresses are working again",
    })
}

impl fmt::Display for VipEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Takeover {
                decided_ns,
                address_ns,
                announced_ns,
                ..
            } => {
                let after = |at: u64| Short::nanos(at.saturating_sub(*decided_ns));
                let (added, announced) = (after(*address_ns), after(*announced_ns));
                write!(
                    f,
                    "taken over; address added ({added}) and announced ({announced})"
                )
            }
            Self::Release {
                decided_ns,
                address_ns,
            } => {
                let took = Short::nanos(address_ns.saturating_sub(*decided_ns));
                write!(f, "released; address removed ({took})")
            }
            Self::PutBack { message, .. }
            | Self::Claimed { message, .. }
            | Self::Stray { message }
            | Self::Failed { message } => f.write_str(message),
        }
    }
}
