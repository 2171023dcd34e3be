//! The reasons that keep a group off a node.

use std::fmt;

use heartbeat_common::{
    time::Boottime,
    wire::{Health, NodeState},
};

use crate::{
    Timing,
    index::KindIndex,
    peer::{Peer, PeerState},
};

/// The reason why a node cannot have a group, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ineligibility {
    /// The node has not replied yet: it may be about to contend.
    Unknown,
    Down,
    /// The node's agent does not tick.
    Stalled,
    /// A check of the node forbids it to serve.
    Unhealthy,
    Draining,
    Standby,
    Maintenance,
    /// The node takes no part in decisions yet, or no more.
    Starting,
    /// Only a responder is loaded there.
    NoAgent,
    /// The node is in a local stall: it ran late, and no peer has replied since.
    LocalStall,
    /// The configuration does not name the node for the group.
    Unlisted,
    /// The configuration bans the group from the node.
    Banned,
    /// The group's resources cannot run there for now.
    Barred,
    /// The node's interfaces do not reach the network of the group's addresses, and another node's
    /// do.
    CutOff,
    /// The node has not determined yet which resources of the group run there.
    Settling,
    /// Another group keeps the group away.
    Constrained,
    /// The node has too little left of this kind.
    NoRoom(KindIndex),
}

impl Ineligibility {
    /// The reason against a peer, whatever the group.
    pub const fn of_peer(state: PeerState, announced: NodeState, health: Health) -> Option<Self> {
        match state {
            PeerState::Unknown => Some(Self::Unknown),
            PeerState::Down => Some(Self::Down),
            PeerState::AgentStalled => Some(Self::Stalled),
            PeerState::Unhealthy => Some(Self::Unhealthy),
            PeerState::Draining => Some(Self::Draining),
            PeerState::Up | PeerState::Suspect => Self::of_node(announced, health),
        }
    }

    /// The reason against a node that replies, from its state and its health.
    pub const fn of_node(announced: NodeState, health: Health) -> Option<Self> {
        if health.is_fatal() {
            return Some(Self::Unhealthy);
        }
        match announced {
            NodeState::Active => None,
            NodeState::Responder => Some(Self::NoAgent),
            NodeState::Starting => Some(Self::Starting),
            NodeState::Standby => Some(Self::Standby),
            NodeState::Draining => Some(Self::Draining),
            NodeState::Maintenance => Some(Self::Maintenance),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "no reply yet",
            Self::Down => "down",
            Self::Stalled => "agent stalled",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Standby => "standby",
            Self::Maintenance => "maintenance",
            Self::Starting => "starting",
            Self::NoAgent => "no agent",
            Self::LocalStall => "local stall",
            Self::Unlisted => "not one of its nodes",
            Self::Banned => "banned by location",
            Self::Barred => "failed there",
            Self::CutOff => "cut off from the network of its addresses",
            Self::Settling => "not ready there yet",
            Self::Constrained => "kept away by another group",
            Self::NoRoom(_) => "no room",
        }
    }
}

impl Peer {
    /// The reason why the peer can take no group at `now`, if there is one.
    pub fn ineligibility(&self, now: Boottime, timing: &Timing) -> Option<Ineligibility> {
        let ineligibility =
            Ineligibility::of_peer(self.state, self.last_reply.state, self.last_reply.health);
        // The state may become agent-stalled much later, but the peer has lost all its leases.
        let lapsed = || now.since(self.last_reply.ticked_at) >= timing.lease;
        ineligibility.or_else(|| lapsed().then_some(Ineligibility::Stalled))
    }
}

impl fmt::Display for Ineligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eligibility::Eligibility;

    #[test]
    fn only_an_active_agent_that_is_well_enough_is_fit() {
        use PeerState::{AgentStalled, Down, Draining, Suspect, Unhealthy, Unknown, Up};
        let (well, ill) = (Health::default(), Health::of(3, false));
        let fatal = Health::of(3, true);
        for (state, announced, health, eligibility) in [
            (Up, NodeState::Active, well, Eligibility::Eligible),
            (Up, NodeState::Active, ill, Eligibility::Eligible),
            (Suspect, NodeState::Active, well, Eligibility::Eligible),
            (Suspect, NodeState::Active, fatal, Eligibility::Ineligible),
            (Up, NodeState::Starting, well, Eligibility::Ineligible),
            (Up, NodeState::Standby, well, Eligibility::Ineligible),
            (
                AgentStalled,
                NodeState::Active,
                well,
                Eligibility::Ineligible,
            ),
            (Unhealthy, NodeState::Active, fatal, Eligibility::Ineligible),
            (Draining, NodeState::Draining, well, Eligibility::Ineligible),
            (Down, NodeState::Active, well, Eligibility::Ineligible),
            (Unknown, NodeState::Responder, well, Eligibility::Undecided),
        ] {
            assert_eq!(
                Eligibility::of(Ineligibility::of_peer(state, announced, health)),
                eligibility,
                "{state:?} {announced:?} {health:?}"
            );
        }
    }
}
