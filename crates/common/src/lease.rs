//! The acceptor: one slot and one function decide which node may hold a lease.
//!
//! The leases follow PaxosLease (Trencseni, Gazso and Reinhardt, 2012): a majority of acceptors, no
//! disk, no synchronised clocks. The same function runs in XDP under the slot's spin lock, in the
//! simulator and in the model checker. The function must never grant a lease to one node while the
//! lease that it granted to another lasts. All other safety properties of leases depend on this
//! one, and on majorities that intersect.
//!
//! ```text
//!   prepare(b)   another's lease lives? ──▶ refused (its ballot, the time left)
//!                b < promised?          ──▶ refused (promised)
//!                                       ──▶ promised = b
//!   accept(b,T)  as above, then owner = b's node, expires = now + T
//!   release(b)   the owner's own b?     ──▶ free, and no vote for b any more
//! ```

use bytemuck::{Pod, Zeroable};

use crate::{
    time::Boottime,
    wire::{LeaseEntry, NodeId},
};

/// The number of a proposal: `(round << 16) | node id`, so that two nodes never use the same
/// ballot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ballot(pub u64);

impl Ballot {
    /// The highest round that a ballot can carry.
    pub const MAX_ROUND: u64 = u64::MAX >> 16;

    /// Creates a ballot. `round` is limited to [`Ballot::MAX_ROUND`].
    #[inline(always)]
    pub const fn new(round: u64, node: NodeId) -> Self {
        let round = if round > Self::MAX_ROUND {
            Self::MAX_ROUND
        } else {
            round
        };
        Self(round << 16 | node.0 as u64)
    }

    #[inline(always)]
    pub const fn round(self) -> u64 {
        self.0 >> 16
    }

    #[inline(always)]
    pub const fn node(self) -> NodeId {
        NodeId(self.0 as u16)
    }
}

/// The node for which a lease is released: its id, plus 1 << 16 if the group is to stay there; 0
/// means any node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Successor(pub u32);

impl Successor {
    const CHOSEN: u32 = 1 << 16;

    /// The node that the owner chose as the best one; node 0 means any node.
    pub const fn fit(node: NodeId) -> Self {
        Self(node.0 as u32)
    }

    /// The node on which the group is to stay: the choice of an operator or of a rebalance.
    pub const fn chosen(node: NodeId) -> Self {
        Self(node.0 as u32 | Self::CHOSEN)
    }

    pub const fn node(self) -> NodeId {
        NodeId(self.0 as u16)
    }
}

/// The operation that a lease entry requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Promise to refuse lower ballots. Nothing is granted yet.
    Prepare = 1,
    /// Grant the lease.
    Accept = 2,
    /// Free the lease at once, for the [`Successor`] in the entry.
    Release = 3,
    /// An [`Operation::Accept`] of the node that already owns the lease. The acceptor treats both
    /// operations alike. The vote does not wake the owner's agent, which reads it at its next tick.
    Renew = 4,
}

impl Operation {
    #[inline(always)]
    pub const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Prepare),
            2 => Some(Self::Accept),
            3 => Some(Self::Release),
            4 => Some(Self::Renew),
            _ => None,
        }
    }
}

/// The answer of the acceptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Vote {
    /// No vote: the acceptor may have lost votes that are still valid, or it cannot grant such a
    /// request.
    #[default]
    Abstains = 0,
    Granted = 1,
    Refused = 2,
}

impl Vote {
    #[inline(always)]
    pub const fn from_wire(byte: u8) -> Self {
        match byte {
            1 => Self::Granted,
            2 => Self::Refused,
            _ => Self::Abstains,
        }
    }
}

/// An acceptor's record of one lease, of a group or of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Slot {
    /// The id of the node to which the lease was granted; 0 if the lease was released, or never
    /// granted.
    pub owner: u32,
    /// The [`Successor`] for which the lease was released.
    pub successor: u32,
    /// The lowest ballot that may get a vote.
    pub promised: u64,
    /// The last ballot with a grant.
    pub ballot: u64,
    /// The end of the lease, in nanoseconds of this acceptor's clock. After a release, the end that
    /// the lease would have had.
    pub expires: u64,
}

