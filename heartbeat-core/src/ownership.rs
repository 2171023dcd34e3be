//! Who serves an address: the one rule that every node applies to its own view.
//!
//! The highest-ranked live node of a majority partition. Two views can differ for as long as the
//! failure detectors do, so this rule alone cannot exclude two owners for that time.

use heartbeat_common::wire::{NodeId, NodeState};

use crate::peer::PeerState;

/// Whether a node can own, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Fit,
    /// Not known yet: nobody behind it may take over.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Owner(NodeId),
    /// Leave things as they are.
    Undecided,
    Nobody,
}

/// Decides by `ranked`, the candidates with the best first.
pub fn decide(quorate: bool, ranked: impl IntoIterator<Item = (NodeId, Standing)>) -> Decision {
    if !quorate {
        return Decision::Nobody;
    }
    for (node, standing) in ranked {
        match standing {
            Standing::Fit => return Decision::Owner(node),
            Standing::Open => return Decision::Undecided,
            Standing::Out => {}
        }
    }
    Decision::Nobody
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn the_first_fit_node_owns() {
        assert_eq!(
            decide(true, [(A, Standing::Fit), (B, Standing::Fit)]),
            Decision::Owner(A)
        );
        assert_eq!(
            decide(true, [(A, Standing::Out), (B, Standing::Fit)]),
            Decision::Owner(B)
        );
        assert_eq!(
            decide(true, [(A, Standing::Out), (B, Standing::Out)]),
            Decision::Nobody
        );
    }

    #[test]
    fn nobody_passes_a_node_that_may_be_alive() {
        assert_eq!(
            decide(true, [(A, Standing::Open), (B, Standing::Fit)]),
            Decision::Undecided
        );
    }

    #[test]
    fn a_minority_owns_nothing() {
        assert_eq!(decide(false, [(A, Standing::Fit)]), Decision::Nobody);
    }

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
