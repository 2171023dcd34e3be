//! A good configuration in a few lines, as the local node understands it. Never shows the values of
//! parameters, which may be secret.

use std::fmt::{self, Write as _};

use crate::config::{Config, Exec, Group, Node, Resource, ResourceKind, Role, duration::Show};

pub(super) fn summary(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = cluster(&mut out, config);
    let _ = served(&mut out, config);
    let _ = constraints(&mut out, config);
    for hook in &config.hooks {
        let on: Vec<_> = hook.on.iter().map(|event| event.as_str()).collect();
        let _ = writeln!(
            out,
            "  hook     {}: {}",
            on.join(", "),
            hook.program.display()
        );
    }
    out
}

/// Who and where the nodes are, and how they keep time.
fn cluster(out: &mut String, config: &Config) -> fmt::Result {
    let local = config.local();
    writeln!(out, "{}: ok", config.path.display())?;
    writeln!(
        out,
        "  cluster  {} (id {:#010x}), {} nodes, instance {}{}",
        config.cluster,
        config.cluster_id.0,
        config.nodes.len(),
        config.instance,
        maintenance(config.maintenance)
    )?;
    let role = match local.role {
        Role::Member => "",
        Role::Witness => ", witness",
    };
    writeln!(out, "  node     {} (id {}){role}", local.name, local.id.0)?;
    let voters = config.nodes.len();
    writeln!(
        out,
        "  voters   {voters}, of which {} may fail; witnesses: {}",
        (voters - 1) / 2,
        names(config.witnesses())
    )?;
    writeln!(
        out,
        "  timing   interval {}, timeout {}, agent stall {}",
        Show(config.interval),
        Show(config.timeout),
        Show(config.agent_stall)
    )?;
    writeln!(
        out,
        "  leases   lease {}, max lease {}, drift {} ppm, auto failback {}",
        Show(config.lease),
        Show(config.max_lease),
        config.drift_ppm,
        if config.auto_failback { "on" } else { "off" }
    )?;
    for link in config.local_links() {
        writeln!(
            out,
            "  link {}   {} on {}, port {}, xdp {}",
            link.id.0, link.address, link.interface, config.port, link.mode
        )?;
    }
    Ok(())
}

fn served(out: &mut String, config: &Config) -> fmt::Result {
    for group in &config.groups {
        writeln!(
            out,
            "  group    {}: rank {}, stickiness {}, id {}{}",
            group.name,
            names(group.rank.iter().filter_map(|id| config.node(*id))),
            group.stickiness,
            group.id.0,
            maintenance(group.maintenance)
        )?;
        for resource in &group.resources {
            let what = what(config, resource);
            writeln!(out, "           {}: {what}", resource.name)?;
        }
    }
    Ok(())
}

fn what(config: &Config, resource: &Resource) -> String {
    match &resource.kind {
        ResourceKind::Vip(index) => config.vips.get(*index).map_or_else(String::new, |vip| {
            format!("vip {} on {}", vip.address, vip.interface)
        }),
        ResourceKind::Ocf(ocf) => {
            let params: Vec<_> = ocf.params.iter().map(|(name, _)| name.as_str()).collect();
            let given = if params.is_empty() { "" } else { ", params " };
            let params = params.join(", ");
            format!("ocf:{}:{}{given}{params}", ocf.provider, ocf.agent)
        }
        ResourceKind::Systemd(unit) => format!("systemd:{unit}"),
        ResourceKind::Exec(Exec::Service { run, .. }) => format!("exec, runs {}", program(run)),
        ResourceKind::Exec(Exec::Commands { start, .. }) => {
            format!("exec, started by {}", program(start))
        }
    }
}

/// Arguments may be secret, too.
fn program(command: &[String]) -> &str {
    command.first().map_or("", String::as_str)
}

fn constraints(out: &mut String, config: &Config) -> fmt::Result {
    let name = |group: usize| config.groups.get(group).map_or("", |group| &group.name);
    for Group {
        name, locations, ..
    } in &config.groups
    {
        for (node, score) in locations {
            let node = config.node(*node).map_or("", |node| &node.name);
            writeln!(out, "  location {name} on {node}: {score}")?;
        }
    }
    for one in &config.colocations {
        let (group, with) = (name(one.group), name(one.with));
        writeln!(out, "  colocate {group} with {with}: {}", one.score)?;
    }
    for order in &config.orders {
        let (first, then) = (name(order.first), name(order.then));
        let kind = if order.mandatory {
            "mandatory"
        } else {
            "advisory"
        };
        writeln!(out, "  order    {first}, then {then}: {kind}")?;
    }
    Ok(())
}

fn maintenance(is: bool) -> &'static str {
    if is { ", in maintenance" } else { "" }
}

/// The names of `nodes`, or of the first of many.
fn names<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = nodes.map(|node| node.name.as_str()).collect();
    let (shown, rest) = names.split_at(names.len().min(SHOWN));
    match (shown, rest) {
        ([], _) => "none".to_owned(),
        (shown, []) => shown.join(", "),
        (shown, rest) => format!("{}, {} more", shown.join(", "), rest.len()),
    }
}
