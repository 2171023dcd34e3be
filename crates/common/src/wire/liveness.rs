//! The liveness vector: the state of a node, as its heartbeats carry it.

/// The state of a node's agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NodeState {
    /// Only a responder is loaded: this host answers but runs no agent.
    #[default]
    Responder = 0,
    /// The agent runs but does not yet take part in decisions.
    Starting = 1,
    Active = 2,
    Standby = 3,
    Draining = 4,
    Maintenance = 5,
}

impl NodeState {
    pub const ALL: [Self; 6] = [
        Self::Responder,
        Self::Starting,
        Self::Active,
        Self::Standby,
        Self::Draining,
        Self::Maintenance,
    ];

    /// The name in `heartbeat status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Responder => "responder",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }

    /// Reads a state. A state of a later minor revision reads as [`NodeState::Responder`], which
    /// has no rights.
    pub const fn from_wire(byte: u8) -> Self {
        match byte {
            1 => Self::Starting,
            2 => Self::Active,
            3 => Self::Standby,
            4 => Self::Draining,
            5 => Self::Maintenance,
            _ => Self::Responder,
        }
    }
}

/// The failing health checks of a node, as heartbeats carry them.
///
/// Bit *n* is check number *n* of the configuration. The highest bit means that at least one of
/// these failures forbids the node to serve. Without that bit, the failures only make the node a
/// worse place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Health(pub u16);

impl Health {
    /// The greatest number of checks of one node.
    pub const MAX_CHECKS: usize = 15;
    const FATAL: u16 = 1 << Self::MAX_CHECKS;

    /// The bits for the failure of check `number`.
    #[inline(always)]
    pub const fn of(number: usize, fatal: bool) -> Self {
        let fatal = if fatal { Self::FATAL } else { 0 };
        Self((1 << (number % Self::MAX_CHECKS)) | fatal)
    }

    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub const fn is_fatal(self) -> bool {
        self.0 & Self::FATAL != 0
    }

    #[inline(always)]
    pub const fn is_well(self) -> bool {
        self.0 == 0
    }

    /// Whether check `number` fails.
    #[inline(always)]
    pub const fn fails(self, number: usize) -> bool {
        number < Self::MAX_CHECKS && self.0 & (1 << number) != 0
    }

    /// The failing checks that are also in `others`. A fatal set stays fatal while one failure is
    /// left.
    #[inline(always)]
    pub const fn only(self, others: Self) -> Self {
        let left = self.0 & (others.0 | Self::FATAL);
        Self(if left == Self::FATAL { 0 } else { left })
    }

    /// The number of failing checks.
    #[inline(always)]
    pub const fn failing(self) -> u32 {
        (self.0 & !Self::FATAL).count_ones()
    }
}

/// The liveness vector: the state of the node that sent this heartbeat.
///
/// The kernel of the sending node fills it in at the moment at which the probe or the reply leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// A [`NodeState`], as a byte so that an unknown one survives.
    pub state: u8,
    /// A [`Health`]; 0 is healthy.
    pub health: u16,
    /// 0 to 1,000 per mille.
    pub load: u16,
    /// An [`Owned`].
    pub groups_owned: u16,
    /// The generation of the configuration that the agent runs.
    pub config_generation: u32,
    /// Microseconds since the last tick of the pulse; `u32::MAX` means "never, or over 71 minutes".
    pub pulse_age_us: u32,
    /// Microseconds since the last tick of the control task, in the same form.
    pub control_age_us: u32,
    /// The number of the latest report of the agent for its peers; 0 means none.
    pub report: u32,
    pub voter_set: VoterSet,
}

/// The voter sets by which a node votes and claims, as its heartbeats carry them: two numbers and a
/// digest.
///
/// The nodes of a voter set are in `heartbeat_core::membership::Voters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoterSet {
    /// The accepting version: the number of the list in the node's configuration, from 1. The
    /// node's acceptor uses this list.
    pub version: u16,
    /// The claiming version: the number of the list by whose majority the node claims leases; 0 if
    /// it must claim none.
    pub claiming: u16,
    /// The digest of the list with the number `version`, see `heartbeat_core::membership`.
    pub voters: u32,
}

impl VoterSet {
    /// Whether an acceptor that uses the list `version` votes on claims by a majority of the list
    /// with the number `claiming`: the list itself, or the one before it.
    ///
    /// The acceptor accepts no other list. The majorities of two lists need not have a node in
    /// common unless one came from the other by a single change.
    #[inline(always)]
    pub const fn votes_on(&self, claiming: u16) -> bool {
        claiming != 0 && (claiming == self.version || claiming as u32 + 1 == self.version as u32)
    }
}
