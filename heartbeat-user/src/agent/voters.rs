//! The check that enough nodes would vote if one of them stopped.
//!
//! Only votes of acceptors that answer and do not abstain count. Without a majority every lease
//! ends, and no group is served. An operator may intend that, and can force it.

use std::fmt::Write as _;

use heartbeat_common::wire::NodeId;

use crate::control::protocol::Abstention;

/// The voting state of a node in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Voter {
    pub(super) node: NodeId,
    pub(super) name: String,
    /// Whether the node's kernel answers.
    pub(super) lives: bool,
    /// The remaining abstention of the node's acceptor, if it abstains.
    pub(super) abstains: Option<Abstention>,
}

impl Voter {
    fn votes(&self) -> bool {
        self.lives && self.abstains.is_none()
    }

    /// Returns the reason for the missing vote.
    fn missing_vote(&self) -> String {
        let name = &self.name;
        match self.abstains {
            _ if !self.lives => format!("{name} is down"),
            Some(abstention) => format!("{name} {abstention} yet"),
            None => format!("{name} votes"),
        }
    }
}

/// Returns the reason against a stop of `leaving`: the remaining votes make no majority, while the
/// present votes do.
pub(super) fn loss(voters: &[Voter], leaving: NodeId) -> Option<String> {
    let needed = voters.len() / 2 + 1;
    let votes = |voter: &&Voter| voter.votes();
    let left = voters.iter().filter(|voter| voter.node != leaving);
    let (now, then) = (
        voters.iter().filter(votes).count(),
        left.clone().filter(votes).count(),
    );
    if voters.len() == 1 || now < needed || then >= needed {
        return None;
    }
    let name = voters.iter().find(|voter| voter.node == leaving);
    let name = name.map_or("this node", |voter| voter.name.as_str());
    let mut text = format!(
        "without {name} {then} of {} nodes would vote, {needed} are needed, and nothing would be served",
        voters.len()
    );
    for voter in left.filter(|voter| !voter.votes()) {
        let _ = write!(text, "; {}", voter.missing_vote());
    }
    let enough = (needed + 1).min(voters.len());
    let _ = write!(
        text,
        "\n  wait for the others: `heartbeat wait --votes {enough}`; or do it all the same, with --force"
    );
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes 1, 2, …: `v` votes, `a` abstains, `m` may abstain, `d` is down.
    fn voters(states: &str) -> Vec<Voter> {
        let abstention = |at_most| Abstention {
            for_ns: 800_000_000,
            at_most,
        };
        let voter = |(index, state): (usize, char)| Voter {
            node: NodeId(index as u16 + 1),
            name: format!("n{}", index + 1),
            lives: state != 'd',
            abstains: match state {
                'a' => Some(abstention(false)),
                'm' => Some(abstention(true)),
                _ => None,
            },
        };
        states.chars().enumerate().map(voter).collect()
    }

    #[test]
    fn node_whose_vote_makes_the_majority_is_not_to_stop() {
        for (states, refused) in [
            ("vvv", false),
            ("vvd", true),
            ("vva", true),
            ("vvm", true),
            ("vdv", true),
            // There is no majority to lose.
            ("vdd", false),
            ("vaa", false),
            // The stopping node does not vote itself.
            ("avv", false),
            ("avd", false),
            // A single node: its operator knows the effect.
            ("v", false),
            ("vvvvv", false),
            ("vvvda", true),
            ("vvvvd", false),
            ("vvvv", false),
            ("vvvd", true),
        ] {
            let why = loss(&voters(states), NodeId(1));
            assert_eq!(why.is_some(), refused, "{states}: {why:?}");
        }
    }

    #[test]
    fn refusal_names_who_does_not_vote_and_how_to_go_on() {
        assert_eq!(
            loss(&voters("vvvda"), NodeId(1)).unwrap(),
            "without n1 2 of 5 nodes would vote, 3 are needed, and nothing would be served; n4 is down; n5 abstains \
             for 800 ms yet\n  wait for the others: `heartbeat wait --votes 4`; or do it all the same, with --force"
        );
        let said = loss(&voters("vvm"), NodeId(2)).unwrap();
        assert!(said.contains("n3 may abstain for 800 ms yet"), "{said}");
    }
}
