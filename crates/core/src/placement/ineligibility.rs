//! What keeps a group off a node.

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

/// Why a node cannot have a group, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ineligibility {
    /// It was not heard yet: it may be about to contend.
    Unknown,
    Down,
    /// Its agent does not tick.
    Stalled,
    /// One of its checks says that it must serve nothing.
    Unhealthy,
    Draining,
    Standby,
    Maintenance,
    /// It takes no part in decisions yet, or no more.
    Starting,
    /// Only a responder is loaded there.
    NoAgent,
    /// It trusts no silence just now.
    LocalStall,
    /// The configuration does not name it for the group.
    Unlisted,
    /// The configuration forbids it.
    Banned,
    /// The group's resources cannot run there for now.
    Barred,
    /// Its interfaces do not reach the network of the group's addresses, and another node's do.
    CutOff,
    /// It does not know yet what of the group runs there.
    Settling,
    /// Another group forbids it.
    Constrained,
    /// Too little is left of what the group needs of this kind.
    NoRoom(KindIndex),
}

impl Ineligibility {
    /// What stands against a peer, whatever the group.
    pub const fn of_peer(state: PeerState, said: NodeState, health: Health) -> Option<Self> {
        match state {
            PeerState::Unknown => Some(Self::Unknown),
            PeerState::Down => Some(Self::Down),
            PeerState::AgentStalled => Some(Self::Stalled),
            PeerState::Unhealthy => Some(Self::Unhealthy),
            PeerState::Draining => Some(Self::Draining),
            PeerState::Up | PeerState::Suspect => Self::of_node(said, health),
        }
    }

    /// What stands against a node that can be heard, by what it says of itself.
    pub const fn of_node(said: NodeState, health: Health) -> Option<Self> {
        if health.is_fatal() {
            return Some(Self::Unhealthy);
        }
        match said {
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
            Self::Unknown => "not heard yet",
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
            Self::Settling => "not known yet what runs there",
            Self::Constrained => "kept away by another group",
            Self::NoRoom(_) => "no room",
        }
    }
}

impl Peer {
    /// Why it can take no group at `now`, if it cannot.
    pub fn ineligibility(&self, now: Boottime, timing: &Timing) -> Option<Ineligibility> {
        let ineligibility = Ineligibility::of_peer(self.state, self.said.state, self.said.health);
        // It may be called stalled much later, but it has lost all leases that it had.
        let lapsed = || now.since(self.said.ticked_at) >= timing.lease;
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
        for (state, said, health, standing) in [
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
                Eligibility::of(Ineligibility::of_peer(state, said, health)),
                standing,
                "{state:?} {said:?} {health:?}"
            );
        }
    }
}
