//! The kernel's knowledge of one link to one peer.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Owned, VoterSet};

/// The number of probes whose departure a row records; a power of two.
pub const SENT_RING: usize = 16;
/// The number of round-trip times that a row records; a power of two.
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

/// An entry of `allow`, by a peer's address: its node, its link, and its row in `peers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerSlot {
    pub row: u32,
    pub node: u16,
    pub link: u16,
}

/// A row of `peers`: one link to one peer. Only the kernel writes it.
///
/// Userspace reads the row through mmap while the kernel writes. Each field is one aligned word and
/// so whole, but fields may be of different packets for an instant: `last_reply_seq` is written
/// last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PeerRow {
    /// The arrival of the last fresh reply; 0 before the first.
    pub last_reply_at: u64,
    /// The newest sequence among the fresh replies.
    pub last_reply_seq: u64,
    /// The newest sequence among all valid replies, late ones included.
    pub reply_seq: u64,
    /// The replay window below `reply_seq`, see [`crate::replay`].
    pub reply_window: u64,
    /// (t4 - t1) - (t3 - t2) of the last fresh reply.
    pub rtt_ns: u64,
    /// The number of fresh replies.
    pub replies: u64,
    /// The number of replies that took longer than the timeout.
    pub late_replies: u64,

    /// The time at which the last probe of this node passed TC egress; 0 before the first.
    pub last_probe_at: u64,
    pub last_probe_seq: u64,
    /// The number of probes that passed TC egress.
    pub probes_left: u64,

    /// The arrival of the peer's last valid probe: a hint, never evidence.
    pub last_asked_at: u64,
    pub asked_incarnation: u64,
    pub asked_seq: u64,
    pub asked_window: u64,
    /// The number of the peer's probes that were answered.
    pub answered: u64,

    /// The time at which the timer last found the deadline passed.
    pub deadline_fired_at: u64,
    /// The number of passed deadlines.
    pub deadlines: u64,
    /// The number of deadline events without room in the ring buffer.
    pub events_lost: u64,

    /// From the last fresh reply: the incarnation of the peer's agent, 0 without an agent.
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
    /// The number of the peer's latest report; 0 means none.
    pub report: u32,
    /// The three fields of its [`VoterSet`].
    pub voters: u32,
    pub config_version: u16,
    pub claiming_version: u16,

    /// Frames from this peer's address with a bad tag.
    pub bad_tags: u64,
    /// Frames from this peer's address that named an unknown key.
    pub unknown_keys: u64,
    /// The arrival of the last of either; 0 before the first.
    pub refused_at: u64,
    /// The Ethernet address of its sender, as a number of 48 bits: the forger's, or the last
    /// router's.
    pub refused_from: u64,

    /// The departure of probe *n*, at index *n* modulo [`SENT_RING`].
    pub sent_at: [u64; SENT_RING],
    /// The round-trip time of probe *n* in nanoseconds, at index *n* modulo [`RTT_RING`]; 0 if
    /// unanswered.
    pub rtt_ring: [u32; RTT_RING],
}

impl PeerRow {
    /// The number of groups that the peer serves, and the links on which it is cut off.
    pub const fn owned(&self) -> Owned {
        Owned(self.groups_owned)
    }

    /// The voter sets by which the peer votes and claims.
    pub const fn voter_set(&self) -> VoterSet {
        VoterSet {
            version: self.config_version,
            claiming: self.claiming_version,
            voters: self.voters,
        }
    }
}
