//! The fixed header of a heartbeat.

use super::{
    ClusterId, HEADER_LEN, Incarnation, Kind, LinkId, Liveness, MAGIC, MAX_LEASES, NodeId,
    Sequence, VERSION, VoterSet, WireError, len, offset,
};
use crate::time::Boottime;

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
    /// The prober's incarnation; a reply returns it.
    pub incarnation: Incarnation,
    /// The prober's sequence; a reply returns it.
    pub sequence: Sequence,
    /// Random per agent start; a reply returns it.
    pub nonce: u64,
    /// The departure of the probe, on the prober's clock; a reply returns it.
    pub t1: Boottime,
    /// The arrival of the probe, on the responder's clock; 0 in a probe.
    pub t2: Boottime,
    /// The departure of the reply, on the responder's clock; 0 in a probe.
    pub t3: Boottime,
    /// The incarnation of the responding node's agent, 0 without one; 0 in a probe.
    pub responder_incarnation: Incarnation,
}

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
            &self.liveness.control_age_us.to_be_bytes(),
        );
        put(offset::REPORT, &self.liveness.report.to_be_bytes());
        let voter_set = &self.liveness.voter_set;
        put(offset::CONFIG_VERSION, &voter_set.version.to_be_bytes());
        put(offset::CLAIMING_VERSION, &voter_set.claiming.to_be_bytes());
        put(offset::VOTERS, &voter_set.voters.to_be_bytes());
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

    /// Reads the header of a whole heartbeat and checks the length of `payload`.
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
                control_age_us: u32_at(header, offset::REASON_AGE),
                voter_set: VoterSet {
                    version: u16_at(header, offset::CONFIG_VERSION),
                    claiming: u16_at(header, offset::CLAIMING_VERSION),
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

fn u16_at(bytes: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from_be_bytes(core::array::from_fn(|i| bytes[at + i]))
}