impl Slot {
    /// The node whose lease has not ended at `now`.
    #[inline(always)]
    pub const fn live_owner(&self, now: Boottime) -> Option<NodeId> {
        if self.owner != 0 && self.expires > now.as_nanos() {
            Some(NodeId(self.owner as u16))
        } else {
            None
        }
    }
}

/// A request to the acceptor, from an entry of a probe. The caller must have authenticated the
/// probe's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub operation: Operation,
    pub ballot: Ballot,
    /// The length of the lease, in nanoseconds.
    pub lease_ns: u64,
    /// The node for which a release frees the lease.
    pub successor: Successor,
}

/// The limits on an acceptor's votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The start of voting. An acceptor abstains before it: docs/design/leases.md#rule-2.
    pub votes_from: u64,
    /// The longest lease that the acceptor grants.
    pub max_lease_ns: u64,
}

impl Request {
    /// Reads the request in an entry that the node `from` sent. `now` is the time on the acceptor's
    /// clock. `None` means that the acceptor abstains.
    #[inline(always)]
    pub fn read(entry: &LeaseEntry, from: NodeId, limits: Limits, now: Boottime) -> Option<Self> {
        let operation = Operation::from_wire(entry.operation)?;
        let ballot = Ballot(entry.ballot);
        let lease_ns = u64::from(entry.micros) * 1_000;
        let grants = !matches!(operation, Operation::Release);
        if now.as_nanos() < limits.votes_from
            || from.0 == 0
            || ballot.node().0 != from.0
            || grants && (lease_ns == 0 || lease_ns > limits.max_lease_ns)
        {
            return None;
        }
        Some(Self {
            operation,
            ballot,
            lease_ns,
            successor: Successor(entry.micros),
        })
    }
}

/// The acceptor's answer, for the reply's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Answer {
    pub vote: Vote,
    /// The length of the granted lease, as it was requested. After a refusal, the remaining time of
    /// the obstructing lease, rounded up to microseconds. Otherwise 0.
    pub micros: u32,
    /// The requested ballot if it was granted. Otherwise the ballot of the obstructing lease or
    /// promise.
    pub ballot: u64,
}

/// Decides about `request` at `now`, on the acceptor's clock, and records the decision.
///
/// The caller must read `now` before it locks the slot, and after the probe with the request has
/// left.
#[inline(always)]
pub fn decide(slot: &mut Slot, request: &Request, now: Boottime) -> Answer {
    let Request {
        operation,
        ballot,
        lease_ns,
        successor,
    } = *request;
    let from = u32::from(ballot.node().0);
    if operation as u8 == Operation::Release as u8 {
        return release(slot, ballot, from, successor);
    }
    let now = now.as_nanos();
    if slot.owner != 0 && slot.owner != from && slot.expires > now {
        return refused(slot.ballot, slot.expires - now);
    }
    if ballot.0 < slot.promised {
        return refused(slot.promised, 0);
    }
    slot.promised = ballot.0;
    let mut micros = 0;
    if operation as u8 != Operation::Prepare as u8 {
        let expires = now.saturating_add(lease_ns);
        // The end must not move back: the same owner may still count an older vote for a longer
        // lease.
        if slot.owner != from || expires > slot.expires {
            slot.expires = expires;
        }
        slot.owner = from;
        slot.successor = 0;
        slot.ballot = ballot.0;
        micros = (lease_ns / 1_000) as u32;
    }
    Answer {
        vote: Vote::Granted,
        micros,
        ballot: ballot.0,
    }
}

#[inline(always)]
fn release(slot: &mut Slot, ballot: Ballot, from: u32, successor: Successor) -> Answer {
    if slot.ballot != ballot.0 || slot.owner != from && slot.owner != 0 {
        return refused(slot.ballot, 0);
    }
    slot.owner = 0;
    slot.successor = successor.0;
    // A late accept of the same ballot must not take the lease again.
    let after = ballot.0.saturating_add(1);
    if slot.promised < after {
        slot.promised = after;
    }
    Answer {
        vote: Vote::Granted,
        micros: 0,
        ballot: ballot.0,
    }
}

#[inline(always)]
fn refused(ballot: u64, remaining_ns: u64) -> Answer {
    let micros = remaining_ns.div_ceil(1_000);
    Answer {
        vote: Vote::Refused,
        micros: if micros > u64::from(u32::MAX) {
            u32::MAX
        } else {
            micros as u32
        },
        ballot,
    }
}
