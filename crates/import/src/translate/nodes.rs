//! The nodes: those of corosync's nodelist with their names in Pacemaker, or, without a nodelist,
//! Pacemaker's nodes.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    amounts::Amounts,
    corosync::device_host,
    remarks::{joint, left_over, renamed},
};
use crate::{
    corosync::{Entry, Section},
    emit::{Block, Comment, Remark, Value},
    model::{self, Model},
    place::Place,
    values,
};

#[derive(Debug)]
pub(super) struct Node {
    /// The name in Pacemaker.
    pub(super) name: String,
    id: u16,
    /// One address for each ring. The text may be no address.
    pub(super) addresses: Vec<Option<String>>,
    utilization: model::Attrs,
    capacity: Option<Value>,
    comments: Vec<Comment>,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) list: Vec<Node>,
    /// Numbers of the rings, which become links in this order.
    pub(super) rings: Vec<u32>,
    /// Remarks on nodes that are no members here.
    comments: Vec<Comment>,
}

impl Nodes {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.list.iter().any(|node| node.name == name)
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.list.iter().map(|node| block(node, self)).collect();
        let comments = self.comments.clone();
        blocks.push(Block {
            comments,
            ..Block::default()
        });
        blocks
    }
}

fn block(node: &Node, nodes: &Nodes) -> Block {
    let mut block = Block::new("[[node]]");
    block.comments.clone_from(&node.comments);
    let (name, changed) = renamed(&node.name);
    if !changed.is_empty() {
        block.comments.push(Comment::general(changed));
    }
    let address = |(link, address): (usize, &Option<String>)| match address {
        Some(address) => address.clone(),
        None => format!("ADDRESS-OF-{name}-ON-LINK-{link}"),
    };
    let addresses: Vec<String> = node.addresses.iter().enumerate().map(address).collect();
    let unusable = |text: &&String| text.parse::<IpAddr>().is_err();
    let unknown = node.addresses.iter().any(Option::is_none);
    if unknown || nodes.rings.is_empty() {
        block.comments.push(Comment::general(
            "the input has no address of this node: fill in one for each [[link]] (`heartbeat \
             check` rejects the placeholder)",
        ));
    }
    let named = node.addresses.iter().flatten().filter(unusable);
    let named: Vec<&str> = named.map(String::as_str).collect();
    if !named.is_empty() {
        block.comments.push(Comment::general(format!(
            "{} is a host name, and the import resolves no names: write the address instead \
             (`heartbeat check` rejects the name)",
            named.join(", ")
        )));
    }
    block.field("name", Value::Text(name));
    block.field("id", Value::Number(node.id.into()));
    block.field("addresses", Value::List(addresses));
    if let Some(capacity) = &node.capacity {
        block.fields.push(("capacity", capacity.clone()));
    }
    block
}

pub(super) fn resolve(corosync: Option<&Section>, model: &mut Model, amounts: &Amounts) -> Nodes {
    let mut nodes = Nodes::default();
    let listed: Vec<&Section> = corosync.map_or_else(Vec::new, |top| {
        top.named("nodelist")
            .flat_map(|list| list.named("node"))
            .collect()
    });
    nodes.rings = rings(corosync, &listed);
    let mut known: Vec<model::Node> = Vec::new();
    for node in std::mem::take(&mut model.nodes) {
        match node.kind.as_deref() {
            None | Some("normal" | "member") => known.push(node),
            Some(kind) => nodes.comments.push(
                Remark::new(
                    &node.place,
                    format!("node {}", node.name),
                    format!(
                        "a node of type {kind} is not a member of the cluster, and heartbeat \
                    has no remote nodes"
                    ),
                    "make it a [[node]] with an agent of its own, or leave it out",
                )
                .into(),
            ),
        }
    }
    let mut ids = Ids::default();
    ids.reserve(listed.iter().filter_map(|node| node.get("nodeid")));
    if listed.is_empty() {
        ids.reserve(known.iter().filter_map(|node| node.id.as_deref()));
        let rings = nodes.rings.len();
        nodes.list.extend(
            known
                .into_iter()
                .map(|node| from_crm(node, rings, &mut ids, amounts)),
        );
        nodes.comments.extend(stray_addresses(corosync));
        return nodes;
    }
    let in_order = pairs_in_order(&listed, &known);
    for (index, section) in listed.iter().enumerate() {
        let mut node = listed_node(section, index, &nodes.rings, &mut known, in_order, &mut ids);
        let (capacity, comments) = amounts.capacity(&node.name, &node.utilization);
        node.capacity = capacity;
        node.comments.extend(comments);
        nodes.list.push(node);
    }
    for node in known {
        nodes.comments.push(
            Remark::new(
                &node.place,
                format!("node {}", node.name),
                "corosync's nodelist does not have this node, so it is not a member",
                "if the node is a member, add a [[node]] with its addresses",
            )
            .into(),
        );
        nodes
            .comments
            .extend(attributes(&node.name, node.attributes));
        nodes
            .comments
            .extend(left_over("utilization", &node.name, node.utilization));
    }
    nodes
}

