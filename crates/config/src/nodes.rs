//! `[[node]]`: how many vote and serve, and that no two claim the same.

use std::{collections::HashMap, net::IpAddr};

use heartbeat_common::{maps::MAX_PEERS, wire::NodeId};

use super::{
    read::{At, Named, Section, label, or_reported},
    report::quoted,
    settings::node::{ADDRESSES, CAPACITY, ID, INTERFACES, NAME, ROLE, TABLE},
    types::{Link, Node, Role},
    uses::Uses,
    utilization::Stated,
};

const MAX_NODES: usize = MAX_PEERS + 1;

/// A `[[node]]` as read.
struct Draft<'a> {
    section: Section<'a>,
    name: Option<At<String>>,
    id: Option<At<u16>>,
    role: Role,
    addresses: PerLink<IpAddr>,
    interfaces: PerLink<String>,
    capacity: Stated<'a>,
}

/// A list with one item for each link. `None` if the list is absent or no list; a bad item is
/// `None`.
struct PerLink<T>(Option<At<Vec<Option<At<T>>>>>);

impl<T> PerLink<T> {
    fn items(&self) -> impl Iterator<Item = Option<&At<T>>> {
        let items = self.0.iter().flat_map(|list| &list.value);
        items.map(Option::as_ref)
    }

    /// Reports a list that is shorter or longer than that of the links.
    fn one_per_link(&self, section: &Section<'_>, field: &dyn Named, links: usize) {
        let Some(At { value: items, at }) = &self.0 else {
            return;
        };
        // A file without links was reported.
        if links > 0 && items.len() != links {
            let (name, noun, length) = (field.name(), field.noun(), items.len());
            section.problem(
                *at,
                format!("{name} has length {length}, but the number of links is {links}"),
                format!("list one {noun} for each [[link]], in their order"),
            );
        }
    }
}

fn draft(section: Section<'_>) -> Draft<'_> {
    Draft {
        name: NAME.read(&section),
        id: ID.read(&section),
        role: ROLE.or_default(&section),
        addresses: PerLink(ADDRESSES.read(&section)),
        interfaces: PerLink(INTERFACES.read(&section)),
        capacity: Stated::read(&section, &CAPACITY),
        section,
    }
}

/// The nodes, and the capacity that each states.
pub(super) fn read<'a>(top: &Section<'a>, links: &[Link]) -> (Vec<Node>, Vec<Stated<'a>>) {
    let sections = TABLE.open_all(top, label("node"));
    let read: Vec<Draft<'a>> = sections.into_iter().map(draft).collect();
    match read.first() {
        Some(first) => {
            let members = read.iter().filter(|node| node.role == Role::Member);
            voters(first.section.at(), read.len(), members.count(), top);
        }
        None if top.lacks(&TABLE) => top.missing(&TABLE),
        None => {}
    }
    let mut names = Uses::new();
    let mut ids = Uses::new();
    let mut addresses = Uses::new();
    let mut families = HashMap::new();
    let node = |node: Draft<'a>| {
        let section = &node.section;
        if let Some(At { value, at }) = &node.name {
            let what = format!("name {}", quoted(value));
            names.once(
                value.clone(),
                &what,
                section,
                *at,
                "give each node a name of its own",
            );
        }
        if let Some(At { value: id, at }) = node.id {
            ids.once(
                id,
                &format!("id {id}"),
                section,
                at,
                "give each node an id of its own",
            );
        }
        for (link, address) in node.addresses.items().enumerate() {
            let Some(At { value, at }) = address else {
                continue;
            };
            let remedy = format!("give each node its own address on link {link}");
            addresses.once(
                *value,
                &format!("address \"{value}\""),
                section,
                *at,
                &remedy,
            );
            family(&mut families, link, *value, section, *at);
        }
        node.addresses
            .one_per_link(section, &ADDRESSES, links.len());
        node.interfaces
            .one_per_link(section, &INTERFACES, links.len());
        let resolved = Node {
            interfaces: interfaces(&node, links),
            capacity: Vec::new(),
            addresses: node
                .addresses
                .items()
                .flatten()
                .map(|address| address.value)
                .collect(),
            id: NodeId(or_reported(node.id)),
            role: node.role,
            name: or_reported(node.name),
        };
        (resolved, node.capacity)
    };
    read.into_iter().map(node).unzip()
}

/// Every node votes, so all of them count for the majority; only members serve.
fn voters(at: usize, count: usize, members: usize, top: &Section<'_>) {
    if members == 0 {
        top.problem(
            at,
            "every node is a witness, so no node can serve",
            "remove role = \"witness\" from those that are to serve",
        );
        return;
    }
    match count {
        1 => top.warning(
            at,
            "the cluster has a single node, so no node can take over",
            "add [[node]] tables: three voting nodes are the fewest that tolerate one failure",
        ),
        2 => top.problem(
            at,
            "two nodes vote, and neither can form a majority without the other: when one fails, \
             the other stops serving too",
            "add a witness: a third [[node]] with role = \"witness\", a small host that only loads \
             the responder with `heartbeat witness`",
        ),
        _ if count > MAX_NODES => top.problem(
            at,
            format!("there are {count} nodes, but no more than {MAX_NODES} work"),
            "split them into several clusters",
        ),
        _ if count.is_multiple_of(2) => top.warning(
            at,
            format!(
                "{count} voting nodes tolerate {}, no more than {} would",
                failures(count / 2 - 1),
                count - 1
            ),
            "use an odd number: add or remove one",
        ),
        _ => {}
    }
    if members == 1 && count > 2 {
        top.warning(
            at,
            "only one node is a member, and witnesses serve nothing, so no node can take over",
            "remove role = \"witness\" from a node that is able to serve, or add a member",
        );
    }
}

/// The first address on each link, and the node and line it stands at.
type Families = HashMap<usize, (IpAddr, String, usize)>;

/// Reports an address that is not of its link's family.
fn family(families: &mut Families, link: usize, address: IpAddr, section: &Section<'_>, at: usize) {
    let name = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    match families.get(&link) {
        Some((first, by, line)) if first.is_ipv4() != address.is_ipv4() => {
            let (this, other) = (name(address), name(*first));
            section.problem(
                at,
                format!(
                    "address \"{address}\" is {this}, but link {link} is {other} since {by} (line \
                     {line})"
                ),
                format!(
                    "use {other} on link {link} for all nodes; {this} can be a link of its own"
                ),
            );
        }
        Some(_) => {}
        None => {
            families.insert(
                link,
                (address, section.label().to_owned(), section.line(at)),
            );
        }
    }
}

/// The node's own interface names, or those of the links.
fn interfaces(node: &Draft<'_>, links: &[Link]) -> Vec<String> {
    if node.interfaces.0.is_none() {
        return links.iter().map(|link| link.interface.clone()).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for At { value, at } in node.interfaces.items().flatten() {
        if names.contains(value) {
            node.section.problem(
                *at,
                format!("interface {} is listed twice", quoted(value)),
                "give each link an interface of its own: two links on one fail together",
            );
        }
        names.push(value.clone());
    }
    names
}

/// A number of failed nodes in words.
fn failures(count: usize) -> String {
    match count {
        1 => "one failure".to_owned(),
        count => format!("{count} failures"),
    }
}
