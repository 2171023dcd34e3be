//! `heartbeat simulate`: where groups would go if nodes failed, by the rules that the nodes decide by.

use std::{collections::HashSet, fmt::Write as _};

use anyhow::{Result, bail};
use heartbeat_common::wire::NodeId;
use heartbeat_core::placement::{Constraints, predict::Situation};
use serde::Serialize;

use super::{output, status};
use crate::{
    config::{Config, Role},
    control::protocol::Status,
    pulse,
};

/// What would become of a group.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Outlook {
    group: String,
    /// Where it is now.
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Simulation {
    failed: Vec<String>,
    /// Voters that would be left, and that a majority needs.
    alive: usize,
    needed: usize,
    groups: Vec<Outlook>,
}

/// Prints what would happen if the nodes named `fail` failed all at once. Changes nothing.
pub fn run(config: &Config, fail: &[String], json: bool) -> Result<()> {
    for name in fail {
        if config.node_named(name).is_none() {
            let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("no node is called `{name}`; there are {}", known.join(", "));
        }
    }
    let status = status::ask(&config.socket())?;
    let found = simulate(config, &status, fail);
    let text = if json {
        serde_json::to_string(&found)? + "\n"
    } else {
        render(&found)
    };
    output::print(&text).map(drop)
}

fn simulate(config: &Config, status: &Status, fail: &[String]) -> Simulation {
    let id = |name: &str| config.node_named(name).map(|node| node.id);
    let lives = |name: &str| {
        let node = status.nodes.iter().find(|node| node.name == name);
        node.is_some_and(|node| matches!(node.state.as_str(), "up" | "suspect"))
            && !fail.iter().any(|failed| failed == name)
    };
    let serves = |name: &str| {
        let node = status.nodes.iter().find(|node| node.name == name);
        node.is_some_and(|node| node.agent == "active")
    };
    let alive = config.nodes.iter().filter(|node| lives(&node.name)).count();
    let needed = config.nodes.len() / 2 + 1;
    let fit: HashSet<NodeId> = config
        .nodes
        .iter()
        .filter(|node| node.role == Role::Member && lives(&node.name) && serves(&node.name))
        .map(|node| node.id)
        .collect();
    let said = |group: usize| {
        let name = &config.groups[group].name;
        status.groups.iter().find(|said| said.name == *name)
    };
    let plans: Vec<_> = config.groups.iter().map(pulse::group_plan).collect();
    let constraints = Constraints {
        colocations: config.colocations.clone(),
        orders: config.orders.clone(),
    };
    let situation = Situation {
        plans: &plans,
        constraints: &constraints,
        fit: &|group, node| {
            let barred = said(group).is_some_and(|said| {
                let barred = said.barred.iter().chain(&said.blocked);
                said.stopped
                    || barred
                        .filter_map(|name| id(name))
                        .any(|barred| barred == node)
            });
            alive >= needed && fit.contains(&node) && !barred
        },
        // Who would go without a failure has had the time to.
        movable: &|_| false,
    };
    let owner = |group| said(group)?.owner.as_deref().and_then(id);
    let owners: Vec<_> = (0..plans.len()).map(owner).collect();
    let then = situation.settle(&owners);
    let name = |node: &Option<NodeId>| {
        let node = config.node((*node)?)?;
        Some(node.name.clone())
    };
    let groups = config.groups.iter().zip(owners.iter().zip(&then));
    Simulation {
        failed: fail.to_vec(),
        alive,
        needed,
        groups: groups
            .map(|(group, (from, to))| Outlook {
                group: group.name.clone(),
                from: name(from),
                to: name(to),
            })
            .collect(),
    }
}

fn render(found: &Simulation) -> String {
    let mut text = String::new();
    let failed = match found.failed.as_slice() {
        [] => "If nothing failed".to_owned(),
        [one] => format!("If node {one} failed"),
        many => format!("If nodes {} failed", many.join(", ")),
    };
    let Simulation { alive, needed, .. } = found;
    let quorum = if alive >= needed { "with" } else { "WITHOUT" };
    let _ = writeln!(
        text,
        "{failed}: {alive} nodes alive, {needed} needed: {quorum} quorum"
    );
    for group in &found.groups {
        let what = match (&group.from, &group.to) {
            (Some(from), Some(to)) if from == to => format!("stays on {to}"),
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            (Some(from), None) => format!("{from} -> nowhere"),
            (None, Some(to)) => format!("starts on {to}"),
            (None, None) => "runs nowhere".to_owned(),
        };
        let _ = writeln!(text, "  * {}: {what}", group.group);
    }
    text
}
