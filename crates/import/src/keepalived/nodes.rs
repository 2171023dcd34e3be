//! Links and nodes: the interfaces of the instances, and the addresses of their adverts.

use super::{
    names::Names,
    site::{Site, Sourced},
};
use crate::{
    emit::{Block, Comment, Value, listed},
    place::Place,
};

/// The limit of the configuration.
const MAX_LINKS: usize = 8;

/// An interface that instances use for adverts.
struct Link {
    interface: String,
    /// The names of the instances.
    instances: Vec<String>,
    places: Vec<Place>,
}

/// Links and nodes, ready for output.
pub(super) struct Nodes {
    links: Vec<Link>,
    /// The names of the nodes: first those with files, in the order of the files.
    pub(super) names: Vec<String>,
    pub(super) blocks: Vec<Block>,
}

/// A node for output.
struct Node {
    name: String,
    /// One address for each link; `None` is unknown.
    addresses: Vec<Option<String>>,
    /// The node's own names of the interfaces, where they differ from the links': one for each
    /// link.
    interfaces: Vec<String>,
    comments: Vec<Comment>,
}

impl Nodes {
    pub(super) fn is_first_link(&self, interface: &str) -> bool {
        self.links
            .first()
            .is_some_and(|link| link.interface == interface)
    }
}

pub(super) fn nodes(sites: &[Site], cluster: &str) -> Nodes {
    let links = links(sites);
    let mut names = Names::default();
    let mut list: Vec<Node> = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        list.push(of_file(site, index, &links, &mut names));
    }
    let rest = assign(&mut list, sites, &links);
    for peer in 0..rest.iter().map(Vec::len).max().unwrap_or(0) {
        list.push(of_peer(peer, list.len(), &rest, &links, &mut names));
    }
    if list.len() == 1 {
        list.push(unknown(&links, &mut names));
    }
    let mut blocks: Vec<Block> = links.iter().map(link).collect();
    blocks.extend(
        list.iter()
            .zip(1_i64..)
            .map(|(one, id)| node(one, id, &links)),
    );
    blocks.extend(witness(&list, &links, cluster));
    let names = list.into_iter().map(|node| node.name).collect();
    Nodes {
        links,
        names,
        blocks,
    }
}

fn links(sites: &[Site]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for instance in sites.iter().flat_map(|site| &site.instances) {
        let Some(said) = &instance.interface else {
            continue;
        };
        // Another node may have another name for the interface.
        let known = links
            .iter_mut()
            .find(|link| link.instances.contains(&instance.name));
        if let Some(link) = known {
            link.places.push(said.place.clone());
            continue;
        }
        match links.iter_mut().find(|link| link.interface == said.text) {
            Some(link) => {
                link.instances.push(instance.name.clone());
                link.places.push(said.place.clone());
            }
            None => links.push(Link {
                interface: said.text.clone(),
                instances: vec![instance.name.clone()],
                places: vec![said.place.clone()],
            }),
        }
    }
    if links.is_empty() {
        links.push(Link {
            interface: "eth0".to_owned(),
            instances: Vec::new(),
            places: Vec::new(),
        });
    }
    links
}

fn link(link: &Link) -> Block {
    let mut block = Block::new("[[link]]");
    if link.places.is_empty() {
        block.comments.push(Comment::general(
            "the input names no interface: keepalived's default",
        ));
    } else {
        let text = format!(
            "interface of {} ({})",
            link.instances.join(", "),
            listed(&link.places)
        );
        block
            .comments
            .push(Comment::Note(text, link.places.clone()));
    }
    block.field("interface", link.interface.as_str());
    block
}

/// The node that a file describes.
fn of_file(site: &Site, index: usize, links: &[Link], names: &mut Names) -> Node {
    let mut comments = Vec::new();
    let router = site.router.as_ref().map(|said| said.text.as_str());
    let name = match (&site.name, router) {
        (Some(name), _) => name.clone(),
        (None, Some(router)) => router.to_owned(),
        (None, None) => format!("node{}", index + 1),
    };
    if let Some(said) = &site.router {
        let text = format!("router_id {} ({})", said.text, said.place);
        comments.push(Comment::note(text, &said.place));
    }
    if site.name.is_none() {
        comments.push(Comment::general(
            "the input does not name this node: write its host name, by which the agent finds its \
             own entry in this file (--keepalived NAME=FILE does)",
        ));
    }
    let mut interfaces = Vec::new();
    let mut addresses = Vec::new();
    let mut places = Vec::new();
    for link in links {
        let own = || {
            let instances = site.instances.iter();
            instances.filter(|instance| link.instances.contains(&instance.name))
        };
        let interface = own().find_map(|instance| instance.interface.as_ref());
        interfaces.push(interface.map_or_else(|| link.interface.clone(), |said| said.text.clone()));
        let source = own().find_map(|instance| instance.source.as_ref());
        addresses.push(source.map(|said| said.text.clone()));
        let sources = own().filter_map(|instance| instance.source.as_ref());
        let peers = own().flat_map(|instance| &instance.peers);
        places.extend(sources.chain(peers).map(|said| said.place.clone()));
    }
    // Sources and peers of instances without an interface.
    let all = site.instances.iter();
    let others = all.flat_map(|instance| instance.source.iter().chain(&instance.peers));
    places.extend(others.map(|said| said.place.clone()));
    places.sort();
    places.dedup();
    if !places.is_empty() {
        let text = format!("source and peers of its adverts ({})", listed(&places));
        comments.push(Comment::Note(text, places));
    }
    let same = interfaces
        .iter()
        .zip(links)
        .all(|(own, link)| *own == link.interface);
    Node {
        name: names.free(&name),
        addresses,
        interfaces: if same { Vec::new() } else { interfaces },
        comments,
    }
}

