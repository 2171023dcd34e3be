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
    /// The reason why the node gives no vote any more, if any.
    pub(super) absence: Option<Absence>,
    /// The remaining abstention of the node's acceptor, if it abstains.
    pub(super) abstains: Option<Abstention>,
}

/// The reason why a node votes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    Down,
    /// The node's report says that its agent stops.
    Stopping,
    /// The node has not answered since the question, and its `timeout` has not passed yet.
    Silent,
}

impl Absence {
    const fn words(self) -> &'static str {
        match self {
            Self::Down => "is down",
            Self::Stopping => "is stopping",
            Self::Silent => "does not answer any more",
        }
    }
}

impl Voter {
    fn votes(&self) -> bool {
        self.absence.is_none() && self.abstains.is_none()
    }

    /// Returns the reason for the missing vote.
    fn missing_vote(&self) -> String {
        let name = &self.name;
        match (self.absence, self.abstains) {
            (Some(absence), _) => format!("{name} {}", absence.words()),
            (None, Some(abstention)) => format!("{name} {abstention} yet"),
            (None, None) => format!("{name} votes"),
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
        "without {name} {then} of {} nodes would vote, {needed} are needed, and nothing would be \
         served",
        voters.len()
    );
    for voter in left.filter(|voter| !voter.votes()) {
        let _ = write!(text, "; {}", voter.missing_vote());
    }
    let enough = (needed + 1).min(voters.len());
    let _ = write!(
        text,
        "\n  wait for the others: `heartbeat wait --votes {enough}`; or use --force"
    );
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes 1, 2, …: `v` votes, `a` abstains, `m` may abstain, `d` is down, `s` is stopping, `q`
    /// is silent.
    fn voters(states: &str) -> Vec<Voter> {
        let abstention = |at_most| Abstention {
            for_ns: 800_000_000,
            at_most,
        };
        let voter = |(index, state): (usize, char)| Voter {
            node: NodeId(index as u16 + 1),
            name: format!("n{}", index + 1),
            absence: match state {
                'd' => Some(Absence::Down),
                's' => Some(Absence::Stopping),
                'q' => Some(Absence::Silent),
                _ => None,
            },
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
            // The other one was told to stop a moment ago.
            ("vvs", true),
            ("vvq", true),
            ("vvvvs", false),
            ("vvvsq", true),
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
            "without n1 2 of 5 nodes would vote, 3 are needed, and nothing would be served; n4 is \
             down; n5 abstains for 800 ms yet\n  wait for the others: `heartbeat wait --votes 4`; \
             or use --force"
        );
        let said = loss(&voters("vvm"), NodeId(2)).unwrap();
        assert!(said.contains("n3 may abstain for 800 ms yet"), "{said}");
        let said = loss(&voters("vvvsq"), NodeId(2)).unwrap();
        assert!(
            said.contains("; n4 is stopping; n5 does not answer any more\n"),
            "{said}"
        );
    }
}
