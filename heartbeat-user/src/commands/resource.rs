//! `heartbeat resource list` and `show`: the resources by the local agent's status.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result};

use super::{output, status};
use crate::control::protocol::{FailedAction, Group, Resource, Status};

/// Prints one line per resource.
pub fn list(socket: &Path, json: bool) -> Result<()> {
    let status = status::ask(socket)?;
    let text = if json {
        serde_json::to_string(&status.groups)? + "\n"
    } else {
        table(&status)
    };
    output::print(&text).map(drop)
}

fn table(status: &Status) -> String {
    let rows: Vec<[&str; 5]> = status
        .groups
        .iter()
        .flat_map(|group| group.resources.iter().map(move |one| row(group, one)))
        .collect();
    let heads = ["RESOURCE", "GROUP", "TYPE", "STATE", "NODE"];
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(&rows) {
        for (column, cell) in row.iter().enumerate() {
            let all = std::iter::once(&heads).chain(&rows);
            let width = all.map(|row| row[column].len()).max().unwrap_or(0);
            let last = column + 1 == row.len();
            let _ = match last {
                true => writeln!(text, "{cell}"),
                false => write!(text, "{cell:<width$}  "),
            };
        }
    }
    text
}

fn row<'a>(group: &'a Group, resource: &'a Resource) -> [&'a str; 5] {
    let node = resource.node.as_deref().unwrap_or("-");
    [
        &resource.name,
        &group.name,
        &resource.kind,
        &resource.state,
        node,
    ]
}

/// Prints the details of one resource.
pub fn show(socket: &Path, name: &str, json: bool) -> Result<()> {
    let status = status::ask(socket)?;
    let all = || {
        let groups = status.groups.iter();
        groups.flat_map(|group| {
            group
                .resources
                .iter()
                .map(move |resource| (group, resource))
        })
    };
    let found = all().find(|(_, resource)| resource.name == name);
    let (group, resource) = found.with_context(|| {
        let known: Vec<_> = all().map(|(_, resource)| resource.name.as_str()).collect();
        format!(
            "no resource is called `{name}`; there are {}",
            known.join(", ")
        )
    })?;
    let failures: Vec<_> = status
        .failures
        .iter()
        .filter(|failure| failure.resource == name)
        .collect();
    let text = if json {
        let value = serde_json::json!({
            "group": group.name, "resource": resource, "failures": failures,
        });
        value.to_string() + "\n"
    } else {
        describe(group, resource, &failures)
    };
    output::print(&text).map(drop)
}

fn describe(group: &Group, resource: &Resource, failures: &[&FailedAction]) -> String {
    let mut text = String::new();
    let mut item = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<10} {value}", format!("{name}:"));
    };
    item("Resource", &resource.name);
    item("Group", &group.name);
    item("Type", &resource.kind);
    let node = resource.node.as_deref();
    let at = node.map_or_else(String::new, |node| format!(" on {node}"));
    item("State", &format!("{}{at}", resource.state));
    if resource.stopped || group.stopped {
        item("Stopped", "by an operator; `heartbeat resource start`");
    }
    if group.maintenance {
        item("Maintenance", "on: not started, stopped or monitored");
    }
    item("Failures", &resource.failures.to_string());
    for failure in failures {
        let at = output::utc(failure.at_unix_ns);
        let what = format!(
            "{} on {}: {}, at {at}",
            failure.action, failure.node, failure.outcome
        );
        item("Failed", &what);
        for line in failure.message.lines() {
            item("", line);
        }
    }
    text
}
