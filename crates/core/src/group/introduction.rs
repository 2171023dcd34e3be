//! The time after a reload that brought a group, in which other nodes may not have it yet.
//!
//! Nodes take a changed configuration over one after the other. The first of them could start a new
//! group at once, and would hand it over to a better node a moment later. So a new group is claimed
//! once all nodes that could serve it and run have it in their configurations and know what of it
//! runs there. This only waits: who may serve is decided by leases as before.

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Group, GroupContext};

/// A new group is claimed after this time at the latest, whatever other nodes have.
pub const INTRODUCTION: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Introduction {
    /// All nodes have had the group, or were waited for.
    #[default]
    Over,
    /// A reload brought the group just now.
    Begins,
    Since(Boottime),
}

impl Group {
    /// The same, as a group that a reload brought.
    pub(crate) fn introduced(self) -> Self {
        Self {
            introduction: Introduction::Begins,
            ..self
        }
    }

    /// No other node is waited for.
    pub(crate) fn end_introduction(&mut self) {
        self.introduction = Introduction::Over;
    }

    /// Whether the group is new, and a node that could serve it does not have it yet.
    pub(super) fn awaits_others(&mut self, context: &GroupContext<'_>) -> bool {
        let GroupContext {
            now, index, sight, ..
        } = *context;
        let since = match self.introduction {
            Introduction::Over => return false,
            Introduction::Begins => now,
            Introduction::Since(since) => since,
        };
        let mut others = self.plan.ranked.iter();
        let waits = now.since(since) < INTRODUCTION && others.any(|node| sight.lacks(index, *node));
        self.introduction = match waits {
            true => Introduction::Since(since),
            false => Introduction::Over,
        };
        waits
    }
}
