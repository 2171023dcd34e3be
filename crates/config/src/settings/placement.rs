//! `[placement]`: how a node is chosen for a group.

use super::{Check::Prose, Fallback::Is, Reload::Placement, settings};
use crate::{
    readers::{COUNT, Number, Word, number},
    types::Strategy,
};

/// As much as a score can be.
const MAX_POINTS: u32 = 1_000_000;

settings! {
    /// How a node is chosen for a group, of those with the same points (scores, stickiness,
    /// advice).
    "[placement]" of ();

    /// preferred: the order of the group's preference. least-loaded: the least load first. spread:
    /// the fewest groups first. utilization: only nodes with room for the group's demand, the one
    /// with the most left first.
    STRATEGY: Word<Strategy> =
    Word { all: &Strategy::ALL, word: Strategy::as_str, other: "no strategy" } => {
        name: "strategy", default: Is(|| Strategy::Preferred), example: r#""least-loaded""#,
        reload: Placement, digest: true, check: Prose;
        |config, _| config.placement.strategy
    }

    /// Points that a node loses for each failed health check that is not fatal.
    DEGRADED_POINTS: Number<u32> = number(0, MAX_POINTS, COUNT) => {
        name: "degraded_points", default: Is(|| 100),
        reload: Placement, digest: true, check: Prose;
        |config, _| config.placement.degraded_points
    }
}
