//! The agent here, by its status.

use super::Finding;
use crate::{
    commands::status_check,
    control::protocol::{Link, Status},
};

pub(super) fn findings(status: &Status) -> Vec<Finding> {
    let critical = status_check::critical(status).into_iter();
    let critical = critical.map(|what| Finding::error(what, "see `heartbeat status`"));
    let mut findings: Vec<Finding> = critical.collect();
    findings.extend(groups(status));
    findings.extend(pulse(status));
    findings.extend(protection(status));
    let own = status.nodes.iter().filter(|node| node.local);
    findings.extend(own.flat_map(|node| &node.links).flat_map(link));
    findings
}

fn groups(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.maintenance {
        findings.push(Finding::warning(
            "the cluster is in maintenance: no resource is started, stopped or monitored",
            "`heartbeat maintenance off` ends it",
        ));
    }
    for group in &status.groups {
        let name = &group.name;
        findings.extend(group.barred.iter().map(|node| {
            Finding::warning(
                format!("group {name} is barred from node {node}: its resources failed there"),
                format!("correct the cause, then `heartbeat cleanup {name}`"),
            )
        }));
        findings.extend(group.remains.iter().map(|remains| {
            Finding::warning(
                format!("group {name} {remains}"),
                format!(
                    "start the agent on node {}, or stop the resources there by hand",
                    remains.node
                ),
            )
        }));
        let votes = group.votes.as_ref();
        findings.extend(votes.filter(|votes| votes.granted < votes.of).map(|votes| {
            let (granted, of) = (votes.granted, votes.of);
            Finding::warning(
                format!("lease of group {name} has {granted} of {of} votes"),
                "a node is down, was loaded a moment ago, or has a shorter max_lease",
            )
        }));
    }
    let failures = status.failures.iter().map(|failed| {
        Finding::warning(
            format!(
                "{} of resource {} failed on node {}: {}",
                failed.action, failed.resource, failed.node, failed.outcome
            ),
            format!(
                "`heartbeat resource show {0}` has its last output; `heartbeat cleanup {0}` \
                 clears it",
                failed.resource
            ),
        )
    });
    findings.extend(failures);
    findings
}

fn pulse(status: &Status) -> Vec<Finding> {
    let pulse = &status.pulse;
    let mut findings = Vec::new();
    if pulse.scheduling != "deadline" {
        let why = pulse.scheduling_refused.as_deref();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        findings.push(Finding::warning(
            format!(
                "pulse is scheduled as \"{}\" and not as a deadline task{why}",
                pulse.scheduling
            ),
            "give the agent CAP_SYS_NICE, and no cpuset of its own: docs/operate/privileges.md",
        ));
    }
    if !pulse.memory_locked {
        findings.push(Finding::warning(
            "memory of the agent is not locked, so a page fault can delay the pulse",
            "raise the limit: LimitMEMLOCK=infinity in the unit",
        ));
    }
    if pulse.local_stalls.local_stall {
        findings.push(Finding::error(
            "this node is stalled: its pulse ran late",
            "see the events `deaf` for the cause: steal time, real-time tasks, a full CPU",
        ));
    } else if pulse.local_stalls.local_stall_count > 0 {
        findings.push(Finding::warning(
            format!(
                "this node had {} local stalls since its agent started",
                pulse.local_stalls.local_stall_count
            ),
            "`heartbeat events` has their causes; longer times make them harmless: \
             docs/operate/timing.md",
        ));
    }
    if let Some(starved) = &pulse.starved {
        findings.push(Finding::warning(
            format!(
                "agent got no CPU for {} ms: {}",
                starved.pause_ns / 1_000_000,
                starved.reason
            ),
            "move the named tasks to other CPUs, or give them less time",
        ));
    }
    findings
}

fn protection(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(guard) = status.socket_guard.as_ref().filter(|guard| !guard.attached) {
        let why = guard.problem.as_deref().unwrap_or("not attached");
        findings.push(Finding::warning(
            format!("no guard at the sockets: {why}"),
            "see docs/operate/guard.md",
        ));
    }
    let missing = status.confinement.iter().flat_map(|of| &of.missing);
    findings.extend(missing.map(|missing| {
        Finding::warning(
            format!("agent is not confined by {missing}"),
            "it works without; a newer kernel may have it: docs/operate/privileges.md",
        )
    }));
    if status.decisions_lost {
        findings.push(Finding::error(
            "operators' decisions of this node were damaged, so it started on standby",
            "compare with another node, then `heartbeat online`",
        ));
    }
    if status.witness_commands > 0 {
        findings.push(Finding::error(
            format!(
                "{} commands of witnesses were refused",
                status.witness_commands
            ),
            "a witness sends none by itself: look for an intruder on that host",
        ));
    }
    findings
}

