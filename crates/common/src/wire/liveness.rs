//! The liveness vector: how a node is, as its heartbeats say it.

/// What an agent says it is doing.
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

    /// A state of a later minor revision reads as [`NodeState::Responder`], the one that is trusted
    /// with nothing.
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

/// Which of a node's health checks fail, as heartbeats carry it.
///
/// Bit *n* is check number *n* of the configuration; the highest bit says that one of them means that
/// the node must serve nothing. Where that is not set, all that fail only make the node a worse place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Health(pub u16);

impl Health {
    /// Checks that one node may have.
    pub const MAX_CHECKS: usize = 15;
    const FATAL: u16 = 1 << Self::MAX_CHECKS;

    /// What the failure of check `number` adds.
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

    /// Of the checks that fail only those in `others`; fatal still, if it was, while one is left.
    #[inline(always)]
    pub const fn only(self, others: Self) -> Self {
        let left = self.0 & (others.0 | Self::FATAL);
        Self(if left == Self::FATAL { 0 } else { left })
    }

    /// How many checks fail.
    #[inline(always)]
    pub const fn failing(self) -> u32 {
        (self.0 & !Self::FATAL).count_ones()
    }
}

/// The liveness vector: how the node that sent this heartbeat is.
///
/// In a reply it is filled in by the responder's kernel at the moment of the reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// A [`NodeState`]; kept as a byte so that an unknown one survives.
    pub state: u8,
    /// A [`Health`]; 0 is healthy.
    pub health: u16,
    /// 0 to 1,000 per mille.
    pub load: u16,
    /// An [`Owned`].
    pub groups_owned: u16,
    /// Generation of the configuration that the agent runs.
    pub config_generation: u32,
    /// Microseconds since the pulse thread last ticked; `u32::MAX` is "never, or over 71 minutes".
    pub pulse_age_us: u32,
    /// The same for the tokio side.
    pub control_age_us: u32,
    /// Number of the latest report that the agent has for its peers; 0 is none.
    pub report: u32,
    pub voter_set: VoterSet,
}

/// Whose votes a node goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoterSet {
    /// Number of the list of nodes in its configuration, from 1: its acceptor goes by it.
    pub version: u16,
    /// Number of the list by whose majority it claims leases; 0 if it claims none.
    pub counted: u16,
    /// What the list with the number `version` is made of, see `heartbeat_core::membership`.
    pub voters: u32,
}

impl VoterSet {
    /// Whether an acceptor that goes by this list votes on what is claimed by a majority of the list `counted`: by its
    /// own, or by the one before it.
    ///
    /// No further: the majorities of two lists need not have a node in common unless one came from the other by a
    /// single change.
    #[inline(always)]
    pub const fn votes_on(&self, counted: u16) -> bool {
        counted != 0 && (counted == self.version || counted as u32 + 1 == self.version as u32)
    }
}
