//! The way to another node: why it is not up, or not whole, as far as this node can tell.
//!
//! The kernel counts each frame of a peer by the check that it fails, so the counters that grow say
//! what differs. Silence without any such frame has its cause on the way: ARP and TCP tell where.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Answers, Finding};
use crate::{
    config::Config,
    control::protocol::{Link, Node, PeerLink, Status},
};

/// The findings about the node with this name.
pub(super) fn findings(
    name: &str,
    config: &Config,
    answers: &Answers,
    neighbours: &BTreeMap<IpAddr, bool>,
) -> Vec<Finding> {
    let of = |status: &Status| status.nodes.iter().find(|node| node.name == name).cloned();
    let Some(node) = of(&answers.after) else {
        return vec![Finding::error(
            format!("node {name} is in the file, and the agent here does not know it"),
            "`heartbeat reload` applies the file",
        )];
    };
    let earlier = of(&answers.before);
    let unreached = answers.unreached.get(name);
    let mut findings = agreement(&node, &answers.after);
    let silent = matches!(node.state.as_str(), "down" | "unknown");
    if silent {
        let cause = silence(&node, earlier.as_ref(), answers, neighbours, config.port);
        findings.push(cause);
    } else {
        findings.extend(state(&node));
        let links = node.links.iter();
        let down = links.filter(|link| link.state.as_deref() == Some("down"));
        findings.extend(down.map(|link| {
            Finding::error(
                format!(
                    "link {} to node {name} is down, and others are up",
                    link.link
                ),
                format!(
                    "check cable, switch and VLAN of {} on both nodes",
                    link.interface
                ),
            )
        }));
        findings.extend(node.links.iter().filter_map(|link| loss(link, name)));
        if let Some(why) = unreached.filter(|_| !node.witness) {
            findings.push(Finding::error(
                format!(
                    "heartbeats of node {name} arrive, and its agent is not reached by TCP: {why}"
                ),
                format!(
                    "open TCP port {} between the nodes, beside UDP",
                    config.port
                ),
            ));
        }
    }
    findings
}

/// What differs between the two nodes.
fn agreement(node: &Node, status: &Status) -> Vec<Finding> {
    let name = &node.name;
    let mut findings = Vec::new();
    if node.config != 0 && node.config != status.config && !node.witness {
        findings.push(Finding::warning(
            format!("node {name} has another configuration"),
            "give both the same file, and `heartbeat reload`",
        ));
    }
    if node.same_keys == Some(false) {
        findings.push(Finding::warning(
            format!("node {name} does not accept the same keys"),
            "go on with `heartbeat keygen --rotate`, or copy the key file there",
        ));
    }
    if !node.refused_by.is_empty() {
        findings.push(Finding::error(
            format!(
                "heartbeats of node {name} are refused by {}: they are of an older incarnation",
                node.refused_by.join(", ")
            ),
            format!("set the clock of node {name}, and restart its agent"),
        ));
    }
    findings
}

/// What is wrong with a node whose kernel answers.
fn state(node: &Node) -> Option<Finding> {
    let name = &node.name;
    let (what, remedy) = match node.state.as_str() {
        "agent-stalled" => (
            "its kernel answers, and its agent does not tick",
            format!("start or restart the agent on node {name}, and see its log"),
        ),
        "unhealthy" => (
            "a fatal health check fails there",
            format!("checks that fail: {}", node.failing.join(", ")),
        ),
        _ => return None,
    };
    Some(Finding::error(
        format!("node {name} is {}: {what}", node.state),
        remedy,
    ))
}

/// A cause, and what to do about it.
type Cause = (String, String);

/// The counters of frames that name no node of this cluster, so they may be those of another host:
/// what each means, and what to do.
const STRANGE_FRAMES: [(&str, &str, &str); 4] = [
    (
        "drop_foreign_cluster",
        "heartbeats of another cluster arrive",
        "compare `name` and `id` in [cluster] on both nodes",
    ),
    (
        "pass_unknown_version",
        "heartbeats of another wire version arrive",
        "compare `heartbeat --version` on both nodes",
    ),
    (
        "drop_unknown_peer",
        "heartbeats from an address that no node has arrive",
        "compare `addresses` in [[node]] with `ip address` there",
    ),
    (
        "drop_wrong_node",
        "heartbeats for another node arrive",
        "compare `id` and `addresses` in [[node]] on both nodes",
    ),
];

/// The cause of the silence of a node.
fn silence(
    node: &Node,
    earlier: Option<&Node>,
    answers: &Answers,
    neighbours: &BTreeMap<IpAddr, bool>,
    port: u16,
) -> Finding {
    let cause = own_frames(node, earlier, port);
    let cause = cause.or_else(|| strange_frames(answers));
    let cause = cause.or_else(|| unknown_neighbour(node, neighbours));
    let (what, remedy) = cause.unwrap_or_else(|| no_frames(node, answers, port));
    Finding::error(
        format!("node {} is {}: {what}", node.name, node.state),
        remedy,
    )
}

