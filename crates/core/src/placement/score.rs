//! Points for and against a node, with the meaning that they have in Pacemaker.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Add};

/// From −1,000,000, "never", to 1,000,000, "must". Never wins: −∞ + ∞ = −∞.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Score(i32);

impl Score {
    pub const NEVER: Self = Self(-1_000_000);
    pub const ZERO: Self = Self(0);
    pub const MUST: Self = Self(1_000_000);
    /// More than all other points together, and finite. A group with this stickiness leaves for no
    /// better node, but may be moved for load.
    pub const STAYS: Self = Self(999_999);

    /// Clamps the points to the range from [`Score::NEVER`] to [`Score::MUST`].
    pub const fn new(points: i32) -> Self {
        if points >= Self::MUST.0 {
            Self::MUST
        } else if points <= Self::NEVER.0 {
            Self::NEVER
        } else {
            Self(points)
        }
    }

    pub const fn points(self) -> i32 {
        self.0
    }

    pub fn is_finite(self) -> bool {
        self != Self::MUST && self != Self::NEVER
    }
}

impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::NEVER, _) | (_, Self::NEVER) => Self::NEVER,
            (Self::MUST, _) | (_, Self::MUST) => Self::MUST,
            (Self(a), Self(b)) => Self::new(a + b),
        }
    }
}

impl std::iter::Sum for Score {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MUST => f.pad("INFINITY"),
            Self::NEVER => f.pad("-INFINITY"),
            Self(points) => f.pad(&points.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Score;

    #[test]
    fn never_beats_must_and_must_beats_the_rest() {
        let some = Score::new(7);
        assert_eq!(Score::NEVER + Score::MUST, Score::NEVER);
        assert_eq!(Score::MUST + Score::NEVER, Score::NEVER);
        assert_eq!(Score::MUST + Score::new(-5), Score::MUST);
        assert_eq!(Score::NEVER + some, Score::NEVER);
        assert_eq!(some + Score::new(-9), Score::new(-2));
        assert_eq!(Score::new(999_999) + some, Score::MUST);
        assert_eq!(Score::new(i32::MIN), Score::NEVER);
        assert_eq!([some, some].into_iter().sum::<Score>(), Score::new(14));
        assert_eq!(
            [Score::MUST, Score::NEVER, some].map(|score| score.to_string()),
            ["INFINITY", "-INFINITY", "7"]
        );
    }
}
