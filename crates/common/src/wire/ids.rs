//! The types of the ids and numbers in a frame: nodes, links, groups, probes, incarnations.

use super::MAX_LINKS;

/// A node of the cluster, 1 to 65,535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(pub u16);

/// The number of a node's link, 0 to 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkId(pub u8);

/// A set of a node's links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkSet(pub u8);

impl LinkSet {
    /// The set of this one link.
    pub const fn of(link: LinkId) -> Self {
        Self(1 << (link.0 as usize % MAX_LINKS))
    }

    /// The links of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, link: LinkId) -> bool {
        self.meets(Self::of(link))
    }

    /// Whether the sets have a link in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The number of groups that a node serves, and the links on which it is cut off: one word of each
/// heartbeat.
///
/// The low byte counts groups. Bit *n* of the high byte stands for link *n*. Releases without these
/// bits send zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Owned(pub u16);

impl Owned {
    pub const fn new(groups: u8, cut_off: LinkSet) -> Self {
        Self(u16::from_be_bytes([cut_off.0, groups]))
    }

    pub const fn groups(self) -> u16 {
        self.0.to_be_bytes()[1] as u16
    }

    pub const fn cut_off(self) -> LinkSet {
        LinkSet(self.0.to_be_bytes()[0])
    }
}

/// A group: resources that one node serves as a whole, under one lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u16);

/// The cluster of a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ClusterId(pub u32);

/// The incarnation of an agent: each start of the same node's agent has a larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub u64);

/// The number of a probe within one incarnation, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Sequence(pub u64);
