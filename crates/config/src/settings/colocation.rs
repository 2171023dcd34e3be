//! `[[colocation]]`: groups that are to be together, or apart.

use heartbeat_core::placement::{Colocation, Score};

use super::{
    Check::Hidden,
    Fallback::{Is, Required},
    Reload::Constraints,
    settings,
};
use crate::{
    readers::{Points, Text, text},
    values,
};

settings! {
    /// Groups that are to be together, or apart. Groups that follow each other in a circle are
    /// refused.
    "[[colocation]]" of Colocation, "with two brackets";

    /// The group that follows.
    GROUP: Text<String> = text(values::name, "the name of a group or VIP") => {
        name: "group", default: Required, example: r#""web""#,
        reload: Constraints, digest: true, check: Hidden;
        |config, one| config.groups.get(one.group).map(|group| group.name.clone())
    }

    /// The group that it follows, or keeps away from.
    WITH: Text<String> = text(values::name, "the name of a group or VIP") => {
        name: "with", default: Required, example: r#""db""#,
        reload: Constraints, digest: true, check: Hidden;
        |config, one| config.groups.get(one.with).map(|group| group.name.clone())
    }

    /// "inf" is that `group` runs only where `with` does, "-inf" never there; a number is advice.
    SCORE: Points = Points { low: Score::NEVER } => {
        name: "score", default: Is(|| Score::MUST), example: "100",
        reload: Constraints, digest: true, check: Hidden;
        |_, one| one.score
    }
}