/// The rings of the nodes, or the configured rings, or one.
fn rings(corosync: Option<&Section>, listed: &[&Section]) -> Vec<u32> {
    let entries = listed.iter().flat_map(|node| &node.entries);
    let mut rings: BTreeSet<u32> = entries.filter_map(ring_of).collect();
    if rings.is_empty() {
        let totems = corosync.into_iter().flat_map(|top| top.named("totem"));
        let interfaces = totems.flat_map(|totem| totem.named("interface"));
        rings = interfaces.map(number_of).collect();
    }
    if rings.is_empty() {
        rings.insert(0);
    }
    rings.into_iter().collect()
}

/// N of `ringN_addr`.
fn ring_of(entry: &Entry) -> Option<u32> {
    let number = entry.key.strip_prefix("ring")?.strip_suffix("_addr")?;
    number.parse().ok()
}

/// The ring of an interface section.
pub(super) fn number_of(interface: &Section) -> u32 {
    let number = interface
        .get("linknumber")
        .or_else(|| interface.get("ringnumber"));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whether only the order assigns the names in `known` to the listed nodes.
fn pairs_in_order(listed: &[&Section], known: &[model::Node]) -> bool {
    let has_known_name = |section: &&&Section| {
        let names = ["name", "ring0_addr", "nodeid"].map(|key| section.get(key));
        known.iter().any(|node| {
            names[..2].contains(&Some(&node.name))
                || (names[2].is_some() && names[2] == node.id.as_deref())
        })
    };
    listed.len() == known.len()
        && listed.iter().all(|section| section.get("name").is_none())
        && listed.iter().filter(has_known_name).count() == 0
}

fn listed_node(
    section: &Section,
    index: usize,
    rings: &[u32],
    known: &mut Vec<model::Node>,
    in_order: bool,
    ids: &mut Ids,
) -> Node {
    let mut comments = Vec::new();
    let host = section
        .get("ring0_addr")
        .filter(|address| address.parse::<IpAddr>().is_err());
    let given_name = section.get("name").or(host);
    let nodeid = section.get("nodeid");
    let same = |node: &model::Node| {
        given_name == Some(node.name.as_str()) || (nodeid.is_some() && nodeid == node.id.as_deref())
    };
    let found = if in_order {
        Some(0)
    } else {
        known.iter().position(same)
    };
    let found = found
        .filter(|at| *at < known.len())
        .map(|at| known.remove(at));
    let mut places: Vec<Place> = vec![section.place.clone()];
    let told_here = section.entries.iter().filter(|entry| {
        ring_of(entry).is_some() || ["name", "nodeid"].contains(&entry.key.as_str())
    });
    places.extend(told_here.map(|entry| entry.place.clone()));
    let mut text = format!("node in corosync's nodelist ({})", section.place);
    if let Some(node) = &found {
        places.push(node.place.clone());
        text = format!("{text}, node {} ({})", node.name, node.place);
    }
    comments.push(Comment::Note(text, places));
    let id = ids.of(nodeid.or(found.as_ref().and_then(|node| node.id.as_deref())));
    if let Some(given) = nodeid.filter(|given| *given != id.to_string()) {
        comments.push(Comment::general(format!(
            "its id {given} is not between 1 and 65535, or in use: the import chose another"
        )));
    }
    let name = match (&found, given_name) {
        (Some(node), given_name) => {
            if in_order {
                comments.push(Comment::general(
                    "the nodelist has no names: the import matched Pacemaker's nodes in their \
                     order, so check that the addresses belong to this node",
                ));
            }
            given_name
                .filter(|_| section.get("name").is_some())
                .unwrap_or(&node.name)
                .to_owned()
        }
        (None, Some(given_name)) => given_name.to_owned(),
        (None, None) => {
            comments.push(Comment::general(
                "the input does not name this node: write its host name, by which the agent finds \
                 its own entry in this file",
            ));
            format!("node{}", index + 1)
        }
    };
    let mut utilization = model::Attrs::default();
    if let Some(node) = found {
        comments.extend(attributes(&name, node.attributes));
        utilization = node.utilization;
    }
    let addresses = rings.iter().map(|ring| {
        let mut entries = section.entries.iter().rev();
        let entry = entries.find(|entry| ring_of(entry) == Some(*ring))?;
        Some(entry.value.clone()).filter(|value| !value.is_empty())
    });
    Node {
        addresses: addresses.collect(),
        name,
        id,
        utilization,
        capacity: None,
        comments,
    }
}

fn from_crm(node: model::Node, rings: usize, ids: &mut Ids, amounts: &Amounts) -> Node {
    let text = format!("node {} ({})", node.name, node.place);
    let mut comments = vec![Comment::note(text, &node.place)];
    comments.extend(attributes(&node.name, node.attributes));
    let (capacity, said) = amounts.capacity(&node.name, &node.utilization);
    comments.extend(said);
    Node {
        id: ids.of(node.id.as_deref()),
        name: node.name,
        addresses: vec![None; rings],
        utilization: node.utilization,
        capacity,
        comments,
    }
}

/// The remark on old-style addresses, whose owners are unknown.
fn stray_addresses(corosync: Option<&Section>) -> Option<Comment> {
    let totems = corosync?.named("totem");
    let interfaces = totems.flat_map(|totem| totem.named("interface"));
    let members = interfaces.flat_map(|interface| interface.named("member"));
    let entries: Vec<&Entry> = members
        .flat_map(|member| &member.entries)
        .filter(|entry| entry.key == "memberaddr")
        .collect();
    let addresses: Vec<&str> = entries.iter().map(|entry| entry.value.as_str()).collect();
    joint(
        format!("totem interface members {}", addresses.join(", ")),
        entries.iter().map(|entry| entry.place.clone()).collect(),
        "the input does not assign them to nodes",
        "write each into `addresses` of its node",
    )
}

/// Remarks on the attributes of a node.
fn attributes(name: &str, mut attrs: model::Attrs) -> Vec<Comment> {
    let mut comments = Vec::new();
    for (attribute, remedy) in [
        (
            "standby",
            "run `heartbeat standby NODE` when the agents run",
        ),
        (
            "maintenance",
            "set `maintenance = true` in the groups that the agent there must not touch",
        ),
    ] {
        let Some(attr) = attrs.take(attribute) else {
            continue;
        };
        let subject = format!("{attribute}={} of node {name}", attr.value);
        comments.push(match values::truth(&attr.value) {
            Some(false) => Comment::note(
                format!("{subject} ({}): the same in heartbeat", attr.place),
                &attr.place,
            ),
            _ => Remark::new(
                &attr.place,
                subject,
                "the file describes the cluster; an operator's command sets the present state of a \
                 node",
                remedy.replace("NODE", name),
            )
            .into(),
        });
    }
    comments.extend(left_over("attribute", &format!("node {name}"), attrs));
    comments
}

/// Ids of nodes, each assigned once.
#[derive(Default)]
struct Ids {
    reserved: BTreeSet<u16>,
    given: BTreeSet<u16>,
}

impl Ids {
    /// Reserves the given ids, so that no node without an id gets one of them.
    fn reserve<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.reserved
            .extend(ids.filter_map(|id| id.parse::<u16>().ok()));
    }

    fn of(&mut self, wanted: Option<&str>) -> u16 {
        let wanted = wanted.and_then(|id| id.parse().ok());
        let usable = wanted.filter(|id| *id != 0 && !self.given.contains(id));
        let mut free =
            (1..=u16::MAX).filter(|id| !self.given.contains(id) && !self.reserved.contains(id));
        // `heartbeat check` refuses more nodes than ids anyway.
        let id = usable.or_else(|| free.next()).unwrap_or(u16::MAX);
        self.given.insert(id);
        id
    }
}

