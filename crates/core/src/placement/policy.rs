//! The configuration of placement, apart from scores and constraints.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// The rule for the choice among nodes with the same points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// The order of the group's preference.
    #[default]
    Preferred,
    /// The least load first.
    LeastLoaded,
    /// The fewest groups first.
    Spread,
    /// Only nodes with room for the group's demand; of them, the one with the most left.
    Utilization,
}

impl Strategy {
    pub const ALL: [Self; 4] = [
        Self::Preferred,
        Self::LeastLoaded,
        Self::Spread,
        Self::Utilization,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::LeastLoaded => "least-loaded",
            Self::Spread => "spread",
            Self::Utilization => "utilization",
        }
    }

    /// Whether a node without room cannot have a group.
    pub const fn checks_room(self) -> bool {
        matches!(self, Self::Utilization)
    }

    /// Whether the number of groups on each node matters.
    pub const fn counts_groups(self) -> bool {
        !matches!(self, Self::Preferred)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub strategy: Strategy,
    /// Points that a node loses for each failing check that is not fatal.
    pub degraded_points: u32,
    /// The rules for moves to nodes with room. Without rules no group moves.
    pub rebalance: Option<Rebalance>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            degraded_points: 100,
            rebalance: None,
        }
    }
}

/// Loads are per mille.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebalance {
    /// The load above which a node has too much.
    pub high: u16,
    /// The load below which a node has room.
    pub low: u16,
    /// The time for which a node must have had too much, without interruption.
    pub hold: Duration,
    /// The time without moves after a move.
    pub cooldown: Duration,
}
