//! The actions on a resource, and their outcomes.

use std::fmt;

/// A request to a resource agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A monitor before any other action, which determines whether the resource runs here already.
    /// "Not running" is no failure.
    Probe,
    Start,
    Stop,
    Monitor,
}

impl Action {
    pub const ALL: [Self; 4] = [Self::Probe, Self::Start, Self::Stop, Self::Monitor];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Monitor => "monitor",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The exit code of a resource agent, as numbered by the Open Cluster Framework's resource agent
/// API 1.1 (resource-agent-api.md, "Exit status codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitCode(pub u8);

impl ExitCode {
    pub const SUCCESS: Self = Self(0);
    pub const GENERIC_ERROR: Self = Self(1);
    pub const BAD_ARGUMENTS: Self = Self(2);
    pub const UNIMPLEMENTED: Self = Self(3);
    pub const NO_PERMISSION: Self = Self(4);
    pub const NOT_INSTALLED: Self = Self(5);
    pub const NOT_CONFIGURED: Self = Self(6);
    pub const NOT_RUNNING: Self = Self(7);
    pub const RUNNING_PROMOTED: Self = Self(8);
    pub const FAILED_PROMOTED: Self = Self(9);
    pub const DEGRADED: Self = Self(190);
    pub const DEGRADED_PROMOTED: Self = Self(191);

    /// The meaning of the code.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::SUCCESS => "ok",
            Self::GENERIC_ERROR => "error",
            Self::BAD_ARGUMENTS => "invalid parameter",
            Self::UNIMPLEMENTED => "unimplemented feature",
            Self::NO_PERMISSION => "insufficient privileges",
            Self::NOT_INSTALLED => "not installed",
            Self::NOT_CONFIGURED => "not configured",
            Self::NOT_RUNNING => "not running",
            Self::RUNNING_PROMOTED => "promoted",
            Self::FAILED_PROMOTED => "promoted (failed)",
            Self::DEGRADED => "degraded",
            Self::DEGRADED_PROMOTED => "promoted (degraded)",
            _ => "unknown exit code",
        }
    }

    /// Whether another attempt on the same node is useless.
    pub const fn is_hard(self) -> bool {
        matches!(
            self,
            Self::BAD_ARGUMENTS
                | Self::UNIMPLEMENTED
                | Self::NO_PERMISSION
                | Self::NOT_INSTALLED
                | Self::NOT_CONFIGURED
        )
    }
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Exited(ExitCode),
    /// The action took too long and was killed, with all its children.
    TimedOut,
    /// The action has not ended: a start or a stop took too long and was killed, but a process of
    /// it waits in the kernel and may still finish its work. The end follows.
    Lingers,
    /// The agent was ended by this signal, which this program did not send.
    Killed(i32),
    /// The agent could not be run at all.
    NotStarted,
    /// The end of a process of the resource, not of an action.
    Died,
}

/// The conclusion about a resource from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The resource runs, or the action succeeded.
    Well,
    /// The resource is cleanly stopped.
    NotRunning,
    /// The state of the resource is unknown.
    Failed,
}

impl Outcome {
    pub const OK: Self = Self::Exited(ExitCode::SUCCESS);
    pub const NOT_RUNNING: Self = Self::Exited(ExitCode::NOT_RUNNING);

    pub const fn finding(self, action: Action) -> Finding {
        match (action, self) {
            (_, Self::OK) => Finding::Well,
            (
                Action::Probe | Action::Monitor,
                Self::Exited(
                    ExitCode::RUNNING_PROMOTED | ExitCode::DEGRADED | ExitCode::DEGRADED_PROMOTED,
                ),
            ) => Finding::Well,
            // A stop of a stopped resource must succeed. An agent that answers "not running"
            // instead says no less.
            (Action::Probe | Action::Monitor | Action::Stop, Self::NOT_RUNNING) => {
                Finding::NotRunning
            }
            // A resource that is not installed cannot run.
            (Action::Probe, Self::Exited(ExitCode::NOT_INSTALLED)) => Finding::NotRunning,
            (Action::Monitor, Self::Died) => Finding::NotRunning,
            _ => Finding::Failed,
        }
    }

    /// Whether the outcome does not depend on the resource.
    pub const fn is_inconclusive(self) -> bool {
        matches!(self, Self::NotStarted)
    }

    /// Whether the agent refused the check. Bad parameters, missing rights or missing features say
    /// nothing about the state of the resource.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Exited(code) => code.is_hard() && code.0 != ExitCode::NOT_INSTALLED.0,
            _ => false,
        }
    }

    /// Whether another attempt on the same node is useless.
    pub const fn is_hard(self) -> bool {
        match self {
            Self::Exited(code) => code.is_hard(),
            Self::NotStarted => true,
            Self::TimedOut | Self::Lingers | Self::Killed(_) | Self::Died => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "{} ({})", code.meaning(), code.0),
            Self::TimedOut => f.write_str("timed out"),
            Self::Lingers => f.write_str("timed out, and cannot be killed"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::NotStarted => f.write_str("could not be run"),
            Self::Died => f.write_str("its process ended"),
        }
    }
}