/// The cause by the frames from the node's address that arrived between the two looks.
fn own_frames(node: &Node, earlier: Option<&Node>, port: u16) -> Option<Cause> {
    let grown = |counter: fn(&PeerLink) -> u64| {
        let sum = |node: &Node| -> u64 {
            let links = node.links.iter().filter_map(|link| link.peer.as_ref());
            links.map(counter).sum()
        };
        sum(node) > earlier.map_or(0, sum)
    };
    let cause = if grown(|link| link.unknown_keys) {
        (
            "it sends with a key that this node does not have",
            "copy the key file from one node to the other, and `heartbeat reload`".to_owned(),
        )
    } else if grown(|link| link.bad_tags) {
        (
            "its heartbeats have bad tags",
            "the keys have one id and differ: copy the key file from one node to the other; if \
             they are the same, another host forges heartbeats"
                .to_owned(),
        )
    } else if grown(|link| link.answered) {
        (
            "its probes arrive and are answered, and no reply to the probes of this node comes",
            format!(
                "something on the way back drops UDP port {port}: a firewall, or a veth whose \
                 other end runs no XDP program"
            ),
        )
    } else {
        return None;
    };
    Some((cause.0.to_owned(), cause.1))
}

/// The cause by other frames that arrived between the two looks.
fn strange_frames(answers: &Answers) -> Option<Cause> {
    let count = |status: &Status, name: &str| status.counters.get(name).copied().unwrap_or(0);
    let mut all = STRANGE_FRAMES.into_iter();
    let (name, what, remedy) =
        all.find(|(name, ..)| count(&answers.after, name) > count(&answers.before, name))?;
    Some((
        what.to_owned(),
        format!("{remedy} (the counter {name} grows)"),
    ))
}

/// The cause if no address of the node answers ARP.
fn unknown_neighbour(node: &Node, neighbours: &BTreeMap<IpAddr, bool>) -> Option<Cause> {
    let asked = node.links.iter().filter_map(|link| {
        let address: IpAddr = link.address.parse().ok()?;
        Some((address, *neighbours.get(&address)?))
    });
    let asked: Vec<(IpAddr, bool)> = asked.collect();
    let (address, _) = asked.first()?;
    asked.iter().all(|(_, answered)| !answered).then(|| {
        (
            format!("no host answers ARP for {address}"),
            "the host is off, or in another network or VLAN, or its interface is down".to_owned(),
        )
    })
}

/// The cause if nothing of the node arrives, by whether its agent answers.
fn no_frames(node: &Node, answers: &Answers, port: u16) -> Cause {
    match answers.unreached.get(&node.name) {
        None => (
            "its agent answers by TCP, and no heartbeat of it arrives".to_owned(),
            format!(
                "open UDP port {port} between the nodes; on a veth the other end must run an XDP \
                 program"
            ),
        ),
        Some(why) => (
            "no heartbeat of it arrives".to_owned(),
            format!(
                "see whether its host and its agent run, compare cluster name, port and key, and \
                 open UDP and TCP port {port} between the nodes\n  {why}"
            ),
        ),
    }
}

