//! What the configuration says about where groups go, beside scores and constraints.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// By what a node is chosen among those with the same points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// The order of the group's preference.
    #[default]
    Preferred,
    /// The least load first.
    LeastLoaded,
    /// The fewest groups first.
    Spread,
    /// Only nodes that have room for what the group needs; of them, the one with the most left.
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
    pub const fn minds_room(self) -> bool {
        matches!(self, Self::Utilization)
    }

    /// Whether it matters who has how much already.
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
    /// Points that a node loses for each check that fails and is not fatal.
    pub degraded_points: u32,
    /// When groups move to where there is room; never if absent.
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
    /// A node above this has too much.
    pub high: u16,
    /// A node below this has room.
    pub low: u16,
    /// For how long without interruption a node must have had too much.
    pub hold: Duration,
    /// How long nothing moves after anything has.
    pub cooldown: Duration,
}
