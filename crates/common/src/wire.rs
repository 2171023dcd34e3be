//! Wire format version 1. `docs/wire-format.md` describes the same in prose.
//!
//! A heartbeat is a UDP payload: a fixed header, 0 to 8 lease entries, and a SipHash-2-4 tag over
//! both. All integers are in network byte order.

use crate::{siphash::SipKey, time::Boottime};

/// `HRTB`: the first four bytes of every heartbeat of every version.
pub const MAGIC: u32 = 0x4852_5442;
/// The version that this code speaks.
pub const VERSION: u8 = 1;
/// IANA service `ha-cluster`.
pub const DEFAULT_PORT: u16 = 694;
/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 104;
/// Bytes of one lease entry.
pub const LEASE_LEN: usize = 16;
/// Bytes of the authentication tag.
pub const TAG_LEN: usize = 8;
/// Lease entries that fit in one heartbeat.
pub const MAX_LEASES: usize = 8;
/// Bytes of the longest heartbeat.
pub const MAX_LEN: usize = len(MAX_LEASES);
/// Links that one node may have.
pub const MAX_LINKS: usize = 8;

/// Bytes of a heartbeat with `leases` entries, tag included.
#[inline(always)]
pub const fn len(leases: usize) -> usize {
    authenticated_len(leases) + TAG_LEN
}

/// Bytes that the tag covers, which is also where the tag begins.
#[inline(always)]
pub const fn authenticated_len(leases: usize) -> usize {
    HEADER_LEN + leases * LEASE_LEN
}

/// Offsets of the header's fields from the start of the UDP payload, in bytes.
pub mod offset {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 4;
    pub const KIND: usize = 5;
    pub const KEY_ID: usize = 6;
    pub const LEASE_COUNT: usize = 7;
    pub const CLUSTER: usize = 8;
    pub const SOURCE: usize = 12;
    pub const DESTINATION: usize = 14;
    pub const LINK: usize = 16;
    pub const STATE: usize = 17;
    pub const HEALTH: usize = 18;
    pub const LOAD: usize = 20;
    pub const GROUPS_OWNED: usize = 22;
    pub const CONFIG_GENERATION: usize = 24;
    pub const PULSE_AGE: usize = 28;
    pub const REASON_AGE: usize = 32;
    pub const REPORT: usize = 36;
    pub const INCARNATION: usize = 40;
    pub const SEQUENCE: usize = 48;
    pub const NONCE: usize = 56;
    pub const T1: usize = 64;
    pub const T2: usize = 72;
    pub const T3: usize = 80;
    pub const RESPONDER_INCARNATION: usize = 88;
    pub const CONFIG_VERSION: usize = 96;
    pub const COUNTED_VERSION: usize = 98;
    pub const VOTERS: usize = 100;
    pub const LEASES: usize = super::HEADER_LEN;
}

/// What a heartbeat is: the question or the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Probe = 1,
    Reply = 2,
}

impl Kind {
    #[inline(always)]
    pub const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Probe),
            2 => Some(Self::Reply),
            _ => None,
        }
    }
}

/// A node of the cluster, 1 to 65,535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(pub u16);

/// One of a node's links, 0 to 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkId(pub u8);

/// A set of a node's links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkSet(pub u8);

impl LinkSet {
    /// The set of this one link.
    pub const fn of(link: LinkId) -> Self {
        Self(1 << (link.0 as usize % MAX_LINKS))
    }

    /// The links of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, link: LinkId) -> bool {
        self.meets(Self::of(link))
    }

    /// Whether the sets have a link in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How many groups a node serves, and the links on which it is cut off: one word of each heartbeat.
///
/// The low byte counts groups. Bit *n* of the high byte stands for link *n*; releases that know no such bits
/// send zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Owned(pub u16);

impl Owned {
    pub const fn new(groups: u8, cut_off: LinkSet) -> Self {
        Self(u16::from_be_bytes([cut_off.0, groups]))
    }

    pub const fn groups(self) -> u16 {
        self.0.to_be_bytes()[1] as u16
    }

    pub const fn cut_off(self) -> LinkSet {
        LinkSet(self.0.to_be_bytes()[0])
    }
}

/// A group: what is served as a whole, by the one node that holds its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u16);

/// Which cluster a heartbeat belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ClusterId(pub u32);

/// One life of an agent: grows at each start of the same node's agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub u64);

/// Number of a probe within one incarnation, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Sequence(pub u64);

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
    pub reason_age_us: u32,
    /// Number of the latest report that the agent has for its peers; 0 is none.
    pub report: u32,
    pub electorate: Electorate,
}

/// Whose votes a node goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Electorate {
    /// Number of the list of nodes in its configuration, from 1: its acceptor goes by it.
    pub version: u16,
    /// Number of the list by whose majority it claims leases; 0 if it claims none.
    pub counted: u16,
    /// What the list with the number `version` is made of, see `heartbeat_core::membership`.
    pub voters: u32,
}