fn loss(link: &Link, name: &str) -> Option<Finding> {
    let peer = link.peer.as_ref()?;
    let lost = peer.loss.filter(|lost| *lost >= 10)?;
    Some(Finding::warning(
        format!(
            "link {} to node {name} loses {}.{} % of the probes",
            link.link,
            lost / 10,
            lost % 10
        ),
        "a busy or faulty network: counts of errors and drops are in `ip -s link` and in the switch",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::doctor::{Gravity, agent::tests::status};

    const CONFIG: &str = r#"
[cluster]
name = "x"
[[link]]
interface = "eth0"
[[node]]
name = "a"
id = 1
addresses = ["10.0.0.1"]
[[node]]
name = "b"
id = 2
addresses = ["10.0.0.2"]
[[node]]
name = "c"
id = 3
addresses = ["10.0.0.3"]
"#;

    fn config() -> Config {
        Config::parse(CONFIG, std::path::Path::new("x.toml"), Some("a"), "a").unwrap()
    }

    fn answers(before: &[(&str, Value)], after: &[(&str, Value)], tcp: bool) -> Answers {
        let refused = ("b".to_owned(), "connection refused".to_owned());
        Answers {
            before: status(before),
            after: status(after),
            unreached: (!tcp).then_some(refused).into_iter().collect(),
        }
    }

    fn found(answers: &Answers, arp: &[(&str, bool)]) -> Vec<Finding> {
        let arp = arp.iter();
        let arp = arp.map(|(address, answered)| (address.parse().unwrap(), *answered));
        findings("b", &config(), answers, &arp.collect())
    }

    fn only(answers: &Answers, arp: &[(&str, bool)]) -> String {
        let found = found(answers, arp);
        let [finding] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(!finding.remedy.is_empty(), "{finding:?}");
        format!("{}\n{}", finding.what, finding.remedy)
    }

    #[test]
    fn node_that_is_well_has_no_finding() {
        assert_eq!(found(&answers(&[], &[], true), &[("10.0.0.2", true)]), []);
    }

    #[test]
    fn silent_node_has_the_cause_that_the_counters_of_this_second_show() {
        let down = ("/nodes/1/state", json!("down"));
        let peer = |field: &str, count: u64| {
            let mut link = json!({
                "rtt_ns": 0, "probes": 100, "replies": 0, "late_replies": 0, "answered": 0,
                "deadlines": 0,
            });
            link[field] = json!(count);
            ("/nodes/1/links/0/peer", link)
        };
        for (field, words) in [
            ("unknown_keys", "a key that this node does not have"),
            ("bad_tags", "bad tags"),
            ("answered", "no reply to the probes of this node comes"),
        ] {
            let now = answers(&[peer(field, 5)], &[down.clone(), peer(field, 9)], false);
            assert!(only(&now, &[]).contains(words), "{field}");
            // A counter that no longer grows is no cause.
            let past = answers(&[peer(field, 5)], &[down.clone(), peer(field, 5)], false);
            assert!(!only(&past, &[]).contains(words), "{field}");
        }
        for (counter, words) in [
            ("drop_foreign_cluster", "another cluster"),
            ("pass_unknown_version", "another wire version"),
            ("drop_unknown_peer", "an address that no node has"),
            ("drop_wrong_node", "for another node"),
        ] {
            let grown = json!({counter: 3});
            let quiet = peer("answered", 0);
            let now = answers(
                std::slice::from_ref(&quiet),
                &[down.clone(), quiet.clone(), ("/counters", grown)],
                false,
            );
            assert!(only(&now, &[]).contains(words), "{counter}");
        }
    }

    #[test]
    fn silence_without_a_frame_is_told_by_arp_and_tcp() {
        let quiet = json!({
            "rtt_ns": 0, "probes": 100, "replies": 0, "late_replies": 0, "answered": 0,
            "deadlines": 0,
        });
        let down = [
            ("/nodes/1/state", json!("unknown")),
            ("/nodes/1/links/0/peer", quiet),
        ];
        let gone = only(&answers(&down, &down, false), &[("10.0.0.2", false)]);
        assert!(gone.contains("no host answers ARP for 10.0.0.2"), "{gone}");
        let port = only(&answers(&down, &down, true), &[("10.0.0.2", true)]);
        assert!(port.contains("its agent answers by TCP"), "{port}");
        assert!(port.contains("UDP port 694"), "{port}");
        let dark = only(&answers(&down, &down, false), &[("10.0.0.2", true)]);
        assert!(dark.contains("connection refused"), "{dark}");
    }

    #[test]
    fn node_that_answers_may_still_have_faults() {
        for (changes, tcp, words) in [
            (
                vec![("/nodes/1/state", json!("agent-stalled"))],
                true,
                "does not tick",
            ),
            (
                vec![("/nodes/1/config", json!(8))],
                true,
                "another configuration",
            ),
            (
                vec![("/nodes/1/same_keys", json!(false))],
                true,
                "the same keys",
            ),
            (
                vec![("/nodes/1/refused_by", json!(["c"]))],
                true,
                "refused by c",
            ),
            (
                vec![("/nodes/1/links/0/state", json!("down"))],
                true,
                "link 0 to node b is down",
            ),
            (
                vec![("/nodes/1/links/0/peer/loss", json!(25))],
                true,
                "loses 2.5 %",
            ),
            (vec![], false, "not reached by TCP: connection refused"),
        ] {
            let said = only(&answers(&[], &changes, tcp), &[]);
            assert!(said.contains(words), "{said}");
        }
        let witness = [("/nodes/1/witness", json!(true))];
        assert_eq!(found(&answers(&[], &witness, false), &[]), []);
    }

    #[test]
    fn node_that_the_agent_does_not_know_needs_a_reload() {
        let here = answers(&[], &[], true);
        let found = findings("c", &config(), &here, &BTreeMap::new());
        assert!(found[0].remedy.contains("reload"), "{found:?}");
        assert_eq!(found[0].gravity, Gravity::Error);
    }
}
