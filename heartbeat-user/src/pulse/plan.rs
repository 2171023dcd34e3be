//! The configuration as the core takes it: the peers, and the groups with their placement rules.

use heartbeat_common::wire::{Incarnation, LinkSet};
use heartbeat_core::{
    Timing,
    cluster::{Member, Plan},
    group::GroupPlan,
    index::VipIndex,
    membership::Membership,
    placement::{Constraints, Layout},
};

use crate::config::{Config, Group, Resource, ResourceKind, Role};

pub(super) fn member(node: &crate::config::Node) -> Member {
    Member {
        node: node.id,
        witness: node.role == Role::Witness,
    }
}

pub(super) fn plan(config: &Config, membership: Membership, incarnation: Incarnation) -> Plan {
    Plan {
        membership,
        local: config.local().id,
        timing: Timing {
            interval: config.interval,
            timeout: config.timeout,
            agent_stall: config.agent_stall,
            lease: config.lease,
            drift_ppm: config.drift_ppm,
        },
        peers: config.peers().map(member).collect(),
        links: config.links.len(),
        layout: layout(config),
        auto_failback: config.auto_failback,
        incarnation,
    }
}

/// Returns the groups that this node may serve, and their placement rules.
pub(super) fn layout(config: &Config) -> Layout {
    let mut layout = whole_layout(config);
    // A witness serves no group.
    layout.groups.truncate(config.served_groups().len());
    layout
}

/// Returns the layout of all groups, including those that this node may not serve.
pub fn whole_layout(config: &Config) -> Layout {
    let capacity = |node: &crate::config::Node| (node.id, node.capacity.clone());
    Layout {
        groups: config
            .groups
            .iter()
            .map(|group| group_plan(config, group))
            .collect(),
        constraints: Constraints {
            colocations: config.colocations.clone(),
            orders: config.orders.clone(),
        },
        policy: config.placement.clone(),
        capacities: config.members().map(capacity).collect(),
    }
}

/// Returns the core's plan of a group.
fn group_plan(config: &Config, group: &Group) -> GroupPlan {
    let vips = addresses(group).into_iter();
    let link_of = |vip: VipIndex| {
        let interface = config.vips.get(vip).map(|vip| vip.interface.as_str());
        let mut links = config.local_links();
        links.find(|link| Some(link.interface) == interface)
    };
    let links: Vec<_> = addresses(group).into_iter().map(link_of).collect();
    GroupPlan {
        links: links
            .iter()
            .flatten()
            .fold(LinkSet::default(), |all, link| {
                all.and(LinkSet::of(link.id))
            }),
        beside_links: links.iter().any(Option::is_none),
        id: group.id,
        addresses: vips.map(|vip| config.vips[vip].lease).collect(),
        ranked: group.rank.clone(),
        locations: group.locations.clone(),
        stickiness: group.stickiness,
        demand: group.demand.clone(),
        rebalance: group.rebalance,
        supervised: true,
    }
}

/// Returns the indices of a group's addresses, in the order of its plan.
pub(super) fn addresses(group: &Group) -> Vec<VipIndex> {
    let resources = group.resources.iter();
    let address = |resource: &Resource| match resource.kind {
        ResourceKind::Vip(vip) => Some(vip),
        _ => None,
    };
    resources.filter_map(address).collect()
}