impl Electorate {
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

/// A heartbeat's fixed header, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub key_id: u8,
    pub lease_count: u8,
    pub cluster: ClusterId,
    pub source: NodeId,
    pub destination: NodeId,
    pub link: LinkId,
    pub liveness: Liveness,
    /// The prober's; a reply returns it.
    pub incarnation: Incarnation,
    /// The prober's; a reply returns it.
    pub sequence: Sequence,
    /// Random per agent start; a reply returns it.
    pub nonce: u64,
    /// When the probe left, on the prober's clock; a reply returns it.
    pub t1: Boottime,
    /// When the probe arrived, on the responder's clock; 0 in a probe.
    pub t2: Boottime,
    /// When the reply left, on the responder's clock; 0 in a probe.
    pub t3: Boottime,
    /// The agent's on the responding node, 0 without one; 0 in a probe.
    pub responder_incarnation: Incarnation,
}

/// One lease entry: a request in a probe, the acceptor's vote in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LeaseEntry {
    /// Which group.
    pub group: u16,
    /// A [`crate::lease::Operation`].
    pub operation: u8,
    /// A [`crate::lease::Vote`]; 0 in a request.
    pub vote: u8,
    /// In a request how long the lease is to last, in a reply how long the one that stands in the way
    /// still does: microseconds. In a release a [`crate::lease::Successor`].
    pub micros: u32,
    /// A [`crate::lease::Ballot`]: the one that is asked for, or the one that stands in the way.
    pub ballot: u64,
}

/// Why bytes are not a heartbeat of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Shorter than its header, or than the header says.
    Truncated,
    /// Longer than the header says.
    TrailingBytes,
    BadMagic,
    UnknownVersion(u8),
    UnknownKind(u8),
    TooManyLeases(u8),
    BadTag,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("shorter than its header says"),
            Self::TrailingBytes => f.write_str("longer than its header says"),
            Self::BadMagic => f.write_str("does not begin with HRTB"),
            Self::UnknownVersion(v) => write!(f, "version {v}, this code speaks {VERSION}"),
            Self::UnknownKind(k) => write!(f, "kind {k} is neither probe (1) nor reply (2)"),
            Self::TooManyLeases(n) => write!(f, "{n} lease entries, at most {MAX_LEASES} fit"),
            Self::BadTag => f.write_str("the tag does not match the key"),
        }
    }
}

impl core::error::Error for WireError {}

