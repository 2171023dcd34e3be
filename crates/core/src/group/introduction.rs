//! The time after a reload with a new group, in which other nodes may not have the group yet.
//!
//! Nodes load a changed configuration one after the other. The first of them could start a new
//! group at once, and would hand it over to a better node a moment later. A new group is therefore
//! claimed only after every running candidate has it in its configuration, and has determined which
//! of its resources run there. This rule only delays a claim: the leases decide who may serve, as
//! before.

use std::time::Duration;

use heartbeat_common::time::Boottime;

use super::{Group, GroupContext};

/// The longest delay of a new group, whatever the state of other nodes.
pub const INTRODUCTION: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Introduction {
    /// All nodes have had the group, or the wait has ended.
    #[default]
    Over,
    /// A reload brought the group just now.
    Begins,
    Since(Boottime),
}

impl Group {
    /// The group, marked as new from a reload.
    pub(crate) fn introduced(self) -> Self {
        Self {
            introduction: Introduction::Begins,
            ..self
        }
    }

    /// Ends the wait for other nodes.
    pub(crate) fn end_introduction(&mut self) {
        self.introduction = Introduction::Over;
    }

    /// Whether the group is new, and a node that could serve it does not have it yet.
    pub(super) fn awaits_others(&mut self, context: &GroupContext<'_>) -> bool {
        let GroupContext {
            now,
            index,
            observation,
            ..
        } = *context;
        let since = match self.introduction {
            Introduction::Over => return false,
            Introduction::Begins => now,
            Introduction::Since(since) => since,
        };
        let mut others = self.plan.ranked.iter();
        let waits =
            now.since(since) < INTRODUCTION && others.any(|node| observation.lacks(index, *node));
        self.introduction = match waits {
            true => Introduction::Since(since),
            false => Introduction::Over,
        };
        waits
    }
}
