//! Groups with the addresses of an instance or a sync group, and the scores of the nodes for them.

use std::{collections::HashSet, net::IpAddr};

use super::{
    names::Names,
    nodes::Nodes,
    site::{Address, Instance, Site},
    units::{Unit, owners},
    why::{Left, Why},
};
use crate::{
    emit::{Block, Comment, Value, listed},
    place::Place,
};

/// A group with at least one address.
pub(super) struct Served {
    pub(super) unit: Unit,
    /// The names of the group's addresses.
    pub(super) names: Vec<String>,
    /// The priority in the first file with the unit.
    pub(super) priority: i64,
}

/// The tables of all groups.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) served: Vec<Served>,
    pub(super) blocks: Vec<Block>,
    pub(super) locations: Vec<Block>,
    pub(super) lefts: Vec<Left>,
}

/// The groups of the units. `held`: all groups stay where they are, so no group needs a remark on
/// that.
pub(super) fn groups(sites: &[Site], units: Vec<Unit>, nodes: &Nodes, held: bool) -> Groups {
    let mut groups = Groups::default();
    let (mut group_names, mut names) = (Names::default(), Names::default());
    let mut seen = HashSet::new();
    for unit in units {
        let found = addresses(sites, &unit, &mut seen, &mut groups.lefts);
        if found.is_empty() {
            empty(sites, &unit, &mut groups.lefts);
            continue;
        }
        let name = group_names.free(&unit.name);
        let mut block = Block::new("[[group]]");
        notes(&mut block, sites, &unit);
        block.field("name", Value::Text(name.clone()));
        if !held && stays(sites, &unit) {
            block.field("stickiness", "inf");
        }
        groups.blocks.push(block);
        let mut own = Vec::new();
        for address in &found {
            let (resource, block) = resource(address, &unit, found.len(), nodes, &mut names);
            own.push(resource);
            groups.blocks.push(block);
        }
        groups
            .locations
            .extend(locations(sites, &unit, &name, nodes));
        let priority = sites.iter().find_map(|site| unit.priority(site));
        groups.served.push(Served {
            unit,
            names: own,
            priority: priority.map_or(0, |(priority, _)| priority),
        });
    }
    groups
}

/// Whether no better node takes the unit over from its present node.
pub(super) fn stays(sites: &[Site], unit: &Unit) -> bool {
    let mut all = sites.iter().flat_map(|site| unit.instances(site));
    all.any(|instance| instance.nopreempt.is_some())
}

fn notes(block: &mut Block, sites: &[Site], unit: &Unit) {
    let places = unit.places(sites);
    let mut say = |text: String, places: Vec<Place>| {
        block.comments.push(Comment::Note(text, places));
    };
    say(format!("{} ({})", unit.what(), listed(&places)), places);
    let all = || sites.iter().flat_map(|site| unit.instances(site));
    let stay: Vec<Place> = all()
        .filter_map(|instance| Some(instance.nopreempt.as_ref()?.place.clone()))
        .collect();
    if !stay.is_empty() {
        let text = format!("nopreempt ({}): the group stays on its node", listed(&stay));
        say(text, stay);
    }
    if let [site] = sites
        && let Some((priority, places)) = unit.priority(site)
    {
        let first = unit
            .instances(site)
            .find_map(|instance| instance.state.as_ref());
        let state = first.map_or_else(String::new, |said| format!(", in the state {}", said.text));
        let at = match places.is_empty() {
            true => "keepalived's default".to_owned(),
            false => listed(&places),
        };
        let text = format!(
            "the node of this file has the priority {priority} ({at}){state}; the file lacks the \
             priorities of other nodes: import their files, too (--keepalived NAME=FILE, once for \
             each node), or name the nodes in `prefer`, best first"
        );
        say(text, places);
    }
}

/// An address, and its further places.
struct Merged<'a> {
    address: &'a Address,
    instance: &'a Instance,
    places: Vec<Place>,
}

/// The addresses of all instances of a unit, each once.
fn addresses<'a>(
    sites: &'a [Site],
    unit: &Unit,
    seen: &mut HashSet<IpAddr>,
    lefts: &mut Vec<Left>,
) -> Vec<Merged<'a>> {
    let mut found: Vec<Merged<'_>> = Vec::new();
    for (instance, address, later) in lines(sites, unit) {
        let owner = format!("vrrp_instance {}", instance.name);
        let mut leave = |why| {
            let subject = format!("address {}", address.ip);
            lefts.push(Left::word(&owner, subject, &address.place, why));
        };
        let own = vec![address.block.clone(), address.place.clone()];
        match found.iter_mut().find(|one| one.address.ip == address.ip) {
            Some(known) if known.address.place.file != address.place.file => {
                let of = |instance, address: &Address| {
                    (address.len, device(instance, address).map(str::to_owned))
                };
                if of(known.instance, known.address) != of(instance, address) {
                    leave(Why::Differs);
                }
                known.places.extend(own);
            }
            None if seen.insert(address.ip) => {
                // A file before this one has the unit, and not the address.
                if later {
                    leave(Why::Differs);
                }
                found.push(Merged {
                    address,
                    instance,
                    places: own,
                });
            }
            _ => leave(Why::Taken),
        }
    }
    found
}