/// Assigns the peers' addresses to the nodes of other files, where the owner is certain. Returns
/// the addresses of nodes without a file, for each link.
fn assign(list: &mut [Node], sites: &[Site], links: &[Link]) -> Vec<Vec<String>> {
    let mut rest = Vec::new();
    for (number, link) in links.iter().enumerate() {
        let mut free: Vec<String> = Vec::new();
        for instance in sites.iter().flat_map(|site| &site.instances) {
            let of_link = link.instances.is_empty() || link.instances.contains(&instance.name);
            for Sourced { text, .. } in instance.peers.iter().filter(|_| of_link) {
                let taken = list
                    .iter()
                    .any(|node| node.addresses[number].as_ref() == Some(text));
                if !taken && !free.contains(text) {
                    free.push(text.clone());
                }
            }
        }
        let lacking = || {
            list.iter()
                .filter(|node| node.addresses[number].is_none())
                .count()
        };
        match (lacking(), free.as_slice()) {
            (1, [only]) if list.len() > 1 => {
                let lacks = list
                    .iter_mut()
                    .find(|node| node.addresses[number].is_none());
                if let Some(node) = lacks {
                    node.addresses[number] = Some(only.clone());
                }
                free.clear();
            }
            (0, _) => {}
            // With a single file, its peers are other nodes, whatever its own address is.
            (1, _) if list.len() == 1 => {}
            (_, []) => {}
            (_, several) => {
                let text = format!(
                    "the peers in the files have the addresses {}; the files do not say which \
                     belongs to this node",
                    several.join(", ")
                );
                let lacking = list
                    .iter_mut()
                    .filter(|node| node.addresses[number].is_none());
                lacking.for_each(|node| node.comments.push(Comment::general(text.clone())));
                free.clear();
            }
        }
        rest.push(free);
    }
    rest
}

/// A node of which only the address is known.
fn of_peer(
    peer: usize,
    before: usize,
    rest: &[Vec<String>],
    links: &[Link],
    names: &mut Names,
) -> Node {
    let text = "a peer without an imported file: write its host name, or import its file, too \
    (--keepalived NAME=FILE)";
    Node {
        name: names.free(&format!("node{}", before + 1)),
        addresses: (0..links.len())
            .map(|link| rest[link].get(peer).cloned())
            .collect(),
        interfaces: Vec::new(),
        comments: vec![Comment::general(text)],
    }
}

fn unknown(links: &[Link], names: &mut Names) -> Node {
    let text = "the other node, which this file does not describe: write its host name, or import \
    its file, too (--keepalived NAME=FILE)";
    Node {
        name: names.free("node2"),
        addresses: vec![None; links.len()],
        interfaces: Vec::new(),
        comments: vec![Comment::general(text)],
    }
}

fn node(node: &Node, id: i64, links: &[Link]) -> Block {
    let mut block = Block::new("[[node]]");
    block.comments.clone_from(&node.comments);
    if node.addresses.iter().any(Option::is_none) {
        block.comments.push(Comment::general(
            "the input lacks addresses of this node: fill in one for each [[link]] (`heartbeat \
             check` rejects the placeholder); remove a link on which the nodes have no addresses \
             of their own",
        ));
    }
    let addresses = node.addresses.iter().enumerate();
    let addresses = addresses.map(|(link, address)| match address {
        Some(address) => address.clone(),
        None => format!("ADDRESS-OF-{}-ON-LINK-{link}", node.name),
    });
    block.field("name", Value::Text(node.name.clone()));
    block.field("id", Value::Number(id));
    block.field("addresses", Value::List(addresses.collect()));
    if !node.interfaces.is_empty() {
        block.field("interfaces", Value::List(node.interfaces.clone()));
    }
    if links.len() > MAX_LINKS {
        let text = format!(
            "the input has more than {MAX_LINKS} links: keep those that should carry heartbeats"
        );
        block.after.push(Comment::general(text));
    }
    block
}

/// The third voter that two nodes need, as a comment.
fn witness(list: &[Node], links: &[Link], cluster: &str) -> Option<Block> {
    let [one, other] = list else {
        return None;
    };
    let mut block = Block::new("[[node]]");
    block.disabled = true;
    block.comments.push(Comment::general(
        "`heartbeat check` rejects a cluster of two nodes: one vote of two is no majority, so if \
         one node fails, the other stops serving, too. A witness is the third voter: a small host \
         without an agent and a configuration. Remove the # signs, fill in its addresses, copy the \
         key to it, and run this command there at each boot:",
    ));
    let [one, other] = [one, other].map(|node| node.addresses[0].as_deref().unwrap_or("ADDRESS"));
    let interface = &links[0].interface;
    block.comments.push(Comment::general(format!(
        "  heartbeat witness --iface {interface} --cluster {cluster} --id 3 --peer 1={one} --peer \
         2={other}"
    )));
    block.field("name", "witness");
    block.field("id", Value::Number(3));
    block.field("role", "witness");
    block.field(
        "addresses",
        Value::List(vec!["ADDRESS".to_owned(); links.len()]),
    );
    Some(block)
}