/// The third voter that two nodes need, as a comment.
pub(super) fn witness(corosync: Option<&Section>, nodes: &Nodes, cluster: &str) -> Option<Block> {
    if nodes.list.len() != 2 {
        return None;
    }
    let host = corosync.and_then(device_host);
    let mut block = Block::new("[[node]]");
    block.disabled = true;
    block.comments.push(Comment::general(
        "`heartbeat check` rejects a cluster of two nodes: one vote of two is no majority, so if \
         one node fails, the other stops serving, too. A witness is the third voter: a small host \
         without an agent and a configuration. Remove the # signs, fill in its addresses, copy the \
         key to it, and run this command there at each boot:",
    ));
    let peers: Vec<String> = nodes
        .list
        .iter()
        .map(|node| {
            let address = node.addresses.first().cloned().flatten();
            format!(
                "--peer {}={}",
                node.id,
                address.unwrap_or_else(|| "ADDRESS".to_owned())
            )
        })
        .collect();
    let id = (1..=u16::MAX)
        .find(|id| nodes.list.iter().all(|node| node.id != *id))
        .unwrap_or(u16::MAX);
    block.comments.push(Comment::general(format!(
        "  heartbeat witness --iface eth0 --cluster {cluster} --id {id} {}",
        peers.join(" ")
    )));
    let mut name = "witness".to_owned();
    let mut addresses = vec!["ADDRESS".to_owned(); nodes.rings.len()];
    if let Some(host) = host {
        block.comments.push(Comment::general(format!(
            "A good witness is {host}, the host of the quorum device."
        )));
        if host.parse::<IpAddr>().is_ok() {
            addresses[0] = host.to_owned();
        } else {
            name = values::usable_name(host);
        }
    }
    block.field("name", Value::Text(name));
    block.field("id", Value::Number(id.into()));
    block.field("role", "witness");
    block.field("addresses", Value::List(addresses));
    Some(block)
}
