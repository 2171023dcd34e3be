//! `heartbeat explain`: which nodes could run a group, in order of preference, and why. The ranking
//! is the function by which the nodes decide.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;

use super::{offline, output, situation::Seen, status};
use heartbeat_core::{
    index::GroupIndex,
    placement::{Ineligibility, Why},
};

use crate::{
    config::Config,
    control::protocol::{FailedAction, Remains, Status},
};

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Explanation {
    group: String,
    /// The node that owns the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    strategy: &'static str,
    /// The best node first; ineligible nodes come last.
    nodes: Vec<Place>,
    /// A node on which the group may still run beside its owner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remains: Vec<Remains>,
    /// Failed actions on the group's resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<FailedAction>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Place {
    node: String,
    /// Whether the node could acquire the group now.
    eligible: bool,
    /// Points of the configuration, of colocations and of failing checks; `inf` and `-inf` are
    /// 1,000,000 and -1,000,000.
    points: i32,
    /// The reasons for and against the node, in words.
    why: Vec<String>,
}

/// Prints the placement of the group `name`. With `offline` no agent is asked: all nodes are well.
pub fn run(config: &Config, name: &str, json: bool, offline: bool) -> Result<()> {
    let Some(group) = config.groups.position(|group| group.name == name) else {
        let known: Vec<_> = config
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        bail!(
            "no group is called `{name}`; there are {}",
            known.join(", ")
        );
    };
    let status = match offline {
        true => offline::status(config),
        false => status::ask(&config.socket())?,
    };
    let found = explain(config, &status, group);
    let text = if json {
        serde_json::to_string(&found)? + "\n"
    } else {
        render(&found, &status, offline)
    };
    output::print(&text).map(drop)
}

fn explain(config: &Config, status: &Status, group: GroupIndex) -> Explanation {
    let seen = Seen::new(config, status, &[]);
    let place = |ranked: heartbeat_core::placement::Ranked| {
        let node = config.node(ranked.node)?;
        // A reason that forbids the node altogether costs no points.
        let forbidden = ranked.ineligibility == Some(Ineligibility::Unhealthy);
        let counts = |why: &&Why| !(forbidden && matches!(why, Why::Failing(..)));
        let why = ranked
            .why
            .iter()
            .filter(counts)
            .map(|why| why.named(&config.utilization).to_string());
        let mut why: Vec<String> = why.collect();
        let shown = status.nodes.iter().find(|shown| shown.name == node.name);
        let complaint = shown.filter(|shown| !shown.failing.is_empty());
        why.extend(complaint.map(|shown| format!("failing: {}", shown.failing.join(", "))));
        let blocked = seen.shown(group).and_then(|shown| shown.blocked.as_ref());
        if blocked == Some(&node.name) {
            why.push("BLOCKED there: it could not be stopped, and its lease is kept".to_owned());
        }
        Some(Place {
            node: node.name.clone(),
            eligible: ranked.ineligibility.is_none(),
            points: if forbidden { 0 } else { ranked.points.points() },
            why,
        })
    };
    let mut nodes: Vec<Place> = seen.rank(group).into_iter().filter_map(place).collect();
    let silent: Vec<_> = config
        .members()
        .filter(|member| nodes.iter().all(|place| place.node != member.name))
        .map(|member| Place {
            node: member.name.clone(),
            eligible: false,
            points: config.groups[group].location(member.id).points(),
            why: vec!["down".to_owned()],
        })
        .collect();
    nodes.extend(silent);
    Explanation {
        group: config.groups[group].name.clone(),
        owner: seen.shown(group).and_then(|shown| shown.owner.clone()),
        strategy: config.placement.strategy.as_str(),
        nodes,
        remains: seen
            .shown(group)
            .map_or_else(Vec::new, |shown| shown.remains.clone()),
        failures: status
            .failures
            .iter()
            .filter(|failure| {
                let mut resources = config.groups[group].resources.iter();
                resources.any(|resource| resource.name == failure.resource)
            })
            .cloned()
            .collect(),
    }
}

fn render(found: &Explanation, status: &Status, offline: bool) -> String {
    let mut text = String::new();
    let place = match &found.owner {
        Some(owner) => format!("is on {owner}"),
        None => "runs nowhere".to_owned(),
    };
    let view = match offline {
        true => "if all nodes are well".to_owned(),
        false => format!("as node {} sees it", status.node),
    };
    let _ = writeln!(
        text,
        "Group {} {place} (strategy {}, {view})",
        found.group, found.strategy
    );
    for remains in &found.remains {
        let _ = writeln!(text, "  ! it {remains}: nothing is known to stop it there");
    }
    if !status.quorum.quorate {
        let _ = writeln!(
            text,
            "  this node has no quorum ({} of {} nodes alive, {} needed): it serves nothing, and \
             its information on other nodes may be old",
            status.quorum.alive, status.quorum.configured, status.quorum.needed
        );
    }
    for place in &found.nodes {
        let verdict = match (place.eligible, found.owner.as_ref() == Some(&place.node)) {
            (_, true) => "has it".to_owned(),
            (true, false) => "could have it".to_owned(),
            (false, false) => "CANNOT have it".to_owned(),
        };
        let mut why = place.why.join(", ");
        if why.is_empty() {
            "by its place in the group's preference".clone_into(&mut why);
        }
        let _ = writeln!(
            text,
            "  * {}: {verdict}, {} points: {why}",
            place.node, place.points
        );
    }
    for failure in &found.failures {
        let _ = writeln!(
            text,
            "  ! {} {} on {}: {}, at {}",
            failure.resource,
            failure.action,
            failure.node,
            failure.outcome,
            output::utc(failure.at_unix_ns)
        );
        for line in failure.message.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}
