//! The severity of an event, and the rule by which events are alike.

use heartbeat_core::{
    group::{GroupEvent, Reason},
    resource::GroupState,
};

use super::protocol::{EventKind, NamedGroupEvent, VipEvent};

/// The severity of a line of the log, the gravest first, with syslog's names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A service is unavailable, or may become so: an operator has to act.
    Error,
    /// The cluster handles the fault, or the fault threatens a service.
    Warning,
    /// A change that an operator should notice: a takeover, a move, a command.
    Notice,
    /// An intermediate step.
    Info,
    Debug,
}

impl Severity {
    /// The name in a line of the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARN",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The priority that journald reads at the start of a line, sd-daemon(3).
    pub const fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// Returns the severity of the begin of a fault, or of its end.
const fn fault(is: bool) -> Severity {
    if is {
        Severity::Warning
    } else {
        Severity::Notice
    }
}

impl EventKind {
    /// The severity of the event in the log.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Started | Self::Stopping | Self::GracefulRestart => Severity::Notice,
            Self::Link { to, .. } if to == "down" => Severity::Warning,
            Self::Link { .. } | Self::Resource { .. } => Severity::Info,
            Self::Peer { to, .. } => peer(to),
            Self::LocalStall { began, .. } => fault(*began),
            Self::Starved { .. } | Self::Refused { .. } | Self::Outdated { .. } => {
                Severity::Warning
            }
            Self::Quorum { quorate: false, .. } => Severity::Error,
            Self::Quorum { quorate: true, .. } => Severity::Notice,
            Self::Interface { state, .. } | Self::SocketGuard { state, .. } => fault(matches!(
                state.as_str(),
                "missing" | "failed" | "not-running" | "lost" | "silent"
            )),
            Self::ResourceFailed { action, .. } => match action.as_str() {
                "start" | "stop" => Severity::Error,
                _ => Severity::Warning,
            },
            Self::Health { well: true, .. } => Severity::Notice,
            Self::Health { failure, .. } if failure == "fatal" => Severity::Error,
            Self::Health { .. } => Severity::Warning,
            Self::PeerHealth { failing, .. } => fault(!failing.is_empty()),
            Self::Decided { .. } | Self::ConfigVersion { .. } | Self::Keys(_) => Severity::Notice,
            Self::Hook {
                status: Some(0), ..
            } => Severity::Info,
            Self::Hook { .. } => Severity::Warning,
            Self::Group { event, .. } => group(event),
            Self::Vip { event, .. } => vip(event),
        }
    }

    /// The subject of the event in one word. Events with the same name and the same subject are
    /// alike.
    pub fn subject(&self) -> &str {
        match self {
            Self::Link { node, .. }
            | Self::Peer { node, .. }
            | Self::PeerHealth { node, .. }
            | Self::Outdated { node, .. }
            | Self::Refused { node, .. } => node,
            Self::Interface { interface, .. } => interface,
            Self::Resource { resource, .. } | Self::ResourceFailed { resource, .. } => resource,
            Self::Health { check, .. } => check,
            Self::Hook { exec, .. } => exec,
            Self::Group { group, .. } => group,
            Self::Vip { vip, .. } => vip,
            Self::Started
            | Self::Stopping
            | Self::GracefulRestart
            | Self::LocalStall { .. }
            | Self::Starved { .. }
            | Self::Quorum { .. }
            | Self::SocketGuard { .. }
            | Self::Decided { .. }
            | Self::ConfigVersion { .. }
            | Self::Keys(_) => "",
        }
    }

    /// Whether the subject is a group, a resource or an address.
    pub const fn is_of_group(&self) -> bool {
        matches!(
            self,
            Self::Group { .. }
                | Self::Vip { .. }
                | Self::Resource { .. }
                | Self::ResourceFailed { .. }
        )
    }

    /// A number that distinguishes events of one kind and one subject, such as a node that is down
    /// and a node that is up again.
    pub fn variant(&self) -> u32 {
        let text = match self {
            Self::Link { to, link, .. } => format!("{link} {to}"),
            Self::Peer { to: state, .. }
            | Self::Interface { state, .. }
            | Self::SocketGuard { state, .. }
            | Self::Resource { state, .. } => state.clone(),
            Self::ResourceFailed { action, .. } => action.clone(),
            Self::LocalStall { began: is, .. } | Self::Quorum { quorate: is, .. } => is.to_string(),
            Self::Health { well, .. } => well.to_string(),
            Self::Decided { what, .. } => what.clone(),
            Self::Group {
                event: GroupEvent::State(state),
                ..
            } => state.name().to_owned(),
            _ => String::new(),
        };
        // FNV-1a: two texts with the same hash share a limit.
        text.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }

    /// The name of the kind in the JSON field `event`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::GracefulRestart => "parting",
            Self::Link { .. } => "link",
            Self::Peer { .. } => "peer",
            Self::LocalStall { .. } => "deaf",
            Self::Starved { .. } => "starved",
            Self::Quorum { .. } => "quorum",
            Self::Interface { .. } => "interface",
            Self::SocketGuard { .. } => "socket-guard",
            Self::Resource { .. } => "resource",
            Self::ResourceFailed { .. } => "resource-failed",
            Self::Health { .. } => "health",
            Self::PeerHealth { .. } => "peer-health",
            Self::Decided { .. } => "decided",
            Self::Outdated { .. } => "outdated",
            Self::Refused { .. } => "refused",
            Self::ConfigVersion { .. } => "config-version",
            Self::Keys(_) => "keys",
            Self::Hook { .. } => "hook",
            Self::Group { event, .. } => match event {
                GroupEvent::LeaseAcquired { .. } => "lease-acquired",
                GroupEvent::LeaseGivenUp(_) => "lease-given-up",
                GroupEvent::ClaimGivenUp(_) => "claim-given-up",
                GroupEvent::BallotsExhausted => "ballots-exhausted",
                GroupEvent::State(_) => "group",
            },
            Self::Vip { event, .. } => match event {
                VipEvent::Takeover { .. } => "takeover",
                VipEvent::Release { .. } => "release",
                VipEvent::PutBack { .. } => "put-back",
                VipEvent::Claimed { .. } => "claimed",
                VipEvent::Stray { .. } => "stray",
                VipEvent::Failed { .. } => "vip-error",
            },
        }
    }
}

