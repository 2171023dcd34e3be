//! Summarizes a good configuration from the local node's side. It never shows values of parameters,
//! which may be secret.

use std::fmt::{self, Write as _};

use heartbeat_core::placement::Score;

use crate::commands::count::Count;
use crate::config::{
    Config, Exec, Group, HealthKind, LoadSource, Node, Policy, ProcessName, Resource, ResourceKind,
    Role,
    duration::Show,
    settings::{self, IfSet as _},
};
use heartbeat_core::index::GroupIndex;

pub(super) fn summary(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = cluster(&mut out, config);
    let _ = served(&mut out, config);
    let _ = constraints(&mut out, config);
    let _ = vitals(&mut out, config);
    for hook in &config.hooks {
        let on: Vec<_> = hook.on.iter().map(|event| event.as_str()).collect();
        let _ = writeln!(
            out,
            "  hook     {}: {}{}",
            on.join(", "),
            hook.program.display(),
            hook.if_set(config)
        );
    }
    for setting in config.summary_of_others() {
        let _ = writeln!(out, "  setting  {setting}");
    }
    out
}

/// Adds the nodes, their addresses and the time limits.
fn cluster(out: &mut String, config: &Config) -> fmt::Result {
    let local = config.local();
    writeln!(out, "{}: ok", config.path.display())?;
    writeln!(
        out,
        "  cluster  {} (id {:#010x}), {}, instance {}{}",
        config.cluster,
        config.cluster_id.0,
        Count(config.nodes.len(), "node"),
        config.instance,
        maintenance(config.maintenance)
    )?;
    let role = match local.role {
        Role::Member => "",
        Role::Witness => ", witness",
    };
    writeln!(
        out,
        "  node     {} (id {}){role}{}",
        local.name,
        local.id.0,
        local.if_set(config)
    )?;
    let voters = config.nodes.len();
    writeln!(
        out,
        "  voters   {voters}, of which {} may fail; witnesses: {}",
        (voters - 1) / 2,
        names(config.witnesses())
    )?;
    writeln!(out, "  timing   {}", config.summary_line(settings::TIMING))?;
    writeln!(
        out,
        "  leases   {}, auto failback {}",
        config.summary_line(settings::LEASES),
        failback(config)
    )?;
    for (link, settings) in config.local_links().zip(&config.links) {
        writeln!(
            out,
            "  link {}   {} on {}, port {}, xdp {}{}",
            link.id.0,
            link.address,
            link.interface,
            config.port,
            link.mode,
            settings.if_set(config)
        )?;
    }
    Ok(())
}

/// Describes which groups go back to a better-ranked node.
fn failback(config: &Config) -> &'static str {
    let mut groups = config.groups.iter();
    match groups.all(|group| group.stickiness >= Score::STAYS) {
        _ if !config.auto_failback => "off",
        true if !config.groups.is_empty() => "off",
        _ if config
            .groups
            .iter()
            .all(|group| group.stickiness < Score::STAYS) =>
        {
            "on"
        }
        _ => "on for groups that do not stick",
    }
}

