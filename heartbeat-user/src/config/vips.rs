//! What must hold between the VIPs and the rest, and whose turn it is to serve each.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use heartbeat_common::wire::{GroupId, MAX_LEASES, NodeId};
use heartbeat_core::placement::Score;

use super::{
    cluster::fnv1a,
    read::{At, Section, or_complained},
    report::quoted,
    resolve::likely,
    sections,
    types::{Group, Link, Node, Resource, ResourceKind, Role, Vip},
    uses::Uses,
};

/// Frames that a node may need to renew all of its leases in one round.
const MAX_LEASE_FRAMES: usize = 8;
/// Each VIP is a group with a lease of its own.
const MAX_GROUPS: usize = MAX_LEASE_FRAMES * MAX_LEASES;

pub(super) fn resolve(
    read: Vec<sections::Vip<'_>>,
    links: &[Link],
    nodes: &[Node],
    local: usize,
) -> (Vec<Group>, Vec<Vip>) {
    if let Some(extra) = read.get(MAX_GROUPS) {
        extra.section.problem(
            extra.section.at(),
            format!(
                "there are {} VIPs, but no more than {MAX_GROUPS} leases fit into the \
                 {MAX_LEASE_FRAMES} lease frames of a round",
                read.len()
            ),
            "remove this and those that follow, or serve them from another cluster",
        );
    }
    let named: HashMap<&str, &Node> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node))
        .collect();
    let owners: HashMap<IpAddr, &str> = nodes
        .iter()
        .flat_map(|node| {
            node.addresses
                .iter()
                .map(|address| (*address, node.name.as_str()))
        })
        .collect();
    let mut names = Uses::new();
    let mut groups = Uses::new();
    let mut addresses = Uses::new();
    let vip = |vip: sections::Vip<'_>| {
        let section = &vip.section;
        if let Some(At { value, at }) = &vip.name {
            let what = format!("name {}", quoted(value));
            let group = group_id(value);
            let fresh = names.once(
                value.clone(),
                &what,
                section,
                *at,
                "give each VIP a name of its own",
            );
            // Equal names have equal ids: that was said.
            if fresh {
                groups.once(
                    group,
                    &format!("group id {}, which is made of the name,", group.0),
                    section,
                    *at,
                    "rename one of the two",
                );
            }
        }
        let address = vip.address.as_ref()?;
        let ip = address.value.address;
        let remedy = "remove one of the two, or give it another address";
        addresses.once(
            ip,
            &format!("address \"{ip}\""),
            section,
            address.at,
            remedy,
        );
        if let Some(owner) = owners.get(&ip) {
            section.problem(
                address.at,
                format!("address \"{ip}\" is node {}'s own", quoted(owner)),
                "a VIP moves between nodes: choose an address that no node has",
            );
        }
        let interface = vip_interface(vip.interface, links, nodes.get(local)?)?;
        let id = group_id(vip.name.as_ref().map_or("", |name| &name.value));
        let rank = rank(section, &vip.prefer, nodes, &named);
        let name = or_complained(vip.name);
        let vip = Vip {
            address: address.value,
            interface,
            group: id,
            name: name.clone(),
        };
        let resource = Resource {
            name: name.clone(),
            kind: ResourceKind::Vip(0),
            start_timeout: None,
            stop_timeout: None,
            monitor_timeout: None,
            monitor_interval: None,
            migration_threshold: 0,
            failure_timeout: None,
            pidfile: None,
        };
        let group = Group {
            name,
            id,
            resources: vec![resource],
            rank,
            locations: Vec::new(),
            stickiness: Score::ZERO,
            maintenance: false,
        };
        Some((group, vip))
    };
    let (mut groups, vips): (Vec<Group>, Vec<Vip>) = read.into_iter().filter_map(vip).unzip();
    for (index, group) in groups.iter_mut().enumerate() {
        group.resources[0].kind = ResourceKind::Vip(index);
    }
    (groups, vips)
}

/// Where a VIP goes on the local node. The name of a link's interface stands for that link, so that
/// one file fits nodes that name their interfaces differently.
fn vip_interface(given: Option<String>, links: &[Link], local: &Node) -> Option<String> {
    let Some(given) = given else {
        return local.interfaces.first().cloned();
    };
    match links.iter().position(|link| link.interface == given) {
        Some(link) => local.interfaces.get(link).cloned(),
        None => Some(given),
    }
}

/// All members, best first: those preferred, then the others in the order of the file.
fn rank(
    section: &Section<'_>,
    prefer: &[At<String>],
    nodes: &[Node],
    named: &HashMap<&str, &Node>,
) -> Vec<NodeId> {
    let mut rank = Vec::with_capacity(nodes.len());
    let mut listed = HashSet::new();
    for At { value, at } in prefer {
        let complain = |what: &str, remedy: String| {
            section.problem(*at, format!("prefer {}{what}", quoted(value)), remedy);
        };
        match named.get(value.as_str()) {
            Some(node) if node.role == Role::Witness => complain(
                ": this node is a witness, which serves nothing",
                "leave it out, or remove role = \"witness\" from the node".to_owned(),
            ),
            Some(node) if listed.insert(node.id) => rank.push(node.id),
            Some(_) => complain(" stands twice", "keep one".to_owned()),
            None => {
                let members = nodes.iter().filter(|node| node.role == Role::Member);
                let names: Vec<_> = members.map(|node| node.name.as_str()).collect();
                complain(": no node has this name", likely(value, &names));
            }
        }
    }
    let others = nodes
        .iter()
        .filter(|node| node.role == Role::Member && !listed.contains(&node.id));
    rank.extend(others.map(|node| node.id));
    rank
}

/// The group that a VIP is: a hash of its name, so that the order of VIPs in a node's file does not
/// matter. 32-bit FNV-1a, its halves folded by exclusive or; 0 is no group, so it gives way to 1.
pub(super) fn group_id(name: &str) -> GroupId {
    let hash = fnv1a(name);
    let [high, low] = [hash >> 16, hash & 0xffff].map(|half| half as u16);
    GroupId((high ^ low).max(1))
}
