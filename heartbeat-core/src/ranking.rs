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

/// How many nodes before `local` may contend: those of `ranked`, the best first, that are not out.
/// `None` if `local` is not among them.
pub fn place(
    local: NodeId,
    ranked: &[NodeId],
    standing: impl Fn(NodeId) -> Standing,
) -> Option<u32> {
    let at = ranked.iter().position(|node| *node == local)?;
    let before = ranked[..at]
        .iter()
        .filter(|node| standing(**node) != Standing::Out);
    Some(before.count() as u32)
}

/// The first of `ranked` that is fit.
pub fn best(ranked: &[NodeId], standing: impl Fn(NodeId) -> Standing) -> Option<NodeId> {
    ranked
        .iter()
        .copied()
        .find(|node| standing(*node) == Standing::Fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    #[test]
    fn those_that_are_out_do_not_count() {
        let standing = |node| match node {
            A => Standing::Out,
            B => Standing::Open,
            _ => Standing::Fit,
        };
        let ranked = [A, B, C];
        assert_eq!(place(A, &ranked, standing), Some(0));
        assert_eq!(place(B, &ranked, standing), Some(0));
        assert_eq!(place(C, &ranked, standing), Some(1));
        assert_eq!(place(C, &ranked[..2], standing), None);
        assert_eq!(best(&ranked, standing), Some(C));
        assert_eq!(best(&ranked[..2], standing), None);
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
