//! What can be done to a resource, and what can become of it.

use std::fmt;

/// What a resource agent is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A monitor before anything else: does it run here already? It is no failure if not.
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

/// The exit code of a resource agent, as the Open Cluster Framework's resource agent API 1.1
/// numbers them (resource-agent-api.md, "Exit status codes").
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

    /// What the code means.
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

    /// Whether trying again on the same node is of no use.
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

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Exited(ExitCode),
    /// It took too long and was killed, with all its children.
    TimedOut,
    /// No end: a start or a stop took too long and was killed, but some of it waits in the kernel
    /// and may yet do what it was to. The end follows.
    Lingers,
    /// Its agent was ended by this signal, not by us.
    Killed(i32),
    /// Its agent could not be run at all.
    NotStarted,
    /// Not an action's end: a process of the resource was seen to end.
    Died,
}

/// What an outcome says of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// It does what it was asked to, or runs.
    Well,
    /// It is cleanly stopped.
    NotRunning,
    /// Whether it runs is not known.
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
            // To stop what does not run must succeed; an agent that reports it instead says no
            // less.
            (Action::Probe | Action::Monitor | Action::Stop, Self::NOT_RUNNING) => {
                Finding::NotRunning
            }
            // Nothing that is not installed can run.
            (Action::Probe, Self::Exited(ExitCode::NOT_INSTALLED)) => Finding::NotRunning,
            (Action::Monitor, Self::Died) => Finding::NotRunning,
            _ => Finding::Failed,
        }
    }

    /// Whether the resource had no say in it.
    pub const fn tells_nothing(self) -> bool {
        matches!(self, Self::NotStarted)
    }

    /// Whether the agent refused to look: that its parameters, its rights or its abilities do not
    /// suffice says nothing of what runs.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Exited(code) => code.is_hard() && code.0 != ExitCode::NOT_INSTALLED.0,
            _ => false,
        }
    }

    /// Whether trying again on the same node is of no use.
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
