//! `heartbeat status --check`: the state of the cluster as one line and an exit code, by the rules
//! of monitoring plug-ins.
//!
//! Source: Monitoring Plugins Development Guidelines, sections "Plugin Output for Nagios" and
//! "Plugin Return Codes".

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, bail};

use super::{output, wait};
use crate::control::{
    client::{Client, NoAnswer},
    protocol::{Group, Node, Request, Response, Status},
};

/// The state of a service, with the exit code of a plug-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// Prints the state by the agent at `socket`, if a configuration says where that is.
///
/// The exit code is 0 if all is well, 1 if a failure would meet a cluster that is not whole, 2 if a
/// group does not run that should, or no group could be taken over, and 3 if the state is not
/// known.
pub fn run(socket: Result<PathBuf>) -> Result<ExitCode> {
    let (level, text) = match socket.and_then(|socket| ask(&socket)) {
        Ok(Some(status)) => judge(&status),
        Ok(None) => (Level::Critical, "no agent runs here".to_owned()),
        // The agent is there, and hangs.
        Err(error) if error.is::<NoAnswer>() => (Level::Critical, format!("{error:#}")),
        Err(error) => (Level::Unknown, format!("{error:#}")),
    };
    // A plug-in prints one line.
    let text = text.replace('\n', " ");
    output::print(&format!("HEARTBEAT {level}: {text}\n"))?;
    Ok(ExitCode::from(level as u8))
}

fn ask(socket: &Path) -> Result<Option<Status>> {
    let Some(mut client) = Client::find(socket)? else {
        return Ok(None);
    };
    match client.ask(&Request::Status, Duration::ZERO)? {
        Response::Status(status) => Ok(Some(*status)),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}

/// Returns the level, and the problems with the figures behind them.
fn judge(status: &Status) -> (Level, String) {
    let (critical, warnings) = (critical(status), warnings(status));
    let level = match (critical.is_empty(), warnings.is_empty()) {
        (false, _) => Level::Critical,
        (true, false) => Level::Warning,
        (true, true) => Level::Ok,
    };
    let mut problems = critical;
    problems.extend(warnings);
    let (quorum, groups) = (&status.quorum, &status.groups);
    let running = groups.iter().filter(|group| group.running).count();
    let summary = format!(
        "{} of {} nodes alive, {running} of {} groups run",
        quorum.alive,
        quorum.configured,
        groups.len()
    );
    let text = match problems.is_empty() {
        true => summary,
        false => problems.join("; "),
    };
    // 'label'=value[unit];[warn];[critical];[minimum];[maximum]
    let figures = format!(
        "nodes={};;;0;{} groups={running};;;0;{} failures={};;;0",
        quorum.alive,
        quorum.configured,
        groups.len(),
        status.failures.len()
    );
    (level, format!("{text} | {figures}"))
}

/// The problems by which a service is not available, or would not be taken over.
pub(super) fn critical(status: &Status) -> Vec<String> {
    let groups = status.groups.iter().filter_map(wait::idle);
    wait::no_quorum(status).into_iter().chain(groups).collect()
}

/// The problems by which the next failure could be a worse one.
fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.maintenance {
        warnings.push("the cluster is in maintenance".to_owned());
    }
    for node in &status.nodes {
        warnings.extend(wait::unsettled(node));
        warnings.extend(wait::differs(node, status));
        warnings.extend(health(node));
        warnings.extend(links(node));
    }
    for group in &status.groups {
        warnings.extend(unfit(group));
    }
    if let Some(guard) = status.socket_guard.as_ref().filter(|guard| !guard.attached) {
        let why = guard.problem.as_deref().unwrap_or("not attached");
        warnings.push(format!("no guard at the sockets: {why}"));
    }
    if status.pulse.local_stalls.local_stall {
        warnings.push(format!("{} is stalled itself", status.node));
    }
    let failures = status.failures.iter();
    warnings.extend(failures.map(|failed| {
        format!(
            "{} of {} failed on {} ({})",
            failed.action, failed.resource, failed.node, failed.outcome
        )
    }));
    warnings
}

fn health(node: &Node) -> Option<String> {
    let failing = !node.failing.is_empty();
    failing.then(|| format!("checks fail on {}: {}", node.name, node.failing.join(", ")))
}

fn links(node: &Node) -> Vec<String> {
    let name = &node.name;
    let down = |link: &&crate::control::protocol::Link| {
        node.state == "up" && link.state.as_deref() == Some("down")
    };
    let links = node.links.iter();
    let peers = links
        .clone()
        .filter(down)
        .map(|link| format!("link {} to {name} is down", link.link));
    let own = links.filter_map(|link| {
        let outage = link.own_outage.as_ref().map(|outage| outage.signal.clone());
        let why = link.problem.clone().or(outage)?;
        Some(format!("link {} on {}: {why}", link.link, link.interface))
    });
    peers.chain(own).collect()
}

