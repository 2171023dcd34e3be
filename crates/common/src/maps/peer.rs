//! The kernel's knowledge of one link to one peer.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Owned, VoterSet};

/// Probes whose departure a row remembers; a power of two.
pub const SENT_RING: usize = 16;
/// Round-trip times that a row remembers; a power of two.
pub const RTT_RING: usize = 16;

/// Index of probe `sequence` in [`PeerRow::sent_at`].
#[inline(always)]
pub const fn sent_slot(sequence: u64) -> usize {
    sequence as usize % SENT_RING
}

/// Index of probe `sequence` in [`PeerRow::rtt_ring`].
#[inline(always)]
pub const fn rtt_slot(sequence: u64) -> usize {
    sequence as usize % RTT_RING
}

/// An entry of `allow`, by a peer's address: which node and link it is, and its row in `peers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerSlot {
    pub row: u32,
    pub node: u16,
    pub link: u16,
}

/// A row of `peers`: one link to one peer. Written by the kernel only.
///
/// Userspace reads it through mmap while the kernel writes. Each field is one aligned word and so
/// whole, but fields may be of different packets for an instant: `last_reply_seq` is written last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerRow {
    /// When the last fresh reply arrived; 0 before the first.
    pub last_reply_at: u64,
    /// Newest sequence among the fresh replies.
    pub last_reply_seq: u64,
    /// Newest sequence among all valid replies, late ones included.
    pub reply_seq: u64,
    /// Replay window below `reply_seq`, see [`crate::replay`].
    pub reply_window: u64,
    /// (t4 - t1) - (t3 - t2) of the last fresh reply.
    pub rtt_ns: u64,
    /// Fresh replies.
    pub replies: u64,
    /// Replies that took longer than the timeout.
    pub late_replies: u64,

    /// When the last of our probes passed TC egress; 0 before the first.
    pub last_probe_at: u64,
    pub last_probe_seq: u64,
    /// Probes that passed TC egress.
    pub probes_left: u64,

    /// When the peer's last valid probe arrived: a hint, never evidence.
    pub last_asked_at: u64,
    pub asked_incarnation: u64,
    pub asked_seq: u64,
    pub asked_window: u64,
    /// The peer's probes that were answered.
    pub answered: u64,

    /// When the deadline timer last found the deadline passed.
    pub deadline_fired_at: u64,
    /// Times that it did.
    pub deadlines: u64,
    /// Deadline events that did not fit in the ring buffer.
    pub events_lost: u64,

    /// From the last fresh reply: the peer agent's incarnation, 0 without an agent.
    pub incarnation: u64,
    pub config_generation: u32,
    pub pulse_age_us: u32,
    pub control_age_us: u32,
    pub health: u16,
    pub load: u16,
    /// An [`Owned`].
    pub groups_owned: u16,
    /// A [`crate::wire::NodeState`].
    pub state: u16,
    /// Number of the peer's latest report; 0 is none.
    pub report: u32,
    /// The three fields of its [`VoterSet`].
    pub voters: u32,
    pub config_version: u16,
    pub counted_version: u16,

    /// Frames from this peer's address whose tag was wrong.
    pub bad_macs: u64,
    /// The same that named a key which is not there.
    pub unknown_keys: u64,
    /// When the last of either arrived; 0 before the first.
    pub refused_at: u64,
    /// The Ethernet address that it came from, as a number of 48 bits: of who forged it, or of the last router.
    pub refused_from: u64,

    /// When probe *n* left, at index *n* modulo [`SENT_RING`].
    pub sent_at: [u64; SENT_RING],
    /// Round-trip time of probe *n* in nanoseconds, at index *n* modulo [`RTT_RING`]; 0 if unanswered.
    pub rtt_ring: [u32; RTT_RING],
}

impl PeerRow {
    /// The number of groups that the peer serves, and the links on which it is cut off.
    pub const fn owned(&self) -> Owned {
        Owned(self.groups_owned)
    }

    /// Whose votes the peer goes by.
    pub const fn voter_set(&self) -> VoterSet {
        VoterSet {
            version: self.config_version,
            counted: self.counted_version,
            voters: self.voters,
        }
    }
}
