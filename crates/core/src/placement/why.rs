//! The reasons of a node's rank, as text.

use std::fmt;

use super::{Ineligibility, Score};
use crate::index::KindIndex;

/// One reason for or against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The node cannot have the group at all.
    Ineligibility(Ineligibility),
    /// Points of the configuration.
    Location(Score),
    /// Points from groups on the node.
    Colocation(Score),
    /// Points for the node that serves the group.
    Stickiness(Score),
    /// Points for this number of failing checks.
    Failing(Score, u32),
    /// Per mille.
    Load(u16),
    /// The number of other groups that the node has, or is about to get.
    Groups(u32),
    /// The rest of a kind, with the group.
    Free { kind: KindIndex, left: u32 },
}

impl Why {
    /// The same reason, with the names of the kinds.
    pub fn named<'a>(&'a self, kinds: &'a [String]) -> impl fmt::Display + 'a {
        Named { why: self, kinds }
    }
}

struct Named<'a> {
    why: &'a Why,
    kinds: &'a [String],
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |f: &mut fmt::Formatter<'_>, kind: KindIndex| match self.kinds.get(kind.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {kind}"),
        };
        match *self.why {
            Why::Ineligibility(Ineligibility::NoRoom(short)) => {
                f.write_str("no room: ")?;
                kind(f, short)
            }
            Why::Ineligibility(ineligibility) => write!(f, "{ineligibility}"),
            Why::Location(score) => signed(f, score, "location"),
            Why::Colocation(score) => signed(f, score, "colocation"),
            Why::Stickiness(score) => signed(f, score, "stickiness"),
            Why::Failing(score, 1) => signed(f, score, "check failing"),
            Why::Failing(score, checks) => {
                signed(f, score, "")?;
                write!(f, "{checks} checks failing")
            }
            Why::Load(load) => write!(f, "load {load}"),
            Why::Groups(1) => f.write_str("1 group"),
            Why::Groups(groups) => write!(f, "{groups} groups"),
            Why::Free { kind: of, left } => {
                f.write_str("free ")?;
                kind(f, of)?;
                write!(f, " {left}")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named(&[]).fmt(f)
    }
}

fn signed(f: &mut fmt::Formatter<'_>, score: Score, of: &str) -> fmt::Result {
    let plus = if score > Score::ZERO { "+" } else { "" };
    write!(f, "{plus}{score} {of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_words() {
        let kinds = ["cpu".to_owned()];
        for (why, words) in [
            (Why::Ineligibility(Ineligibility::Down), "down"),
            (
                Why::Ineligibility(Ineligibility::Banned),
                "banned by location",
            ),
            (
                Why::Ineligibility(Ineligibility::NoRoom(KindIndex(0))),
                "no room: cpu",
            ),
            (
                Why::Ineligibility(Ineligibility::NoRoom(KindIndex(1))),
                "no room: kind 1",
            ),
            (Why::Location(Score::new(50)), "+50 location"),
            (Why::Location(Score::MUST), "+INFINITY location"),
            (Why::Colocation(Score::new(-20)), "-20 colocation"),
            (Why::Stickiness(Score::new(5)), "+5 stickiness"),
            (Why::Failing(Score::new(-100), 1), "-100 check failing"),
            (Why::Failing(Score::new(-200), 2), "-200 2 checks failing"),
            (Why::Load(430), "load 430"),
            (Why::Groups(1), "1 group"),
            (Why::Groups(2), "2 groups"),
            (
                Why::Free {
                    kind: KindIndex(0),
                    left: 4,
                },
                "free cpu 4",
            ),
        ] {
            assert_eq!(why.named(&kinds).to_string(), words);
        }
        assert_eq!(
            Why::Free {
                kind: KindIndex(2),
                left: 1
            }
            .to_string(),
            "free kind 2 1"
        );
    }
}