fn served(out: &mut String, config: &Config) -> fmt::Result {
    for group in &config.groups {
        writeln!(
            out,
            "  group    {}: rank {}, stickiness {}, id {}{}{}{}{}",
            group.name,
            names(group.rank.iter().filter_map(|id| config.node(*id))),
            group.stickiness,
            group.id.0,
            amounts(", needs ", config.demands(group)),
            maintenance(group.maintenance),
            match group.accepts_double_run {
                true => ", accepts double run",
                false => "",
            },
            group.if_set(config)
        )?;
        for resource in &group.resources {
            let what = what(config, resource);
            let exclusive = if resource.exclusive {
                ", exclusive"
            } else {
                ""
            };
            let set = resource.if_set(config);
            writeln!(out, "           {}: {what}{exclusive}{set}", resource.name)?;
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
        ResourceKind::Exec(Exec::Service { run, .. }) => {
            format!("exec, runs {}{}", program(run), user(resource))
        }
        ResourceKind::Exec(Exec::Commands { start, .. }) => {
            format!("exec, started by {}{}", program(start), user(resource))
        }
    }
}

fn user(resource: &Resource) -> String {
    let user = resource.execution.user.as_ref();
    user.map_or_else(String::new, |user| format!(" as {user}"))
}

/// Returns only the program of a command: arguments may be secret, too.
fn program(command: &[String]) -> &str {
    command.first().map_or("", String::as_str)
}

fn constraints(out: &mut String, config: &Config) -> fmt::Result {
    let name = |group: GroupIndex| config.groups.get(group).map_or("", |group| &group.name);
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

/// Adds the health checks, the load measurement and the placement.
fn vitals(out: &mut String, config: &Config) -> fmt::Result {
    for check in &config.health {
        writeln!(
            out,
            "  health   {}: {}, every {} for up to {}, fails after {}, well after {}, {}{}",
            check.name,
            looked_at(&check.kind),
            Show(check.interval),
            Show(check.timeout),
            check.fall,
            check.rise,
            check.meaning,
            check.if_set(config)
        )?;
    }
    let load = &config.load;
    let of = match &load.source {
        LoadSource::Cgroup(directory) => format!(" {}", directory.display()),
        LoadSource::Command(command) => format!(" {}", program(command)),
        LoadSource::Host | LoadSource::RunQueue => String::new(),
    };
    writeln!(
        out,
        "  load     {}{of}, every {}, half-life {}",
        load.source.name(),
        Show(load.interval),
        Show(load.half_life)
    )?;
    if let Some(address) = load.agent_check {
        writeln!(out, "  weights  for HAProxy's agent checks on {address}")?;
    }
    if let Some(address) = config.metrics {
        writeln!(out, "  metrics  http://{address}/metrics")?;
    }
    let room = amounts(", this node has ", config.capacities(config.local()));
    let Policy {
        strategy,
        degraded_points,
        rebalance,
    } = &config.placement;
    writeln!(
        out,
        "  placement {strategy}, a degraded check costs {degraded_points} points{room}"
    )?;
    if let Some(rebalance) = rebalance {
        let moves = config.groups.iter().filter(|group| group.rebalance).count();
        writeln!(
            out,
            "  rebalance from {} per mille for {} to nodes with up to {}, at most every {}, \
             {moves} of {} groups",
            rebalance.high,
            Show(rebalance.hold),
            rebalance.low,
            Show(rebalance.cooldown),
            config.groups.len()
        )?;
    }
    Ok(())
}

fn looked_at(kind: &HealthKind) -> String {
    let what = match kind {
        HealthKind::Exec(command) => program(command).to_owned(),
        HealthKind::Tcp(address) => address.to_string(),
        // The query after the path may be secret.
        HealthKind::Http(target) => {
            let path = target.path.split('?').next().unwrap_or_default();
            format!("http://{}{path}", target.host)
        }
        HealthKind::Process(ProcessName::PidFile(file)) => file.display().to_string(),
        HealthKind::Process(ProcessName::Name(name)) => name.clone(),
        HealthKind::Process(ProcessName::Unit(unit)) => unit.clone(),
        HealthKind::Disk(path) => path.display().to_string(),
        HealthKind::Interface(interface) => interface.clone(),
    };
    format!("{} {what}", kind.name())
}

/// Formats `cpu 4, memory 16` after `lead`; empty without amounts.
fn amounts<'a>(lead: &str, amounts: impl Iterator<Item = (&'a str, u32)>) -> String {
    let amounts: Vec<_> = amounts
        .map(|(kind, amount)| format!("{kind} {amount}"))
        .collect();
    if amounts.is_empty() {
        String::new()
    } else {
        format!("{lead}{}", amounts.join(", "))
    }
}

fn maintenance(is: bool) -> &'static str {
    if is { ", in maintenance" } else { "" }
}

/// Lists the names of `nodes`, or of the first few.
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
