//! `heartbeat simulate`: where groups would run if nodes failed, by the rules of the nodes' own
//! decisions.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use heartbeat_common::wire::NodeId;
use serde::Serialize;

use super::{count::Count, offline, output, situation::Seen, status};
use crate::{config::Config, control::protocol::Status};

/// The predicted move of a group.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Prediction {
    group: String,
    /// The present owner.
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Simulation {
    failed: Vec<String>,
    /// Number of voters that would be alive. The next field is the number for a majority.
    alive: usize,
    needed: usize,
    groups: Vec<Prediction>,
}

/// Prints the effect of a simultaneous failure of the nodes in `fail`. Changes nothing. With
/// `offline` no agent is asked: all nodes are well before the failure.
pub fn run(config: &Config, fail: &[String], json: bool, offline: bool) -> Result<()> {
    for name in fail {
        if config.node_named(name).is_none() {
            let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("no node is called `{name}`; there are {}", known.join(", "));
        }
    }
    let status = match offline {
        true => offline::status(config),
        false => status::ask(&config.socket())?,
    };
    let found = simulate(config, &status, fail);
    let text = if json {
        serde_json::to_string(&found)? + "\n"
    } else {
        render(&found)
    };
    output::print(&text).map(drop)
}

fn simulate(config: &Config, status: &Status, fail: &[String]) -> Simulation {
    let seen = Seen::new(config, status, fail);
    let name = |node: &Option<NodeId>| {
        let node = config.node((*node)?)?;
        Some(node.name.clone())
    };
    let then = seen.settle();
    let groups = config.groups.iter().zip(seen.owners.iter().zip(&then));
    Simulation {
        failed: fail.to_vec(),
        alive: seen.alive,
        needed: config.nodes.len() / 2 + 1,
        groups: groups
            .map(|(group, (from, to))| Prediction {
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
        "{failed}: {} alive, {needed} needed: {quorum} quorum",
        Count(alive, "node")
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
