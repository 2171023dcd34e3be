//! What must hold between tables, and the step from tables to a [`Config`].

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use heartbeat_common::wire::{LinkId, MAX_LINKS, NodeId};

use super::{
    cluster::{self, Cluster},
    fields, nodes,
    read::{At, Section, or_complained},
    report::{Findings, nearest, quoted},
    sections,
    types::{Config, Link, Node, Vip},
    uses::Uses,
};

/// What a Unix socket's address can hold, less the closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Who this host might be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    /// From the command line: beats the file.
    pub(super) node: Option<&'a str>,
    pub(super) hostname: &'a str,
}

/// The configuration that `top` describes. Worth something only if `findings` has no problem.
pub(super) fn config(findings: &Findings<'_>, top: &Section<'_>, who: Identity<'_>) -> Config {
    let cluster = cluster::read(top);
    let (run, state) = sections::paths(top);
    let realtime_priority = sections::realtime(top);
    let links = links(top, sections::links(top));
    let nodes = nodes::resolve(top, sections::nodes(top), &links);
    let local = cluster
        .as_ref()
        .map_or(0, |cluster| local(findings, cluster, &nodes, who));
    let vips = vips(sections::vips(top), &links, &nodes, local);
    let hooks = sections::hooks(top);
    // Without [cluster] there was a complaint already: what stands in for it is never used.
    let cluster = cluster.unwrap_or_default();
    let config = Config {
        path: findings.source.path().to_owned(),
        cluster: cluster.name,
        cluster_id: cluster.id,
        instance: cluster.instance,
        key: cluster.key,
        port: cluster.port,
        interval: cluster.interval,
        timeout: cluster.timeout,
        agent_stall: cluster.agent_stall,
        realtime_priority,
        links,
        nodes,
        vips,
        hooks,
        warnings: Vec::new(),
        run: run.value,
        state,
        local,
    };
    let socket = config.socket().as_os_str().len();
    if socket > MAX_SOCKET_PATH {
        findings.problem(
            run.at,
            format!("[paths]: run makes the control socket's path {socket} bytes long"),
            format!(
                "choose a shorter directory: a Unix socket's path has at most {MAX_SOCKET_PATH}"
            ),
        );
    }
    config
}

fn links(top: &Section<'_>, read: Vec<sections::Link<'_>>) -> Vec<Link> {
    if top.lacks(&fields::LINK) {
        top.missing(&fields::LINK);
    }
    if let Some(extra) = read.get(MAX_LINKS) {
        let message = format!(
            "there are {} links, but no more than {MAX_LINKS} work",
            read.len()
        );
        extra.section.problem(
            extra.section.at(),
            message,
            "remove this and those that follow",
        );
    }
    let mut uses = Uses::new();
    let link = |(index, link): (usize, sections::Link<'_>)| {
        if let Some(At { value, at }) = &link.interface {
            uses.once(
                value.clone(),
                &format!("interface {}", quoted(value)),
                &link.section,
                *at,
                "give each link an interface of its own: two links on one fail together",
            );
        }
        Link {
            id: LinkId(u8::try_from(index).unwrap_or(u8::MAX)),
            interface: or_complained(link.interface),
            mode: link.mode,
        }
    };
    read.into_iter().enumerate().map(link).collect()
}

/// Index of the node that this host is.
fn local(findings: &Findings<'_>, cluster: &Cluster, nodes: &[Node], who: Identity<'_>) -> usize {
    let find = |name: &str| nodes.iter().position(|node| node.name == name);
    let short = || {
        who.hostname
            .split('.')
            .next()
            .filter(|short| !short.is_empty())
    };
    let found = match (who.node, &cluster.node) {
        (Some(name), _) => find(name),
        (None, Some(name)) => find(&name.value),
        (None, None) => find(who.hostname).or_else(|| find(short()?)),
    };
    // A node that is missing, or whose name was bad, may be the one: that was said already.
    let unclear = nodes.is_empty() || nodes.iter().any(|node| node.name.is_empty());
    if found.is_some() || unclear {
        return found.unwrap_or_default();
    }
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    let known = known(&names);
    let likely = |name| likely(name, &names);
    match (who.node, &cluster.node) {
        (Some(name), _) => findings.problem_elsewhere(
            format!("--node {}: no node has this name", quoted(name)),
            likely(name),
        ),
        (None, Some(At { value, at })) => {
            let message = format!("[cluster]: node {}: no node has this name", quoted(value));
            findings.problem(*at, message, likely(value));
        }
        (None, None) => findings.problem(
            cluster.at,
            format!(
                "no node is named {}, which is this host's name",
                quoted(who.hostname)
            ),
            format!(
                "name a node so, or say which one this host is (known: {known}): --node NAME, or \
                 node = \"NAME\" in [cluster]"
            ),
        ),
    }
    0
}

fn vips(read: Vec<sections::Vip<'_>>, links: &[Link], nodes: &[Node], local: usize) -> Vec<Vip> {
    let ids: HashMap<&str, NodeId> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.id))
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
    let mut addresses = Uses::new();
    let vip = |vip: sections::Vip<'_>| {
        let section = &vip.section;
        if let Some(At { value, at }) = &vip.name {
            let what = format!("name {}", quoted(value));
            names.once(
                value.clone(),
                &what,
                section,
                *at,
                "give each VIP a name of its own",
            );
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
        Some(Vip {
            address: address.value,
            interface: vip_interface(vip.interface, links, nodes.get(local)?)?,
            rank: rank(section, &vip.prefer, nodes, &ids),
            name: or_complained(vip.name),
        })
    };
    read.into_iter().filter_map(vip).collect()
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

/// All nodes, best first: those preferred, then the others in the order of the file.
fn rank(
    section: &Section<'_>,
    prefer: &[At<String>],
    nodes: &[Node],
    ids: &HashMap<&str, NodeId>,
) -> Vec<NodeId> {
    let mut rank = Vec::with_capacity(nodes.len());
    let mut listed = HashSet::new();
    for At { value, at } in prefer {
        match ids.get(value.as_str()) {
            Some(id) if listed.insert(*id) => rank.push(*id),
            Some(_) => {
                section.problem(
                    *at,
                    format!("prefer {} stands twice", quoted(value)),
                    "keep one",
                );
            }
            None => {
                let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
                let message = format!("prefer {}: no node has this name", quoted(value));
                section.problem(*at, message, likely(value, &names));
            }
        }
    }
    rank.extend(
        nodes
            .iter()
            .map(|node| node.id)
            .filter(|id| !listed.contains(id)),
    );
    rank
}

fn likely(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(likely) => format!("did you mean \"{likely}\"?"),
        None => format!("known: {}", known(names)),
    }
}

/// The first few of `names`.
fn known(names: &[&str]) -> String {
    const FEW: usize = 8;
    let more = if names.len() > FEW { ", …" } else { "" };
    let few: Vec<_> = names
        .iter()
        .take(FEW)
        .copied()
        .filter(|name| !name.is_empty())
        .collect();
    format!("{}{more}", few.join(", "))
}
