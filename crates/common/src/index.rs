//! The indices that the agent's core and the dataplane share. Each kind has a type of its own, so
//! that the compiler rejects an index of another kind.

use core::fmt;

use crate::wire::LinkId;

/// Defines index types, which are displayed like plain integers.
macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident($inner:ty))+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numbers! {
    /// The index of a peer: all nodes but this one, in the order of their rows.
    PeerIndex(usize)
    /// The index of a group among the groups of the configuration.
    GroupIndex(usize)
    /// The index of an address among the addresses of all groups.
    VipIndex(usize)
    /// The number of a row that describes one link to one peer. Each peer has one row for each
    /// link, and the rows of the next peer follow.
    RowNumber(usize)
    /// The index in the map `peers` at which the dataplane keeps a row.
    RowPlace(u32)
}

impl RowNumber {
    /// The first row of `peer` in a cluster with `links` links.
    pub const fn first_of(peer: PeerIndex, links: usize) -> Self {
        Self(peer.0 * links)
    }

    /// The row of `link`, if this row is the first of its peer.
    pub const fn on(self, link: LinkId) -> Self {
        Self(self.0 + link.0 as usize)
    }

    /// The peer that has this row in a cluster with `links` links.
    pub fn peer(self, links: usize) -> PeerIndex {
        PeerIndex(self.0 / links.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_each_link_to_each_peer_is_another_one_and_names_its_peer() {
        const LINKS: usize = 3;
        let mut next = 0;
        for peer in (0..4).map(PeerIndex) {
            let first = RowNumber::first_of(peer, LINKS);
            for link in (0..LINKS as u8).map(LinkId) {
                assert_eq!(first.on(link), RowNumber(next));
                assert_eq!(first.on(link).peer(LINKS), peer);
                next += 1;
            }
        }
    }
}
