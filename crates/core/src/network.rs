//! The networks on which clients reach a group, and the reach of a peer on them.

use heartbeat_common::wire::LinkSet;

use crate::{
    group::GroupPlan,
    index::GroupIndex,
    index_vec::ByGroup,
    peer::Peer,
    placement::Constraints,
    reach::{Distance, Reach},
    report::Reported,
};

/// The addresses of a group, and of all groups that must run on the same node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressNetwork {
    /// The groups, the group itself first.
    pub(crate) members: Vec<GroupIndex>,
    /// The links whose interfaces carry addresses.
    pub(crate) links: LinkSet,
    /// Whether all addresses are on such interfaces, so that heartbeats test their network.
    pub(crate) carries_probes: bool,
}

/// The networks of all groups.
pub(crate) fn networks(
    plans: &ByGroup<GroupPlan>,
    constraints: &Constraints,
) -> ByGroup<AddressNetwork> {
    let network = |group: GroupIndex| {
        let members = constraints.train(group);
        let plans = || members.iter().filter_map(|member| plans.get(*member));
        let links = plans().fold(LinkSet::default(), |all, plan| all.and(plan.links));
        let carries_probes = !plans().any(|plan| plan.beside_links);
        AddressNetwork {
            links,
            carries_probes,
            members,
        }
    };
    plans.indices().map(network).collect()
}

impl AddressNetwork {
    /// The reach of a peer, according to its report and its heartbeats.
    pub(crate) fn of_peer(&self, peer: &Peer) -> Reach {
        let broken = |member: &GroupIndex| {
            let report = peer.report.groups.get(*member);
            report.is_some_and(|report| report.broken)
        };
        if self.members.iter().any(broken) {
            Reach::Broken
        } else if self.links.meets(peer.last_reply.cut_off) {
            Reach::Silent
        } else {
            Reach::Whole
        }
    }
}

impl Peer {
    /// The peer's report about the group with this index, and its reach for it.
    pub(crate) fn reported_with(
        &self,
        group: GroupIndex,
        network: &AddressNetwork,
        distance: &Distance,
    ) -> Reported {
        let reach = network.of_peer(self);
        Reported {
            reach,
            cut_off: distance.is_beyond(reach),
            ..self.reported(group)
        }
    }
}
