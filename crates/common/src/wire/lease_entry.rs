//! The lease entries behind a heartbeat's header.

use super::{LEASE_LEN, offset::lease};

/// One lease entry: a request in a probe, the acceptor's vote in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LeaseEntry {
    /// The id of the group.
    pub group: u16,
    /// A [`crate::lease::Operation`].
    pub operation: u8,
    /// A [`crate::lease::Vote`]; 0 in a request.
    pub vote: u8,
    /// Microseconds. In a request, the length of the lease. In a reply, the remaining time of an
    /// obstructing lease. In a release, a [`crate::lease::Successor`].
    pub micros: u32,
    /// A [`crate::lease::Ballot`]: the requested one, or the obstructing one.
    pub ballot: u64,
}

impl LeaseEntry {
    /// The entry in network byte order.
    pub fn encode(&self) -> [u8; LEASE_LEN] {
        let mut out = [0; LEASE_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(lease::GROUP, &self.group.to_be_bytes());
        put(lease::OPERATION, &[self.operation]);
        put(lease::VOTE, &[self.vote]);
        put(lease::MICROS, &self.micros.to_be_bytes());
        put(lease::BALLOT, &self.ballot.to_be_bytes());
        out
    }

    /// Reads any bytes: every value of every field is valid.
    pub fn decode(bytes: &[u8; LEASE_LEN]) -> Self {
        Self {
            group: u16::from_be_bytes(field(bytes, lease::GROUP)),
            operation: bytes[lease::OPERATION],
            vote: bytes[lease::VOTE],
            micros: u32::from_be_bytes(field(bytes, lease::MICROS)),
            ballot: u64::from_be_bytes(field(bytes, lease::BALLOT)),
        }
    }

    /// Writes `entries` into a heartbeat's `payload`, behind the header. Entries without room are
    /// left out. The caller sets the payload's length and its count.
    pub fn write_all(entries: &[Self], payload: &mut [u8]) {
        let room = payload.get_mut(super::offset::LEASES..).unwrap_or_default();
        for (place, entry) in room.chunks_exact_mut(LEASE_LEN).zip(entries) {
            place.copy_from_slice(&entry.encode());
        }
    }
}

/// The `N` bytes at `at`.
fn field<const N: usize>(bytes: &[u8; LEASE_LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|index| bytes[at + index])
}