fn peer(to: &str) -> Severity {
    match to {
        "down" | "agent-stalled" | "unhealthy" => Severity::Warning,
        "suspect" => Severity::Info,
        _ => Severity::Notice,
    }
}

const fn group(event: &NamedGroupEvent) -> Severity {
    match event {
        GroupEvent::LeaseAcquired { .. } => Severity::Notice,
        GroupEvent::LeaseGivenUp(reason) => match reason {
            Reason::LeaseLost | Reason::Unhealthy | Reason::Failed | Reason::CutOff => {
                Severity::Warning
            }
            Reason::Moved { .. }
            | Reason::FailBack { .. }
            | Reason::Rebalanced { .. }
            | Reason::Drained { .. }
            | Reason::NodeUnfit
            | Reason::Disabled
            | Reason::Removed
            | Reason::Constrained => Severity::Notice,
        },
        GroupEvent::ClaimGivenUp(_) => Severity::Info,
        GroupEvent::BallotsExhausted | GroupEvent::State(GroupState::Blocked { .. }) => {
            Severity::Error
        }
        GroupEvent::State(
            GroupState::Barred { .. } | GroupState::Incomplete | GroupState::Broken,
        ) => Severity::Warning,
        GroupEvent::State(
            GroupState::Ready
            | GroupState::Started
            | GroupState::Stopped
            | GroupState::Fit
            | GroupState::Unblocked
            | GroupState::Mended,
        ) => Severity::Notice,
    }
}

const fn vip(event: &VipEvent) -> Severity {
    match event {
        VipEvent::Takeover { .. } | VipEvent::Release { .. } => Severity::Notice,
        VipEvent::PutBack { .. } | VipEvent::Claimed { .. } | VipEvent::Stray { .. } => {
            Severity::Warning
        }
        VipEvent::Failed { .. } => Severity::Error,
    }
}
