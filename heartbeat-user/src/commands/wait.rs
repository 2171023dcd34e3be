//! `heartbeat wait`: waits until the cluster, by the local agent's view, meets an operator's
//! conditions.
//!
//! Prints nothing on success, for use in scripts. On a terminal it shows the unmet conditions.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::names;
use crate::control::{
    client::Client,
    protocol::{Group, Node, Request, Response, Status},
};

/// Interval of the polls.
const POLL: Duration = Duration::from_millis(100);

/// The conditions to wait for: all given ones together.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("condition").required(true).multiple(true)))]
pub struct Wait {
    /// Wait until all resources of this group run
    #[arg(group = "condition", add = ArgValueCandidates::new(names::groups))]
    group: Option<String>,
    /// Wait until the group runs on this node
    #[arg(
        long = "on",
        value_name = "NODE",
        requires = "group",
        add = ArgValueCandidates::new(names::nodes)
    )]
    on: Option<String>,
    /// Wait until N nodes vote: they answer, do not abstain, and have granted this node's leases
    #[arg(long, value_name = "N", group = "condition")]
    votes: Option<usize>,
    /// Wait until a majority of the nodes answers
    #[arg(long, group = "condition")]
    quorum: bool,
    /// Wait until all nodes are online, vote and have the same configuration, and all enabled
    /// groups run
    #[arg(long, group = "condition")]
    stable: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    timeout: f64,
}

impl Wait {
    /// Polls the agent at `socket`. Fails at the timeout with the unmet conditions.
    pub fn run(&self, socket: &Path) -> Result<()> {
        let began = Instant::now();
        let patience = patience(self.timeout);
        let progress = stderr().is_terminal();
        let result = loop {
            let missing = match status(socket)? {
                Some(status) => self.missing(&status)?,
                None => vec!["no agent runs here".to_owned()],
            };
            if missing.is_empty() {
                break Ok(());
            }
            let missing = missing.join("; ");
            if began.elapsed() >= patience {
                break Err(missing);
            }
            if progress {
                // A failure to show progress does not matter.
                let _ = write!(stderr(), "\r\x1b[Kwaiting: {missing}");
            }
            std::thread::sleep(POLL.min(patience.saturating_sub(began.elapsed())));
        };
        if progress {
            let _ = write!(stderr(), "\r\x1b[K");
        }
        match result {
            Ok(()) => Ok(()),
            Err(missing) => bail!("not within {} s: {missing}", self.timeout),
        }
    }

    /// Returns the unmet conditions.
    fn missing(&self, status: &Status) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        if self.quorum || self.stable {
            missing.extend(no_quorum(status));
        }
        if let Some(wanted) = self.votes {
            missing.extend(too_few_votes(status, wanted)?);
        }
        if self.stable {
            missing.extend(unstable(status));
        }
        if let Some(group) = &self.group {
            missing.extend(not_running(status, group, self.on.as_deref())?);
        }
        Ok(missing)
    }
}

/// Returns the time limit of `--timeout`, at most some decades. NaN means zero.
pub(super) fn patience(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).unwrap_or_default()
}

/// Returns the status; `None` if no agent runs.
fn status(socket: &Path) -> Result<Option<Status>> {
    let Some(mut client) = Client::find(socket)? else {
        return Ok(None);
    };
    match client.ask(&Request::Status, Duration::ZERO)? {
        Response::Status(status) => Ok(Some(*status)),
        other => bail!("unexpected answer from the agent: {other:?}"),
    }
}

/// Why no majority of the nodes is alive, if none is.
pub(super) fn no_quorum(status: &Status) -> Option<String> {
    let quorum = &status.quorum;
    (!quorum.quorate).then(|| {
        format!(
            "no quorum ({} of {} nodes alive, {} needed)",
            quorum.alive, quorum.configured, quorum.needed
        )
    })
}

/// Whether the node's kernel answers, so that its acceptor can vote.
fn answers(node: &Node) -> bool {
    !matches!(node.state.as_str(), "down" | "unknown")
}

/// Returns the reason why the node does not vote, if it does not.
fn no_vote(node: &Node) -> Option<String> {
    match &node.abstains {
        _ if !answers(node) => Some(format!("{} is {}", node.name, node.state)),
        Some(abstention) => Some(format!("{} {abstention}", node.name)),
        None => None,
    }
}

fn too_few_votes(status: &Status, wanted: usize) -> Result<Vec<String>> {
    let nodes = &status.nodes;
    ensure!(
        wanted <= nodes.len(),
        "there are only {} nodes that could vote",
        nodes.len()
    );
    let without: Vec<String> = nodes.iter().filter_map(no_vote).collect();
    if nodes.len() - without.len() < wanted {
        return Ok(without);
    }
    let served = status.groups.iter().filter_map(|group| {
        let votes = group.votes.as_ref()?;
        (votes.granted < wanted)
            .then(|| format!("{} has {} of {} votes", group.name, votes.granted, votes.of))
    });
    Ok(served.collect())
}

