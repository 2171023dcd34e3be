//! The metrics of links and of the kernel programs.

use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::{
    Metric, Snapshot,
    Source::{All, Links},
    samples::{Value, ratio, seconds},
};
use crate::control::protocol::{Link, PeerLink};

/// The labels that name a link to a peer.
const OF_LINK: &[&str] = &["node", "link", "address"];

pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "link_up",
        kind: Gauge,
        labels: OF_LINK,
        help: "1 while replies of the node arrive on the link",
        samples: All(|snapshot, out| {
            snapshot.status.nodes.iter().try_for_each(|node| {
                node.links.iter().try_for_each(|link| match &link.state {
                    Some(state) => {
                        let number = link.link.to_string();
                        out.add(&[&node.name, &number, &link.address], state == "up")
                    }
                    None => Ok(()),
                })
            })
        }),
    },
    of_links(
        "link_rtt_seconds",
        "Round-trip time of the last fresh reply, between the two kernels; absent before the first",
        |link| link.last_reply_age_ns.map(|_| seconds(link.rtt_ns)),
    ),
    of_links(
        "link_reply_age_seconds",
        "Age of the last fresh reply; absent before the first",
        |link| link.last_reply_age_ns.map(seconds),
    ),
    of_links(
        "link_loss_ratio",
        "Share of unanswered probes among those of the last 30 s to 60 s; absent without probes",
        |link| link.loss.map(ratio),
    ),
    counter_of_links(
        "link_probes",
        "Probes to the node that left this host's kernel",
        |link| Some(link.probes.into()),
    ),
    counter_of_links("link_replies", "Fresh replies of the node", |link| {
        Some(link.replies.into())
    }),
    counter_of_links(
        "link_late_replies",
        "Replies of the node that took longer than the timeout",
        |link| Some(link.late_replies.into()),
    ),
    counter_of_links(
        "link_answered_probes",
        "Probes of the node that this host's kernel answered",
        |link| Some(link.answered.into()),
    ),
    counter_of_links(
        "link_deadlines",
        "Deadlines without a fresh reply that the kernel's timer found passed",
        |link| Some(link.deadlines.into()),
    ),
    counter_of_links(
        "link_bad_tags",
        "Frames with the node's address and a wrong tag",
        |link| Some(link.bad_tags.into()),
    ),
    counter_of_links(
        "link_unknown_keys",
        "Frames with the node's address and the id of a key that this node does not accept",
        |link| Some(link.unknown_keys.into()),
    ),
    Metric {
        name: "interface_up",
        kind: Gauge,
        labels: &["interface"],
        help: "1 while frames can pass this node's own end of the link",
        samples: All(|snapshot, out| {
            own(snapshot)
                .try_for_each(|link| out.add(&[&link.interface], link.own_outage.is_none()))
        }),
    },
    Metric {
        name: "xdp_mode",
        kind: Gauge,
        labels: &["interface", "mode"],
        help: "1 for the mode in which the XDP program is attached to the link's interface: native \
               (in the driver), skb (generic, slower) or none",
        samples: All(|snapshot, out| {
            own(snapshot).try_for_each(|link| {
                let mode = link.xdp_mode.as_deref().unwrap_or("none");
                out.state(&[&link.interface], &["native", "skb", "none"], mode)
            })
        }),
    },
    Metric {
        name: "packets",
        kind: Counter,
        labels: &["verdict"],
        help: "Packets by the verdict of the kernel programs",
        samples: All(|snapshot, out| {
            let mut counters = snapshot.status.counters.iter();
            counters.try_for_each(|(verdict, count)| out.add(&[verdict], *count))
        }),
    },
];

const fn of_links(
    name: &'static str,
    help: &'static str,
    value: fn(&PeerLink) -> Option<Value>,
) -> Metric {
    Metric {
        name,
        kind: Gauge,
        labels: OF_LINK,
        help,
        samples: Links(value),
    }
}

const fn counter_of_links(
    name: &'static str,
    help: &'static str,
    value: fn(&PeerLink) -> Option<Value>,
) -> Metric {
    Metric {
        kind: Counter,
        ..of_links(name, help, value)
    }
}

/// The links of this node itself.
fn own(snapshot: &Snapshot) -> impl Iterator<Item = &Link> {
    let local = snapshot.status.nodes.iter().filter(|node| node.local);
    local.flat_map(|node| &node.links)
}