fn link(link: &Link) -> Vec<Finding> {
    let (number, interface) = (link.link, &link.interface);
    let mut findings = Vec::new();
    if let Some(problem) = &link.problem {
        findings.push(Finding::error(
            format!("link {number} on {interface} cannot be used: {problem}"),
            "",
        ));
    }
    if let Some(outage) = &link.own_outage {
        findings.push(Finding::error(
            format!("link {number} on {interface}: {}", outage.signal),
            "check the cable, the switch port, and `ip link`",
        ));
    }
    if let Some(why) = &link.xdp_fallback {
        findings.push(Finding::warning(
            format!("link {number} on {interface} uses skb XDP: {why}"),
            "answers are correct and slower: docs/operate/interfaces.md",
        ));
    }
    findings
}

#[cfg(test)]
pub(in crate::commands::doctor) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::doctor::Gravity;

    /// A status without faults; `changes` replace fields by their JSON pointers.
    pub(in crate::commands::doctor) fn status(changes: &[(&str, Value)]) -> Status {
        let own_link = json!({
            "link": 0, "interface": "eth0", "address": "10.0.0.1", "xdp_mode": "native",
        });
        let link = json!({
            "link": 0, "interface": "eth0", "address": "10.0.0.2", "state": "up",
            "peer": {
                "rtt_ns": 1, "last_reply_age_ns": 1, "probes": 100, "replies": 100,
                "late_replies": 0, "answered": 100, "deadlines": 0,
            },
        });
        let node = |name: &str, id: u16, link: Value| {
            json!({
                "name": name, "id": id, "local": id == 1, "state": "up", "agent": "active",
                "config": 7, "links": [link],
            })
        };
        let pulse = json!({
            "scheduling": "deadline", "realtime_priority": 0, "memory_locked": true,
            "ticks": 0, "missed_ticks": 0, "max_lateness_ns": 0, "send_errors": 0,
        });
        let group = json!({
            "name": "web", "id": 9, "owner": "a", "running": true, "maintenance": false,
            "stopped": false, "barred": [], "resources": [],
            "votes": {"granted": 3, "needed": 2, "of": 3},
        });
        let nodes = [node("a", 1, own_link), node("b", 2, link)];
        let mut status = json!({
            "version": "1", "cluster": "x", "instance": "default", "node": "a", "pid": 1,
            "at_ns": 0, "uptime_ns": 0, "interval_ns": 1, "timeout_ns": 1, "state": "active",
            "quorum": {"quorate": true, "alive": 2, "needed": 2, "configured": 3},
            "pulse": pulse, "config": 7, "vips": [], "counters": {}, "maintenance": false,
            "failures": [], "socket_guard": {"attached": true},
            "confinement": {"seccomp": true, "landlock": 4}, "nodes": nodes, "groups": [group],
        });
        for (pointer, value) in changes {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = status.pointer_mut(parent).unwrap();
            match parent {
                Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
                _ => parent[field] = value.clone(),
            }
        }
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn agent_without_faults_has_no_finding() {
        assert_eq!(findings(&status(&[])), []);
    }

    #[test]
    fn each_fault_of_an_agent_is_one_finding_with_a_remedy() {
        use Gravity::{Error, Warning};
        for (pointer, value, gravity, words) in [
            (
                "/pulse/scheduling",
                json!("other"),
                Warning,
                "deadline task",
            ),
            ("/pulse/memory_locked", json!(false), Warning, "not locked"),
            ("/pulse/local_stall", json!(true), Error, "stalled"),
            (
                "/pulse/local_stall_count",
                json!(3),
                Warning,
                "3 local stalls",
            ),
            (
                "/pulse/starved",
                json!({"at_ns": 1, "pause_ns": 2_000_000, "reason": "x"}),
                Warning,
                "no CPU for 2 ms: x",
            ),
            ("/maintenance", json!(true), Warning, "in maintenance"),
            ("/decisions_lost", json!(true), Error, "decisions"),
            (
                "/witness_commands",
                json!(2),
                Error,
                "2 commands of witnesses",
            ),
            (
                "/socket_guard",
                json!({"attached": false}),
                Warning,
                "no guard",
            ),
            (
                "/confinement",
                json!({"seccomp": true, "missing": ["landlock: old"]}),
                Warning,
                "landlock: old",
            ),
            (
                "/quorum",
                json!({"quorate": false, "alive": 1, "needed": 2, "configured": 3}),
                Error,
                "no quorum",
            ),
            (
                "/groups/0/barred",
                json!(["b"]),
                Warning,
                "barred from node b",
            ),
            (
                "/groups/0/votes",
                json!({"granted": 2, "needed": 2, "of": 3}),
                Warning,
                "2 of 3 votes",
            ),
            (
                "/nodes/0/links/0/xdp_fallback",
                json!("no"),
                Warning,
                "skb XDP: no",
            ),
            (
                "/nodes/0/links/0/own_outage",
                json!({"signal": "no carrier", "age_ns": 1}),
                Error,
                "link 0 on eth0: no carrier",
            ),
        ] {
            let found = findings(&status(&[(pointer, value)]));
            let [finding] = &found[..] else {
                panic!("{pointer}: {found:?}");
            };
            assert_eq!(finding.gravity, gravity, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
            assert!(!finding.remedy.is_empty(), "{finding:?}");
        }
    }
}