fn unstable(status: &Status) -> Vec<String> {
    let nodes = status.nodes.iter();
    let missing = nodes.filter_map(|node| unsettled(node).or_else(|| differs(node, status)));
    let groups = status.groups.iter();
    missing.chain(groups.filter_map(idle)).collect()
}

/// Returns the problems of the cluster while the nodes reload one after the other. Different
/// configurations are none, and neither are problems of `absent` nodes. A group that some node
/// lacks may wait for that node; after the `last` node only for absent ones.
pub(super) fn troubles(status: &Status, absent: &[String], last: bool) -> Vec<String> {
    let waits = |group: &&Group| {
        let may = |node: &String| !last || absent.contains(node);
        !group.lacking.is_empty() && group.lacking.iter().all(may)
    };
    let nodes = status.nodes.iter();
    let nodes = nodes.filter(|node| !absent.contains(&node.name));
    let groups = status.groups.iter().filter(|group| !waits(group));
    nodes
        .filter_map(unsettled)
        .chain(groups.filter_map(idle))
        .collect()
}

/// Why a group that is to run does not.
pub(super) fn idle(group: &Group) -> Option<String> {
    let name = &group.name;
    match (&group.blocked, group.owner.as_deref()) {
        _ if group.stopped => None,
        (Some(node), _) => Some(format!("{name} is blocked on {node}")),
        (None, Some(_)) if group.running => None,
        (None, Some(owner)) => Some(format!("{name} does not run on {owner} yet")),
        (None, None) => Some(format!("{name} runs nowhere")),
    }
}

/// Returns what keeps a node from being stable.
pub(super) fn unsettled(node: &Node) -> Option<String> {
    let name = &node.name;
    let settled =
        node.witness || matches!(node.agent.as_str(), "active" | "standby" | "maintenance");
    match node.state.as_str() {
        "up" if !settled => Some(format!("{name} is {}", node.agent)),
        "up" => no_vote(node),
        state => Some(format!("{name} is {state}")),
    }
}

/// Returns whether the configuration of a node is another one than that of this node.
pub(super) fn differs(node: &Node, status: &Status) -> Option<String> {
    let differs = node.config != 0 && node.config != status.config && !node.witness;
    differs.then(|| format!("{} has another configuration", node.name))
}

