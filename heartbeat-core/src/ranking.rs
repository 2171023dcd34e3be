//! In which order nodes contend for a lease that is free: the one rule that every node applies to its
//! own view.
//!
//! Views may differ, and then two nodes contend at once: that costs time, never safety.

use heartbeat_common::wire::{NodeId, NodeState};

use crate::peer::PeerState;

/// Whether a node can own, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Fit,
    /// Not known yet: it may be about to contend.
    Open,
    Out,
}

impl Standing {
    /// That of a peer.
    pub fn of_peer(state: PeerState, said: NodeState) -> Self {
        match (state, said) {
            (PeerState::Unknown, _) => Self::Open,
            (PeerState::Up | PeerState::Suspect, NodeState::Active) => Self::Fit,
            _ => Self::Out,
        }
    }
}

/// The one of `nodes` with the least rank.
pub fn first<R: Ord>(
    nodes: impl Iterator<Item = NodeId>,
    rank: impl Fn(NodeId) -> R,
) -> Option<NodeId> {
    nodes.min_by_key(|node| rank(*node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_agent_is_fit() {
        use PeerState::{AgentStalled, Down, Suspect, Unknown, Up};
        for (state, said, standing) in [
            (Up, NodeState::Active, Standing::Fit),
            (Suspect, NodeState::Active, Standing::Fit),
            (Up, NodeState::Starting, Standing::Out),
            (Up, NodeState::Standby, Standing::Out),
            (AgentStalled, NodeState::Active, Standing::Out),
            (Down, NodeState::Active, Standing::Out),
            (Unknown, NodeState::Responder, Standing::Open),
        ] {
            assert_eq!(
                Standing::of_peer(state, said),
                standing,
                "{state:?} {said:?}"
            );
        }
    }
}
