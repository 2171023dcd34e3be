//! What a node tells its peers of its groups, beside who owns them: that travels with the leases.

use crate::{index_vec::ByGroup, reach::Reach};
use serde::{Deserialize, Serialize};

/// What a node told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its number, and that of the agent's life that made it. Heartbeats carry both.
    pub number: u32,
    pub incarnation: u64,
    /// In the order of the groups here. Of those that are missing at the end it said nothing.
    pub groups: ByGroup<GroupReport>,
}

/// What it told of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// It does not know yet what of it runs there, or stops what should not.
    pub settling: bool,
    /// Its resources cannot run there for now.
    pub barred: bool,
    /// All of it that is to run does.
    pub running: bool,
    /// An interface with one of its addresses is missing, switched off or without carrier there.
    pub broken: bool,
    /// The node's configuration does not have the group.
    pub unknown: bool,
}

/// The same, as it stands now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Whether this is the latest that the node has to say.
    pub current: bool,
    pub said: GroupReport,
    /// How far it reaches for the group.
    pub reach: Reach,
    /// Whether another node that could have the group reaches further.
    pub cut_off: bool,
}
