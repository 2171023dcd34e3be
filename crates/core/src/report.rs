//! The report of a node to its peers about its groups. The ownership is not part of it: the leases
//! carry that.

use crate::{index_vec::ByGroup, reach::Reach};
use serde::{Deserialize, Serialize};

/// The reports of one node about all groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReports {
    /// The number of the report, and the incarnation of the agent that made it. Heartbeats carry
    /// both.
    pub number: u32,
    pub incarnation: u64,
    /// In the order of the groups here. The report says nothing about groups that are missing at
    /// its end.
    pub groups: ByGroup<GroupReport>,
}

/// The report of one node about one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The node has not determined yet which resources of the group run there, or stops resources
    /// that should not.
    pub settling: bool,
    /// The resources cannot run there for now.
    pub barred: bool,
    /// All resources run that should.
    pub running: bool,
    /// An interface with one of the group's addresses is missing, switched off or without carrier
    /// there.
    pub broken: bool,
    /// The node's configuration does not have the group.
    pub unknown: bool,
}

/// The report about one group as it applies now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Whether this is the node's latest report.
    pub current: bool,
    pub report: GroupReport,
    /// The node's reach for the group.
    pub reach: Reach,
    /// Whether another node that could have the group reaches further.
    pub cut_off: bool,
}