fn not_running(status: &Status, name: &str, on: Option<&str>) -> Result<Option<String>> {
    let Some(group) = status.groups.iter().find(|group| group.name == name) else {
        let known: Vec<&str> = status.groups.iter().map(|group| &*group.name).collect();
        bail!(
            "no group is called `{name}`; there are {}",
            known.join(", ")
        );
    };
    if let Some(on) = on {
        let known: Vec<&str> = status.nodes.iter().map(|node| &*node.name).collect();
        ensure!(
            known.contains(&on),
            "no node is called `{on}`; there are {}",
            known.join(", ")
        );
    }
    let owner = group.owner.as_deref();
    Ok(match (owner, on) {
        (None, _) => Some(format!("{name} runs nowhere")),
        (Some(owner), Some(on)) if owner != on => Some(format!("{name} is on {owner}")),
        (Some(owner), _) if !group.running => Some(format!("{name} does not run on {owner} yet")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::{Value, json};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        wait: Wait,
    }

    #[test]
    fn timeout_of_any_number_is_a_time() {
        for (seconds, expected) in [
            (1.5, Duration::from_millis(1_500)),
            (-1.0, Duration::ZERO),
            (f64::NAN, Duration::ZERO),
            (f64::INFINITY, Duration::from_secs(1_000_000_000)),
        ] {
            assert_eq!(patience(seconds), expected, "{seconds}");
        }
    }

    fn parse(words: &str) -> Result<Wait, clap::Error> {
        let words = words.split(' ').filter(|word| !word.is_empty());
        Line::try_parse_from(std::iter::once("wait").chain(words)).map(|line| line.wait)
    }

    fn node(name: &str, id: u16, changes: &Value) -> Value {
        let mut node = json!({
            "name": name, "id": id, "local": id == 1, "state": "up", "agent": "active", "config": 7,
            "links": [],
        });
        if let (Some(node), Some(changes)) = (node.as_object_mut(), changes.as_object()) {
            node.extend(changes.clone());
        }
        node
    }

    /// Nodes a, b and c, and the group `web` on a with all votes. `c` and `web` change that.
    fn status(c: &Value, web: &Value) -> Status {
        let mut group = json!({
            "name": "web", "id": 9, "owner": "a", "running": true, "maintenance": false,
            "stopped": false, "barred": [], "resources": [],
            "votes": {"granted": 3, "needed": 2, "of": 3},
        });
        if let (Some(group), Some(changes)) = (group.as_object_mut(), web.as_object()) {
            group.extend(changes.clone());
        }
        let none = json!({});
        let status = json!({
            "version": "1", "cluster": "x", "instance": "default", "node": "a", "pid": 1, "at_ns": 0,
            "uptime_ns": 0, "interval_ns": 1, "timeout_ns": 1, "state": "active", "config": 7,
            "quorum": {"quorate": c["quorate"] != false, "alive": 2, "needed": 2, "configured": 3},
            "pulse": {
                "realtime_priority": 0, "memory_locked": true, "ticks": 0, "missed_ticks": 0,
                "max_lateness_ns": 0, "local_stall": false, "local_stall_count": 0, "send_errors": 0,
            },
            "nodes": [node("a", 1, &none), node("b", 2, &none), node("c", 3, c)],
            "vips": [], "groups": [group], "counters": {},
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn unmet_conditions_are_named() {
        let (none, down) = (json!({}), json!({"state": "down"}));
        let abstains = json!({"abstains": {"for_ns": 800_000_000, "at_most": false}});
        let elsewhere = json!({"owner": "b", "votes": null});
        for (line, c, web, expected) in [
            ("--quorum", &none, &none, ""),
            (
                "--quorum",
                &json!({"quorate": false}),
                &none,
                "no quorum (2 of 3 nodes alive, 2 needed)",
            ),
            ("--votes 3", &none, &none, ""),
            ("--votes 3", &down, &none, "c is down"),
            ("--votes 2", &down, &none, ""),
            ("--votes 3", &abstains, &none, "c abstains for 800 ms"),
            (
                "--votes 3",
                &none,
                &json!({"votes": {"granted": 2, "needed": 2, "of": 3}}),
                "web has 2 of 3 votes",
            ),
            ("--stable", &none, &none, ""),
            ("--stable", &down, &none, "c is down"),
            ("--stable", &abstains, &none, "c abstains for 800 ms"),
            (
                "--stable",
                &json!({"agent": "starting"}),
                &none,
                "c is starting",
            ),
            ("--stable", &json!({"agent": "standby"}), &none, ""),
            (
                "--stable",
                &json!({"config": 8}),
                &none,
                "c has another configuration",
            ),
            (
                "--stable",
                &json!({"witness": true, "agent": "responder", "config": 0}),
                &none,
                "",
            ),
            (
                "--stable",
                &none,
                &json!({"owner": null, "running": false}),
                "web runs nowhere",
            ),
            (
                "--stable",
                &none,
                &json!({"owner": null, "running": false, "stopped": true}),
                "",
            ),
            ("web", &none, &none, ""),
            ("web --on a", &down, &none, ""),
            ("web --on a", &none, &elsewhere, "web is on b"),
            (
                "web",
                &none,
                &json!({"running": false}),
                "web does not run on a yet",
            ),
            (
                "web --on b --votes 3",
                &down,
                &none,
                "c is down; web is on a",
            ),
        ] {
            let wait = parse(line).unwrap();
            let missing = wait.missing(&status(c, web)).unwrap().join("; ");
            assert_eq!(missing, expected, "{line} {c} {web}");
        }
    }

    #[test]
    fn impossible_condition_fails_at_once() {
        for (line, expected) in [
            ("--votes 4", "there are only 3 nodes"),
            ("wob", "no group is called `wob`; there are web"),
            ("web --on d", "no node is called `d`; there are a, b, c"),
        ] {
            let none = json!({});
            let wait = parse(line).unwrap();
            let error = wait.missing(&status(&none, &none)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        for line in ["", "--on a", "--timeout 3"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn troubles_leave_out_what_a_reload_of_all_nodes_brings_by_itself() {
        let none = json!({});
        let other = json!({"config": 8});
        let no_nodes: [String; 0] = [];
        let told = |c: &Value, web: &Value, unreached: &[String], last| {
            troubles(&status(c, web), unreached, last).join("; ")
        };
        assert_eq!(told(&other, &none, &no_nodes, true), "");
        let down = json!({"state": "down"});
        assert_eq!(told(&down, &none, &no_nodes, false), "c is down");
        assert_eq!(told(&down, &none, &["c".to_owned()], false), "");
        let lacking = json!({"owner": null, "running": false, "lacking": ["c"]});
        assert_eq!(told(&none, &lacking, &no_nodes, false), "");
        assert_eq!(told(&none, &lacking, &no_nodes, true), "web runs nowhere");
        assert_eq!(told(&none, &lacking, &["c".to_owned()], true), "");
    }
}