fn unfit(group: &Group) -> Vec<String> {
    let name = &group.name;
    let barred = group.barred.iter();
    let barred = barred.map(|node| format!("{name} is barred from {node}"));
    let remains = group.remains.iter();
    let remains = remains.map(|remains| format!("{name} {remains}"));
    let cut_off = group.cut_off.iter();
    let cut_off = cut_off.map(|node| format!("{node} does not reach the network of {name}"));
    barred.chain(cut_off).chain(remains).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The status of node a, with b and the group web on a. `changes` replace fields by their JSON
    /// pointers.
    fn status(changes: &[(&str, Value)]) -> Status {
        let mut status = json!({
            "version": "1", "cluster": "x", "instance": "default", "node": "a", "pid": 1,
            "at_ns": 0, "uptime_ns": 0, "interval_ns": 1, "timeout_ns": 1, "state": "active",
            "quorum": {"quorate": true, "alive": 3, "needed": 2, "configured": 3},
            "pulse": {
                "realtime_priority": 0, "memory_locked": true, "ticks": 0, "missed_ticks": 0,
                "max_lateness_ns": 0, "local_stall": false, "send_errors": 0,
            },
            "config": 7, "vips": [], "counters": {}, "maintenance": false, "failures": [],
            "socket_guard": {"attached": true},
            "nodes": [
                {
                    "name": "a", "id": 1, "local": true, "state": "up", "agent": "active",
                    "config": 7, "links": [{"link": 0, "interface": "eth0", "address": "::1"}],
                },
                {
                    "name": "b", "id": 2, "local": false, "state": "up", "agent": "active",
                    "config": 7, "failing": [], "links": [
                        {"link": 0, "interface": "eth0", "address": "::2", "state": "up"},
                    ],
                },
            ],
            "groups": [{
                "name": "web", "id": 9, "owner": "a", "running": true, "maintenance": false,
                "stopped": false, "barred": [], "resources": [],
            }],
        });
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            status.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn whole_cluster_is_ok_with_its_figures() {
        let (level, text) = judge(&status(&[]));
        assert_eq!(level, Level::Ok);
        assert_eq!(
            text,
            "3 of 3 nodes alive, 1 of 1 groups run | \
             nodes=3;;;0;3 groups=1;;;0;1 failures=0;;;0"
        );
    }

    #[test]
    fn each_problem_has_its_level_and_its_words() {
        let failure = json!([{
            "node": "b", "resource": "apache", "action": "monitor", "outcome": "timed out",
            "at_unix_ns": 1, "at": "", "message": "",
        }]);
        let no_quorum = json!({"quorate": false, "alive": 1, "needed": 2, "configured": 3});
        for (pointer, value, level, words) in [
            (
                "/quorum",
                no_quorum,
                Level::Critical,
                "no quorum (1 of 3 nodes alive, 2 needed)",
            ),
            (
                "/groups/0/owner",
                Value::Null,
                Level::Critical,
                "web runs nowhere",
            ),
            (
                "/groups/0/blocked",
                json!("a"),
                Level::Critical,
                "web is blocked on a",
            ),
            ("/nodes/1/state", json!("down"), Level::Warning, "b is down"),
            (
                "/nodes/1/config",
                json!(8),
                Level::Warning,
                "b has another configuration",
            ),
            (
                "/nodes/1/failing",
                json!(["disk"]),
                Level::Warning,
                "checks fail on b: disk",
            ),
            (
                "/nodes/1/links/0/state",
                json!("down"),
                Level::Warning,
                "link 0 to b is down",
            ),
            (
                "/nodes/0/links/0/own_outage",
                json!({"signal": "no carrier", "age_ns": 1}),
                Level::Warning,
                "link 0 on eth0: no carrier",
            ),
            (
                "/groups/0/barred",
                json!(["b"]),
                Level::Warning,
                "web is barred from b",
            ),
            (
                "/socket_guard",
                json!({"attached": false, "problem": "no cgroup2"}),
                Level::Warning,
                "no guard at the sockets: no cgroup2",
            ),
            (
                "/maintenance",
                json!(true),
                Level::Warning,
                "the cluster is in maintenance",
            ),
            (
                "/failures",
                failure,
                Level::Warning,
                "monitor of apache failed on b (timed out)",
            ),
        ] {
            let (found, text) = judge(&status(&[(pointer, value)]));
            assert_eq!(found, level, "{pointer}: {text}");
            assert!(
                text.starts_with(&format!("{words} | ")),
                "{pointer}: {text}"
            );
        }
    }

    #[test]
    fn gravest_problem_decides_and_comes_first() {
        let (level, text) = judge(&status(&[
            ("/nodes/1/state", json!("down")),
            ("/groups/0/owner", Value::Null),
        ]));
        assert_eq!(level, Level::Critical);
        assert!(text.starts_with("web runs nowhere; b is down | "), "{text}");
    }

    #[test]
    fn stopped_group_is_no_problem() {
        let stopped = [
            ("/groups/0/owner", Value::Null),
            ("/groups/0/stopped", json!(true)),
        ];
        assert_eq!(judge(&status(&stopped)).0, Level::Ok);
    }
}
