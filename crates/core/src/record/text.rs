//! Decisions as text, one line each, for `heartbeat replay` and for the traces of the tests.

use std::fmt;

use heartbeat_common::{lease::Ballot, time::Boottime};

use crate::{
    cluster::Command,
    group::{AcquisitionTimeline, GroupEvent, Reason},
    proposer::Obstacle,
    reach::Reach,
    resource::GroupState,
};

/// A decision and its time, in milliseconds since `since`.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub since: Boottime,
    pub at: Boottime,
    pub command: &'a Command,
}

impl<'a> Line<'a> {
    /// The time of the decision, in milliseconds.
    pub fn when(self) -> impl fmt::Display {
        self.instant(self.at)
    }

    /// The decision without its time.
    pub fn what(self) -> impl fmt::Display + 'a {
        Decision(self)
    }

    /// An instant that the decision names.
    fn instant(&self, at: Boottime) -> Millis {
        Millis(i128::from(at.as_nanos()) - i128::from(self.since.as_nanos()))
    }

    fn timeline(&self, timeline: &AcquisitionTimeline, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, majority) = (self.instant(timeline.free), self.instant(timeline.majority));
        write!(f, " (lease free at {free}, majority at {majority})")
    }

    fn group(&self, event: &GroupEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match event {
            GroupEvent::LeaseAcquired { timeline, regained } => {
                f.write_str(if *regained { "lease regained" } else { "start" })?;
                self.timeline(timeline, f)
            }
            GroupEvent::LeaseGivenUp(reason) => write!(f, "stop: {}", Why(*reason)),
            GroupEvent::ClaimGivenUp(obstacle) => {
                write!(f, "claim given up: {}", Refusal(*obstacle))
            }
            GroupEvent::BallotsExhausted => f.write_str("no higher ballot is left"),
            GroupEvent::State(GroupState::Broken) => {
                f.write_str("an interface with its addresses is broken")
            }
            GroupEvent::State(GroupState::Mended) => f.write_str("its interfaces work again"),
            GroupEvent::State(state) => f.write_str(state.name()),
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>12}  {}",
            self.instant(self.at).to_string(),
            self.what()
        )
    }
}

/// A decision without its time.
struct Decision<'a>(Line<'a>);

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.command {
            Command::LinkChanged {
                node,
                link,
                from,
                to,
            } => {
                let (from, to) = (from.name(), to.name());
                write!(f, "node {} link {}: {from} -> {to}", node.0, link.0)
            }
            Command::PeerChanged {
                node,
                from,
                to,
                silence,
            } => {
                write!(f, "node {}: {} -> {}", node.0, from.name(), to.name())?;
                match silence.and_then(|silence| silence.last_reply) {
                    Some(last) => write!(f, " (last reply at {})", self.0.instant(last)),
                    None => Ok(()),
                }
            }
            Command::PeerHealth { node, health } => {
                write!(f, "node {}: {} failing checks", node.0, health.failing())
            }
            Command::LocalStallBegan { late } => {
                write!(
                    f,
                    "local stall: this step was {late:?} late, the silence is counted anew"
                )
            }
            Command::LocalStallEnded => f.write_str("local stall ended"),
            Command::QuorumChanged { quorate, alive } => {
                let quorum = if *quorate { "quorum" } else { "no quorum" };
                write!(f, "{quorum}: {alive} alive")
            }
            Command::Announce(state) => write!(f, "this node is {}", state.name()),
            Command::Settled { version } => write!(f, "claims use node list {version}"),
            Command::Reach { link, reach } => {
                write!(f, "link {} is {}", link.0, reach_name(*reach))
            }
            Command::Group { group, event } => {
                write!(f, "group {group}: ")?;
                self.0.group(event, f)
            }
        }
    }
}

/// Nanoseconds as milliseconds, to the microsecond.
struct Millis(i128);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs() / 1_000;
        write!(f, "{sign}{}.{:03} ms", micros / 1_000, micros % 1_000)
    }
}

/// The reason why a group stops.
struct Why(Reason);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::LeaseLost => f.write_str("lease lost"),
            Reason::Moved { to } => write!(f, "moved to node {} by an operator", to.0),
            Reason::FailBack { to } => write!(f, "failing back to node {}", to.0),
            Reason::NodeUnfit => f.write_str("this node may not serve"),
            Reason::Unhealthy => f.write_str("a check of this node fails"),
            Reason::Drained { to } => write!(f, "drained to node {}", to.0),
            Reason::Rebalanced { to } => write!(f, "rebalanced to node {}", to.0),
            Reason::Failed => f.write_str("its resources failed"),
            Reason::Disabled => f.write_str("stopped by an operator"),
            Reason::Removed => f.write_str("removed from the configuration"),
            Reason::Constrained => f.write_str("a constraint forbids it"),
            Reason::CutOff => f.write_str("this node is cut off from the network of its addresses"),
        }
    }
}

/// The reason why a claim failed.
struct Refusal(Obstacle);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Obstacle::Lease { owner, remaining } => {
                write!(
                    f,
                    "node {} has the lease for another {remaining:?}",
                    owner.0
                )
            }
            Obstacle::Unheard => f.write_str("an acceptor has not received the release"),
            Obstacle::Promise { ballot, .. } => {
                write!(f, "a majority promised it to {}", Number(ballot))
            }
            Obstacle::Silence => f.write_str("too few acceptors answered in time"),
        }
    }
}

struct Number(Ballot);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (round, node) = (self.0.round(), self.0.node());
        write!(f, "round {round} of node {}", node.0)
    }
}

const fn reach_name(reach: Reach) -> &'static str {
    match reach {
        Reach::Whole => "whole",
        Reach::Silent => "silent",
        Reach::Broken => "broken",
    }
}
