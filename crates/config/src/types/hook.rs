//! Hooks as values: which events run which command.

use std::{fmt, path::PathBuf, time::Duration};

/// A command to run when something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The events that run the command: at least one, without repetition.
    pub on: Vec<HookEvent>,
    /// Absolute path.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub timeout: Duration,
}

impl Hook {
    /// The program and its arguments.
    pub(crate) fn command(&self) -> Vec<String> {
        let program = self.program.display().to_string();
        [program].into_iter().chain(self.args.clone()).collect()
    }
}

/// The events that a hook can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookEvent {
    PeerDown,
    /// A peer's kernel answers, but its agent does not tick.
    PeerStalled,
    /// A health check of a peer fails.
    PeerUnhealthy,
    /// A peer hands over the groups that it serves.
    PeerDraining,
    PeerUp,
    Takeover,
    Release,
    /// A check of this node's health failed, or is well again.
    Health,
    /// A group is handed over because this node has too much to do.
    Rebalance,
}

impl HookEvent {
    pub const ALL: [Self; 9] = [
        Self::PeerDown,
        Self::PeerStalled,
        Self::PeerUnhealthy,
        Self::PeerDraining,
        Self::PeerUp,
        Self::Takeover,
        Self::Release,
        Self::Health,
        Self::Rebalance,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerDown => "peer-down",
            Self::PeerStalled => "peer-stalled",
            Self::PeerUnhealthy => "peer-unhealthy",
            Self::PeerDraining => "peer-draining",
            Self::PeerUp => "peer-up",
            Self::Takeover => "takeover",
            Self::Release => "release",
            Self::Health => "health",
            Self::Rebalance => "rebalance",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