/// The addresses of each instance by file, with a flag for an instance that an earlier file has
/// too.
fn lines<'a>(sites: &'a [Site], unit: &Unit) -> Vec<(&'a Instance, &'a Address, bool)> {
    let mut lines = Vec::new();
    for member in &unit.members {
        let all = sites.iter().flat_map(|site| &site.instances);
        for (file, instance) in all.filter(|one| one.name == *member).enumerate() {
            lines.extend(
                instance
                    .addresses
                    .iter()
                    .map(|one| (instance, one, file > 0)),
            );
        }
    }
    lines
}

/// The interface in the address's own line.
fn device<'a>(instance: &'a Instance, address: &'a Address) -> Option<&'a str> {
    let device = address.device.as_deref()?;
    let same = instance
        .interface
        .as_ref()
        .is_some_and(|own| own.text == device);
    (!same).then_some(device)
}

/// Leaves out a unit without an address, and the settings that only the unit needed.
fn empty(sites: &[Site], unit: &Unit, lefts: &mut Vec<Left>) {
    for place in unit.places(sites) {
        lefts.push(Left::word("", unit.what(), &place, Why::Empty));
    }
    let owners = sites.iter().flat_map(owners);
    for (owner, common) in owners.filter(|(owner, _)| unit.is_of(owner)) {
        let notify = common.notify.iter();
        lefts.extend(notify.map(|one| one.left(&owner, Why::Empty)));
    }
    for instance in sites.iter().flat_map(|site| unit.instances(site)) {
        let owner = format!("vrrp_instance {}", instance.name);
        let priority = instance.priority.iter().map(|said| ("priority", said));
        let nopreempt = instance.nopreempt.iter().map(|said| ("nopreempt", said));
        for (keyword, said) in priority.chain(nopreempt) {
            lefts.push(Left::word(
                &owner,
                keyword.to_owned(),
                &said.place,
                Why::Empty,
            ));
        }
    }
}

fn resource(
    found: &Merged<'_>,
    unit: &Unit,
    count: usize,
    nodes: &Nodes,
    names: &mut Names,
) -> (String, Block) {
    let Merged {
        address,
        instance,
        places,
    } = found;
    let text = match count {
        1 => unit.name.clone(),
        _ => format!("{}-{}", unit.name, address.ip).replace(':', "."),
    };
    let name = names.free(&text);
    let mut block = Block::new("[[group.resource]]");
    let mut places = places.clone();
    places.sort();
    places.dedup();
    let keyword = match address.excluded {
        true => "virtual_ipaddress_excluded",
        false => "virtual_ipaddress",
    };
    let text = format!(
        "{keyword} of vrrp_instance {} ({})",
        instance.name,
        listed(&places)
    );
    block.comments.push(Comment::Note(text, places));
    let whole = if address.ip.is_ipv4() { 32 } else { 128 };
    if address.len.is_none() {
        block.comments.push(Comment::general(format!(
            "keepalived adds an address without a length as /{whole}; remove the length to use \
             that of the interface's network"
        )));
    }
    let len = address.len.unwrap_or(whole);
    block.field("name", Value::Text(name.clone()));
    block.field("type", "vip");
    block.field("address", Value::Text(format!("{}/{len}", address.ip)));
    let interface = match (&address.device, &instance.interface) {
        (Some(device), _) => Some(device),
        (None, Some(said)) => Some(&said.text),
        (None, None) => None,
    };
    // The interface of the first link is the default.
    if let Some(interface) = interface.filter(|name| !nodes.is_first_link(name)) {
        block.field("interface", Value::Text(interface.clone()));
    }
    (name, block)
}

/// The priorities, where several files give them.
fn locations(sites: &[Site], unit: &Unit, group: &str, nodes: &Nodes) -> Vec<Block> {
    if sites.len() < 2 {
        return Vec::new();
    }
    let location = |(site, node): (&Site, &String)| {
        let mut block = Block::new("[[location]]");
        let score = match unit.priority(site) {
            Some((priority, places)) if places.is_empty() => {
                block
                    .comments
                    .push(Comment::general("the priority is keepalived's default"));
                Value::Number(priority)
            }
            Some((priority, places)) => {
                let text = format!("priority of {} ({})", unit.what(), listed(&places));
                block.comments.push(Comment::Note(text, places));
                Value::Number(priority)
            }
            None => {
                let text = format!("the file of this node lacks {}", unit.what());
                block.comments.push(Comment::general(text));
                "-inf".into()
            }
        };
        block.field("group", group);
        block.field("node", Value::Text(node.clone()));
        block.field("score", score);
        block
    };
    sites.iter().zip(&nodes.names).map(location).collect()
}
