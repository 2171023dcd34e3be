//! Wire format version 1. `docs/reference/wire-format.md` describes it in prose.
//!
//! A heartbeat is a UDP payload: a fixed header, 0 to 8 lease entries, and a SipHash-2-4 tag over
//! both. All integers are in network byte order.

mod error;
mod header;
mod ids;
mod lease_entry;
mod liveness;

pub use self::{
    error::WireError,
    header::Header,
    ids::{ClusterId, GroupId, Incarnation, LinkId, LinkSet, NodeId, Owned, Sequence},
    lease_entry::LeaseEntry,
    liveness::{Health, Liveness, NodeState, VoterSet},
};
use crate::siphash::{SipHash, SipKey};

/// `HRTB`: the first four bytes of every heartbeat of every version.
pub const MAGIC: u32 = 0x4852_5442;
/// The version that this code supports.
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
    pub const CLAIMING_VERSION: usize = 98;
    pub const VOTERS: usize = 100;
    pub const LEASES: usize = super::HEADER_LEN;

    /// Offsets of a lease entry's fields from the start of the entry, in bytes.
    pub mod lease {
        pub const GROUP: usize = 0;
        pub const OPERATION: usize = 2;
        pub const VOTE: usize = 3;
        pub const MICROS: usize = 4;
        pub const BALLOT: usize = 8;
    }
}

/// The kind of a heartbeat: the question or the answer.
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
    let mut hash = SipHash::new(key);
    for word in words {
        hash.write(u64::from_le_bytes(*word));
    }
    Ok(hash.finish())
}
