//! The places of rows in the map `guard`.

use heartbeat_common::{
    index::GroupIndex,
    maps::{MAX_SERVED, MAX_VIPS},
};

/// The place of a row in the map `guard`: the places of addresses first, then those of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuardPlace(pub(crate) u32);

impl GuardPlace {
    /// All places for addresses.
    pub(crate) fn of_addresses() -> impl Iterator<Item = Self> {
        (0..MAX_VIPS as u32).map(Self)
    }

    /// All places for groups.
    pub(crate) fn of_groups() -> impl Iterator<Item = Self> {
        (0..MAX_SERVED).map(GroupIndex).map(Self::of_group)
    }

    /// The place of a group.
    pub(crate) const fn of_group(group: GroupIndex) -> Self {
        Self((MAX_VIPS + group.0) as u32)
    }

    pub(crate) const fn as_usize(self) -> usize {
        self.0 as usize
    }
}
