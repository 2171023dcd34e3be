//! What must hold between tables, and the step from tables to a [`Config`].

use std::time::Duration;

use heartbeat_common::wire::{LinkId, MAX_LINKS};

use super::{
    cluster::{self, Cluster},
    constraints, fields, groups, health, hook, load, nodes,
    placement::{self, Pace},
    read::{At, Section, or_complained},
    report::{Findings, known, likely, quoted},
    sections,
    types::{Config, Link, Node},
    uses::Uses,
    utilization,
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
    let (mut nodes, capacities) = nodes::resolve(top, sections::nodes(top), &links);
    let local = cluster
        .as_ref()
        .map_or(0, |cluster| local(findings, cluster, &nodes, who));
    let auto_failback = cluster.as_ref().and_then(|cluster| cluster.auto_failback);
    let groups::Read {
        mut groups,
        demands,
        vips,
    } = groups::read(top, auto_failback, &links, &nodes, local);
    let (colocations, orders) = constraints::read(top, &mut groups, &nodes);
    let health = health::read(top);
    let load = load::read(top);
    let pace = Pace {
        heartbeat: cluster
            .as_ref()
            .map_or(Duration::ZERO, |cluster| cluster.timing.interval),
        load: load.interval,
    };
    let (placement, at) = placement::read(top, pace);
    let utilization = utilization::resolve(
        top,
        (&placement, at),
        (&mut nodes, &capacities),
        (&mut groups, &demands),
    );
    let hooks = hook::read(top);
    // Without [cluster] there was a complaint already: what stands in for it is never used.
    let cluster = cluster.unwrap_or_default();
    let config = Config {
        path: findings.source.path().to_owned(),
        cluster: cluster.name,
        cluster_id: cluster.id,
        instance: cluster.instance,
        key: cluster.key,
        port: cluster.port,
        version: cluster.version,
        interval: cluster.timing.interval,
        timeout: cluster.timing.timeout,
        agent_stall: cluster.timing.agent_stall,
        lease: cluster.timing.lease,
        max_lease: cluster.timing.max_lease,
        drift_ppm: cluster.timing.drift_ppm,
        auto_failback: auto_failback.unwrap_or(true),
        realtime_priority,
        links,
        nodes,
        groups,
        vips,
        colocations,
        orders,
        maintenance: cluster.maintenance,
        accept_configuration: cluster.accept_configuration,
        health,
        load,
        placement,
        utilization,
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
