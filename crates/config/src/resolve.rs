//! The step from tables to a [`Config`], and what must hold between them.

use heartbeat_common::wire::ClusterId;

use super::{
    constraints, groups, health, hook, ids, links, load, nodes,
    placement::{self, Pace},
    read::{At, Section},
    report::{Findings, known, likely, quoted},
    settings::{cluster, control, metrics, paths, realtime},
    timing::{self, Timing},
    types::{Config, Node},
    utilization,
};

/// The bytes of a Unix socket's address, less the closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The names that this host may have as a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    /// The command line's, which beats the file's.
    pub(super) node: Option<&'a str>,
    pub(super) hostname: &'a str,
}

/// The configuration that `top` describes. It is of use only if `findings` has no problem.
pub(super) fn config(findings: &Findings<'_>, top: &Section<'_>, who: Identity<'_>) -> Config {
    if !top.has(&cluster::TABLE) {
        top.missing(&cluster::TABLE);
    }
    let cluster = cluster::TABLE.open(top);
    let name = cluster::NAME.or_default(&cluster);
    let Timing {
        interval,
        timeout,
        agent_stall,
        lease,
        max_lease,
    } = timing::read(&cluster);
    let auto_failback = cluster::AUTO_FAILBACK.value(&cluster);
    let links = links::read(top);
    let (mut nodes, capacities) = nodes::read(top, &links);
    let local = local(findings, &cluster, &nodes, who);
    let groups::Read {
        mut groups,
        demands,
        vips,
    } = groups::read(top, auto_failback, &links, &nodes, local);
    let (colocations, orders) = constraints::read(top, &mut groups, &nodes);
    let health = health::read(top);
    let load = load::read(top);
    let pace = Pace {
        heartbeat: interval,
        load: load.interval,
    };
    let (placement, at) = placement::read(top, pace);
    let utilization = utilization::resolve(
        top,
        (&placement, at),
        (&mut nodes, &capacities),
        (&mut groups, &demands),
    );
    let paths = paths::TABLE.open(top);
    let control_group = control::GROUP.value(&control::TABLE.open(top));
    let priority = realtime::PRIORITY.or_default(&realtime::TABLE.open(top));
    let config = Config {
        path: findings.source.path().to_owned(),
        cluster_id: ClusterId(
            cluster::ID
                .value(&cluster)
                .unwrap_or_else(|| ids::cluster_id(&name)),
        ),
        cluster: name,
        instance: cluster::INSTANCE.or_default(&cluster),
        key: cluster::KEY.or_default(&cluster),
        port: cluster::PORT.or_default(&cluster),
        version: cluster::CONFIG_VERSION.or_default(&cluster),
        interval,
        timeout,
        agent_stall,
        lease,
        max_lease,
        drift_ppm: cluster::DRIFT.or_default(&cluster),
        auto_failback: auto_failback.unwrap_or(true),
        realtime_priority: (priority > 0).then_some(priority),
        links,
        nodes,
        groups,
        vips,
        colocations,
        orders,
        maintenance: cluster::MAINTENANCE.or_default(&cluster),
        accept_configuration: cluster::ACCEPT_CONFIGURATION.or_default(&cluster),
        control_group,
        health,
        load,
        metrics: metrics::LISTEN.value(&metrics::TABLE.open(top)),
        placement,
        utilization,
        hooks: hook::read(top),
        warnings: Vec::new(),
        run: paths::RUN.or_default(&paths),
        state: paths::STATE.or_default(&paths),
        local,
    };
    let socket = config.socket().as_os_str().len();
    if socket > MAX_SOCKET_PATH {
        findings.problem(
            paths.at_field(&paths::RUN),
            format!("[paths]: run makes the control socket's path {socket} bytes long"),
            format!(
                "choose a shorter directory: a Unix socket's path has at most {MAX_SOCKET_PATH}"
            ),
        );
    }
    config
}

/// Index of the node that this host is.
fn local(
    findings: &Findings<'_>,
    cluster: &Section<'_>,
    nodes: &[Node],
    who: Identity<'_>,
) -> usize {
    let named = cluster::NODE.read(cluster);
    let find = |name: &str| nodes.iter().position(|node| node.name == name);
    let short = || {
        who.hostname
            .split('.')
            .next()
            .filter(|short| !short.is_empty())
    };
    let found = match (who.node, &named) {
        (Some(name), _) => find(name),
        (None, Some(name)) => find(&name.value),
        (None, None) => find(who.hostname).or_else(|| find(short()?)),
    };
    // A node that is missing, or whose name was bad, may be the one: that was reported.
    let unclear = nodes.is_empty() || nodes.iter().any(|node| node.name.is_empty());
    if found.is_some() || unclear {
        return found.unwrap_or_default();
    }
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    let known = known(&names);
    let likely = |name| likely(name, &names);
    match (who.node, &named) {
        (Some(name), _) => findings.problem_elsewhere(
            format!("--node {}: no node has this name", quoted(name)),
            likely(name),
        ),
        (None, Some(At { value, at })) => {
            let message = format!("[cluster]: node {}: no node has this name", quoted(value));
            findings.problem(*at, message, likely(value));
        }
        (None, None) => findings.problem(
            cluster.at(),
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