impl Header {
    /// Writes the header over the first [`HEADER_LEN`] bytes of `out`.
    pub fn encode(&self, out: &mut [u8; HEADER_LEN]) {
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset::MAGIC, &MAGIC.to_be_bytes());
        put(offset::VERSION, &[VERSION]);
        put(offset::KIND, &[self.kind as u8]);
        put(offset::KEY_ID, &[self.key_id]);
        put(offset::LEASE_COUNT, &[self.lease_count]);
        put(offset::CLUSTER, &self.cluster.0.to_be_bytes());
        put(offset::SOURCE, &self.source.0.to_be_bytes());
        put(offset::DESTINATION, &self.destination.0.to_be_bytes());
        put(offset::LINK, &[self.link.0]);
        put(offset::STATE, &[self.liveness.state]);
        put(offset::HEALTH, &self.liveness.health.to_be_bytes());
        put(offset::LOAD, &self.liveness.load.to_be_bytes());
        put(
            offset::GROUPS_OWNED,
            &self.liveness.groups_owned.to_be_bytes(),
        );
        put(
            offset::CONFIG_GENERATION,
            &self.liveness.config_generation.to_be_bytes(),
        );
        put(offset::PULSE_AGE, &self.liveness.pulse_age_us.to_be_bytes());
        put(
            offset::REASON_AGE,
            &self.liveness.reason_age_us.to_be_bytes(),
        );
        put(offset::REPORT, &self.liveness.report.to_be_bytes());
        let electorate = &self.liveness.electorate;
        put(offset::CONFIG_VERSION, &electorate.version.to_be_bytes());
        put(offset::COUNTED_VERSION, &electorate.counted.to_be_bytes());
        put(offset::VOTERS, &electorate.voters.to_be_bytes());
        put(offset::INCARNATION, &self.incarnation.0.to_be_bytes());
        put(offset::SEQUENCE, &self.sequence.0.to_be_bytes());
        put(offset::NONCE, &self.nonce.to_be_bytes());
        put(offset::T1, &self.t1.as_nanos().to_be_bytes());
        put(offset::T2, &self.t2.as_nanos().to_be_bytes());
        put(offset::T3, &self.t3.as_nanos().to_be_bytes());
        put(
            offset::RESPONDER_INCARNATION,
            &self.responder_incarnation.0.to_be_bytes(),
        );
    }

    /// Reads the header of a whole heartbeat and checks that `payload` is as long as it says.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let header: &[u8; HEADER_LEN] = payload.first_chunk().ok_or(WireError::Truncated)?;
        if u32_at(header, offset::MAGIC) != MAGIC {
            return Err(WireError::BadMagic);
        }
        if header[offset::VERSION] != VERSION {
            return Err(WireError::UnknownVersion(header[offset::VERSION]));
        }
        let lease_count = header[offset::LEASE_COUNT];
        if usize::from(lease_count) > MAX_LEASES {
            return Err(WireError::TooManyLeases(lease_count));
        }
        match payload.len().cmp(&len(lease_count.into())) {
            core::cmp::Ordering::Less => return Err(WireError::Truncated),
            core::cmp::Ordering::Greater => return Err(WireError::TrailingBytes),
            core::cmp::Ordering::Equal => {}
        }
        let kind = header[offset::KIND];
        Ok(Self {
            kind: Kind::from_wire(kind).ok_or(WireError::UnknownKind(kind))?,
            key_id: header[offset::KEY_ID],
            lease_count,
            cluster: ClusterId(u32_at(header, offset::CLUSTER)),
            source: NodeId(u16_at(header, offset::SOURCE)),
            destination: NodeId(u16_at(header, offset::DESTINATION)),
            link: LinkId(header[offset::LINK]),
            liveness: Liveness {
                state: header[offset::STATE],
                health: u16_at(header, offset::HEALTH),
                load: u16_at(header, offset::LOAD),
                groups_owned: u16_at(header, offset::GROUPS_OWNED),
                config_generation: u32_at(header, offset::CONFIG_GENERATION),
                report: u32_at(header, offset::REPORT),
                pulse_age_us: u32_at(header, offset::PULSE_AGE),
                reason_age_us: u32_at(header, offset::REASON_AGE),
                electorate: Electorate {
                    version: u16_at(header, offset::CONFIG_VERSION),
                    counted: u16_at(header, offset::COUNTED_VERSION),
                    voters: u32_at(header, offset::VOTERS),
                },
            },
            incarnation: Incarnation(u64_at(header, offset::INCARNATION)),
            sequence: Sequence(u64_at(header, offset::SEQUENCE)),
            nonce: u64_at(header, offset::NONCE),
            t1: Boottime::from_nanos(u64_at(header, offset::T1)),
            t2: Boottime::from_nanos(u64_at(header, offset::T2)),
            t3: Boottime::from_nanos(u64_at(header, offset::T3)),
            responder_incarnation: Incarnation(u64_at(header, offset::RESPONDER_INCARNATION)),
        })
    }
}

impl LeaseEntry {
    pub fn encode(&self) -> [u8; LEASE_LEN] {
        let mut out = [0; LEASE_LEN];
        out[0..2].copy_from_slice(&self.group.to_be_bytes());
        out[2] = self.operation;
        out[3] = self.vote;
        out[4..8].copy_from_slice(&self.micros.to_be_bytes());
        out[8..16].copy_from_slice(&self.ballot.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8; LEASE_LEN]) -> Self {
        let [g0, g1, operation, vote, m0, m1, m2, m3, ballot @ ..] = *bytes;
        Self {
            group: u16::from_be_bytes([g0, g1]),
            operation,
            vote,
            micros: u32::from_be_bytes([m0, m1, m2, m3]),
            ballot: u64::from_be_bytes(ballot),
        }
    }
}

/// Writes the tag over the last [`TAG_LEN`] bytes of a whole heartbeat.
///
/// `payload` must be a multiple of eight bytes long, as every heartbeat is.
pub fn seal(payload: &mut [u8], key: SipKey) -> Result<(), WireError> {
    let tag = tag_of(payload, key)?.to_be_bytes();
    let at = payload.len() - TAG_LEN;
    payload[at..].copy_from_slice(&tag);
    Ok(())
}

/// Checks the tag of a whole heartbeat.
pub fn verify(payload: &[u8], key: SipKey) -> Result<(), WireError> {
    let tag = tag_of(payload, key)?;
    match payload.last_chunk() {
        Some(bytes) if u64::from_be_bytes(*bytes) == tag => Ok(()),
        _ => Err(WireError::BadTag),
    }
}

fn tag_of(payload: &[u8], key: SipKey) -> Result<u64, WireError> {
    let covered = payload
        .len()
        .checked_sub(TAG_LEN)
        .ok_or(WireError::Truncated)?;
    let (words, rest) = payload[..covered].as_chunks::<8>();
    if !rest.is_empty() {
        return Err(WireError::Truncated);
    }
    let mut hash = crate::siphash::SipHash::new(key);
    for word in words {
        hash.write(u64::from_le_bytes(*word));
    }
    Ok(hash.finish())
}

fn u16_at(bytes: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}
