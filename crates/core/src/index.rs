//! Index types: one type for each kind of things that are counted from 0, so that the compiler
//! rejects an index of another kind.

use std::fmt;

pub use heartbeat_common::index::{GroupIndex, PeerIndex, RowNumber, VipIndex};
use heartbeat_common::wire::{LinkId, MAX_LINKS};
use serde::{Deserialize, Serialize};

/// The index of a thing among those of its kind.
pub trait Number: Copy {
    fn from_usize(number: usize) -> Self;
    fn as_usize(self) -> usize;
}

macro_rules! number {
    ($($name:ident)+) => {$(
        impl Number for $name {
            fn from_usize(number: usize) -> Self {
                Self(number)
            }

            fn as_usize(self) -> usize {
                self.0
            }
        }
    )+};
}

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident)+) => {$(
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Serialize,
            Deserialize,
        )]
        pub struct $name(pub usize);

        number!($name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numbers! {
    /// The acceptor index: 0 is this node's own acceptor, and the acceptors of the peers follow in
    /// the order of their rows.
    AcceptorIndex
    /// The index of a kind of capacity, which groups demand and nodes have.
    KindIndex
    /// The index of a resource in its group, in the order of starting.
    ResourceIndex
    /// The index of an address in its group: see [`crate::group::GroupPlan::addresses`].
    AddressIndex
}

number!(PeerIndex GroupIndex VipIndex RowNumber);

impl Number for LinkId {
    fn from_usize(number: usize) -> Self {
        debug_assert!(number < MAX_LINKS);
        Self(number as u8)
    }

    fn as_usize(self) -> usize {
        self.0.into()
    }
}

impl AcceptorIndex {
    /// This node's own acceptor.
    pub const OWN: Self = Self(0);

    /// The acceptor of the peer with this index.
    pub const fn of_peer(peer: PeerIndex) -> Self {
        Self(peer.0 + 1)
    }
}
