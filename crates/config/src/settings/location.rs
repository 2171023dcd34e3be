//! `[[location]]`: points for and against nodes.

use heartbeat_common::wire::NodeId;
use heartbeat_core::placement::Score;

use super::{Check::Hidden, Fallback::Required, Reload::Constraints, settings};
use crate::{
    readers::{Points, Text, text},
    values,
};

/// Points of a group, by its name, for or against a node.
pub(crate) struct Location {
    pub(crate) group: String,
    pub(crate) node: NodeId,
    pub(crate) score: Score,
}

settings! {
    /// Where a group is better or worse off: at most one for each group and member. The node with
    /// the most points that is fit gets the group; of equals, the better-ranked.
    "[[location]]" of Location, "with two brackets";

    /// The group.
    GROUP: Text<String> = text(values::name, "the name of a group or VIP") => {
        name: "group", default: Required, example: r#""web""#,
        reload: Constraints, digest: true, check: Hidden;
        |_, location| location.group.clone()
    }

    /// The node, which must be a member.
    NODE: Text<String> = text(values::name, "the name of a [[node]]") => {
        name: "node", default: Required, example: r#""a""#,
        reload: Constraints, digest: true, check: Hidden;
        |_, location| location.node.0.to_string()
    }

    /// The points. "-inf" is that the group never runs there.
    SCORE: Points = Points { low: Score::NEVER } => {
        name: "score", default: Required, example: "100",
        reload: Constraints, digest: true, check: Hidden;
        |_, location| location.score
    }
}
