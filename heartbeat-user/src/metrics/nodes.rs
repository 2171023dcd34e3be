//! The metrics of nodes and of the quorum. Names and labels are those of ha_cluster_exporter, where
//! that has the metric.

use prometheus_client::metrics::MetricType::{Counter, Gauge, Histogram};

use super::{
    Metric,
    Source::{All, Nodes},
    samples::{ratio, seconds},
};

/// The states of a node in the status.
const STATES: [&str; 7] = [
    "unknown",
    "up",
    "suspect",
    "unhealthy",
    "draining",
    "agent-stalled",
    "down",
];

pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "nodes",
        kind: Gauge,
        labels: &["node", "type", "status"],
        help: "1 for the state that this node sees the node in, 0 for the others",
        samples: All(|snapshot, out| {
            snapshot.status.nodes.iter().try_for_each(|node| {
                let kind = if node.witness { "witness" } else { "member" };
                out.state(&[&node.name, kind], &STATES, &node.state)
            })
        }),
    },
    Metric {
        name: "node_standby",
        kind: Gauge,
        labels: &["node"],
        help: "1 while the node is on standby or gives up its groups",
        samples: Nodes(|node| Some(matches!(&*node.agent, "standby" | "draining").into())),
    },
    Metric {
        name: "member_votes",
        kind: Gauge,
        labels: &["node_id", "node", "local"],
        help: "1 while the node's acceptor can vote: it answers, and does not abstain",
        samples: All(|snapshot, out| {
            snapshot.status.nodes.iter().try_for_each(|node| {
                let answers = !matches!(&*node.state, "unknown" | "down");
                let id = node.id.to_string();
                let local = node.local.to_string();
                out.add(
                    &[&id, &node.name, &local],
                    answers && node.abstains.is_none(),
                )
            })
        }),
    },
    Metric {
        name: "quorate",
        kind: Gauge,
        labels: &[],
        help: "1 while a majority of the nodes is alive",
        samples: All(|snapshot, out| out.add(&[], snapshot.status.quorum.quorate)),
    },
    Metric {
        name: "quorum_votes",
        kind: Gauge,
        labels: &["type"],
        help: "Votes: expected_votes are those of all nodes, total_votes those of live nodes, and \
               quorum the number that makes a majority",
        samples: All(|snapshot, out| {
            let quorum = &snapshot.status.quorum;
            out.add(&["expected_votes"], quorum.configured)?;
            out.add(&["total_votes"], quorum.alive)?;
            out.add(&["quorum"], quorum.needed)
        }),
    },
    Metric {
        name: "node_groups",
        kind: Gauge,
        labels: &["node"],
        help: "Groups that the node serves, by its own heartbeats",
        samples: Nodes(|node| Some(u64::from(node.groups).into())),
    },
    Metric {
        name: "node_load_ratio",
        kind: Gauge,
        labels: &["node"],
        help: "Load of the node, 0 to 1; absent where no agent reports it",
        samples: Nodes(|node| node.load.map(ratio)),
    },
    Metric {
        name: "node_failing_checks",
        kind: Gauge,
        labels: &["node"],
        help: "Failing health checks of the node",
        samples: Nodes(|node| Some(node.failing.len().into())),
    },
    Metric {
        name: "node_unreported_seconds",
        kind: Gauge,
        labels: &["node"],
        help: "Time for which the node's agent has not answered by TCP although its heartbeats \
               arrive; 0 where it answers",
        samples: Nodes(|node| Some(seconds(node.unanswered_ns.unwrap_or(0)))),
    },
    Metric {
        name: "node_same_configuration",
        kind: Gauge,
        labels: &["node"],
        help: "1 where the node's configuration agrees with this node's, 0 where it differs; absent \
               where it is not known",
        samples: All(|snapshot, out| {
            let own = snapshot.status.config;
            let mut nodes = snapshot.status.nodes.iter().filter(|node| node.config != 0);
            nodes.try_for_each(|node| out.add(&[&node.name], node.config == own))
        }),
    },
    Metric {
        name: "node_same_keys",
        kind: Gauge,
        labels: &["node"],
        help: "1 where the node accepts the same keys as this one, 0 where not; absent where it is \
               not known",
        samples: Nodes(|node| node.same_keys.map(Into::into)),
    },
    Metric {
        name: "peer_down",
        kind: Counter,
        labels: &["node"],
        help: "Decisions of this node that the node, which had answered, is down",
        samples: All(|snapshot, out| {
            let counts = &snapshot.tally.peers_down;
            let mut peers = snapshot.status.nodes.iter().filter(|node| !node.local);
            peers.try_for_each(|node| {
                let count = counts.get(&node.name);
                out.add(&[&node.name], count.copied().unwrap_or(0))
            })
        }),
    },
    Metric {
        name: "detection_seconds",
        kind: Histogram,
        labels: &[],
        help: "Time from the last reply of a node to the decision that it is down",
        samples: All(|snapshot, out| out.histogram(&[], &snapshot.tally.detection)),
    },
    Metric {
        name: "detection_delay_seconds",
        kind: Histogram,
        labels: &[],
        help: "Time from the deadline of a reply to the decision that the node is down",
        samples: All(|snapshot, out| out.histogram(&[], &snapshot.tally.detection_delay)),
    },
];
