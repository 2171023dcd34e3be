//! The acceptor: who may hold a group's lease, decided by one slot and one function.
//!
//! The leases follow PaxosLease (Trencseni, Gazso and Reinhardt, 2012): a majority of acceptors, no
//! disk, no synchronised clocks. This very function runs in XDP under the slot's spin lock, in the
//! simulator and in the model checker. It must never grant a slot to one node while it is granted to
//! another: everything else about leases rests on that, and on majorities that intersect.
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

/// A proposal's number: `(round << 16) | node id`, so that no two nodes share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ballot(pub u64);

impl Ballot {
    /// The highest round that a ballot can carry.
    pub const MAX_ROUND: u64 = u64::MAX >> 16;

    /// `round` is cut to [`Ballot::MAX_ROUND`].
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

/// Whom a lease is released for: `node id | 1 << 16 if the operator chose it`; 0 is anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Successor(pub u32);

impl Successor {
    const CHOSEN: u32 = 1 << 16;

    /// The best node there is; node 0 is anybody.
    pub const fn fit(node: NodeId) -> Self {
        Self(node.0 as u32)
    }

    /// The operator's choice.
    pub const fn chosen(node: NodeId) -> Self {
        Self(node.0 as u32 | Self::CHOSEN)
    }

    pub const fn node(self) -> NodeId {
        NodeId(self.0 as u16)
    }
}

/// What a lease entry asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    Prepare = 1,
    /// Grant the lease.
    Accept = 2,
    /// Free it at once, for the [`Successor`] that the entry names.
    Release = 3,
    /// [`Operation::Accept`] by the owner: the same to an acceptor. The answer can wait for the
    /// asker's next tick.
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

/// What the acceptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Vote {
    /// It has no opinion: it may have forgotten votes that still bind, or was asked what it cannot
    /// grant.
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

/// What an acceptor remembers about one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Slot {
    /// Id of the node that the lease was granted to; 0 if it was released, or never granted.
    pub owner: u32,
    /// The [`Successor`] that the lease was released for.
    pub successor: u32,
    /// No ballot below it gets a vote.
    pub promised: u64,
    /// The ballot that was granted last.
    pub ballot: u64,
    /// When the lease ends, or would have ended, on this acceptor's clock, in nanoseconds.
    pub expires: u64,
}

impl Slot {
    /// The node whose lease lives at `now`.
    #[inline(always)]
    pub const fn live_owner(&self, now: Boottime) -> Option<NodeId> {
        if self.owner != 0 && self.expires > now.as_nanos() {
            Some(NodeId(self.owner as u16))
        } else {
            None
        }
    }
}

/// A lease entry as the acceptor takes it. Whoever makes one has authenticated its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub operation: Operation,
    pub ballot: Ballot,
    /// How long the lease is to last, in nanoseconds.
    pub lease_ns: u64,
    /// Whom a release is for.
    pub successor: Successor,
}

/// When an acceptor votes at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// It abstains before: docs/design/leases.md#rule-2.
    pub votes_from: u64,
    /// It grants no longer lease.
    pub max_lease_ns: u64,
}

impl Request {
    /// Reads an entry that `from` sent at a time that the acceptor takes as `now`. `None` is to
    /// abstain.
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

/// The acceptor's answer, as it goes into the reply's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Answer {
    pub vote: Vote,
    /// How long the lease lasts that was granted, as it was asked for; or how long the one that stands in the way lives
    /// on, rounded up to microseconds; else 0.
    pub micros: u32,
    /// The ballot that was asked for if it was granted, else the one that stands in the way.
    pub ballot: u64,
}

/// Decides about `request` at `now`, on the acceptor's clock, and remembers it.
///
/// `now` must not be after the instant at which the slot was locked, and the probe that carries the
/// request must have left before it.
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
        // The same owner may count on an older vote for a longer lease.
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
    // An accept of the same ballot that comes late must not take the lease again.
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
