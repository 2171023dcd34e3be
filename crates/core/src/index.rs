//! The numbers of things that are counted from 0, each with a type of its own, so that a number of
//! one kind is never taken for one of another.

/// The number of an acceptor: 0 is this node's own, those of the peers follow in the order of their
/// rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub usize);

impl Seat {
    /// This node's own acceptor.
    pub const OWN: Self = Self(0);

    /// The acceptor of the peer with this number.
    pub const fn of_peer(peer: usize) -> Self {
        Self(peer + 1)
    }
}

/// The number of an address in its group: see [`crate::group::GroupPlan::addresses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressIndex(pub usize);
