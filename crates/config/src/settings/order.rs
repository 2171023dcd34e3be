//! `[[order]]`: groups that run only after others.

use heartbeat_core::placement::Order;

use super::{
    Check::Hidden,
    Fallback::{Is, Required},
    Reload::Constraints,
    settings,
};
use crate::{
    readers::{Text, Word, text},
    values,
};

/// The word for an order, by whether it is mandatory.
const fn word(mandatory: bool) -> &'static str {
    if mandatory { "mandatory" } else { "advisory" }
}

settings! {
    /// Groups that run only after others. Circles are refused.
    "[[order]]" of Order, "with two brackets";

    /// The group that runs first.
    FIRST: Text<String> = text(values::name, "the name of a group or VIP") => {
        name: "first", default: Required, example: r#""db""#,
        reload: Constraints, digest: true, check: Hidden;
        |config, order| config.groups.get(order.first).map(|group| group.name.clone())
    }

    /// The group that runs after it.
    THEN: Text<String> = text(values::name, "the name of a group or VIP") => {
        name: "then", default: Required, example: r#""web""#,
        reload: Constraints, digest: true, check: Hidden;
        |config, order| config.groups.get(order.then).map(|group| group.name.clone())
    }

    /// mandatory: `then` runs only while `first` does. advisory: the order only matters where both
    /// are about to start.
    KIND: Word<bool> = Word { all: &[true, false], word, other: "no kind of order" } => {
        name: "kind", default: Is(|| true),
        reload: Constraints, digest: true, check: Hidden;
        |_, order| order.mandatory
    }
}
