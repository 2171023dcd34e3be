//! Remarks on the settings in `corosync.conf` that are neither nodes nor links. Most of them belong
//! to corosync's own protocol, which has no counterpart here.

use std::collections::BTreeMap;

use super::remarks::joint;
use crate::{
    corosync::{Entry, Section},
    emit::Comment,
    place::Place,
};

/// Topics of settings, in the order of the remarks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Protocol,
    Times,
    Key,
    Votes,
    TwoNode,
    Device,
    Logging,
    Pacemaker,
    Nozzle,
    Process,
    Version,
    Unknown,
}

impl Topic {
    /// The reason why the topic is not translated, and the remedy.
    fn say(self) -> (&'static str, &'static str) {
        match self {
            Self::Protocol => (
                "these settings belong to corosync's own transport; heartbeat sends unicast UDP, \
                 and TCP for commands, between the nodes' addresses",
                "open port 694 for both in the firewall, or set another `port` in [cluster]",
            ),
            Self::Times => (
                "corosync's times allow for daemons that are scheduled late; heartbeat's kernel \
                 programs answer heartbeats, so interval, timeout and lease are milliseconds and \
                 are not derived from corosync's times",
                "start with the defaults (interval 10ms, lease 60ms); docs/operate/timing.md \
                 describes how to set them",
            ),
            Self::Key => (
                "heartbeats are always authenticated, with heartbeat's own key",
                "make the key with `heartbeat keygen` and copy it to all nodes",
            ),
            Self::Votes => (
                "each [[node]] has one vote, and heartbeat always requires a majority of all votes",
                "have an odd number of nodes, witnesses included",
            ),
            Self::TwoNode => (
                "with two_node both nodes can serve at the same time, which leases rule out: one \
                 vote of two is no majority, and `heartbeat check` rejects a cluster of two nodes",
                "add a witness, as in the comment below the nodes",
            ),
            Self::Device => (
                "heartbeat has no quorum device, but witnesses: a witness is a voter that answers \
                 heartbeats",
                "make its host the witness",
            ),
            Self::Logging => (
                "the agent logs to standard error, which systemd passes to journald",
                "set HEARTBEAT_LOG for the level",
            ),
            Self::Pacemaker => (
                "heartbeat runs the resources itself and has no plugins",
                "no action needed",
            ),
            Self::Nozzle => (
                "heartbeat creates no network device for its links",
                "create such a device outside of the cluster",
            ),
            Self::Process => (
                "the setting tunes corosync's process",
                "no action needed; the section [realtime] sets the agent's priority",
            ),
            Self::Version => (
                "the node list of the new cluster starts at version 1",
                "raise `config_version` in [cluster] with each change of the nodes, as in \
                 corosync.conf",
            ),
            Self::Unknown => (
                "the import does not know this setting",
                "look it up in corosync.conf(5), and check whether anything depends on it",
            ),
        }
    }
}

fn topic(path: &str, key: &str) -> Topic {
    match (path, key) {
        (_, "secauth" | "key" | "keyfile" | "threads") => Topic::Key,
        ("totem", key) if key.starts_with("crypto_") => Topic::Key,
        ("totem", key) if key.starts_with("knet_ping") || key.starts_with("knet_pong") => {
            Topic::Times
        }
        ("totem.interface", key)
            if key.starts_with("knet_ping") || key.starts_with("knet_pong") =>
        {
            Topic::Times
        }
        (
            "totem",
            "token"
            | "token_coefficient"
            | "token_warning"
            | "token_retransmit"
            | "token_retransmits_before_loss_const"
            | "hold"
            | "join"
            | "send_join"
            | "consensus"
            | "merge"
            | "downcheck"
            | "fail_recv_const"
            | "seqno_unchanged_const"
            | "heartbeat_failures_allowed"
            | "max_network_delay"
            | "miss_count_const"
            | "rrp_problem_count_timeout"
            | "rrp_problem_count_threshold"
            | "rrp_problem_count_mcast_threshold"
            | "rrp_token_expired_timeout"
            | "rrp_autorecovery_check_timeout"
            | "cancel_token_hold_on_retransmit",
        ) => Topic::Times,
        (
            "totem",
            "version"
            | "transport"
            | "rrp_mode"
            | "link_mode"
            | "netmtu"
            | "ip_version"
            | "vsftype"
            | "window_size"
            | "max_messages"
            | "nodeid"
            | "clear_node_high_bit"
            | "autojoin"
            | "block_unlisted_ips"
            | "ip_dscp",
        ) => Topic::Protocol,
        ("totem", "config_version") => Topic::Version,
        ("totem", key) if key.starts_with("knet_") => Topic::Protocol,
        ("totem.interface", _) => Topic::Protocol,
        ("quorum", "two_node") => Topic::TwoNode,
        ("quorum" | "nodelist.node", _) => Topic::Votes,
        (path, _) if path.starts_with("quorum.device") => Topic::Device,
        ("system", _) | ("", "compatibility") => Topic::Process,
        (path, _) => match path.split('.').next() {
            Some("logging") => Topic::Logging,
            Some("service" | "aisexec" | "amf") => Topic::Pacemaker,
            Some("nozzle") => Topic::Nozzle,
            Some("uidgid" | "qb" | "resources" | "cmap" | "event") => Topic::Process,
            _ => Topic::Unknown,
        },
    }
}

/// Whether other modules report this setting: the cluster's name, nodes and links.
fn is_told_elsewhere(path: &str, key: &str) -> bool {
    match path {
        "totem" => key == "cluster_name",
        "totem.interface" => ["ringnumber", "linknumber", "bindnetaddr"].contains(&key),
        "totem.interface.member" => key == "memberaddr",
        "nodelist.node" => {
            let ring = key.starts_with("ring") && key.ends_with("_addr");
            ring || ["name", "nodeid"].contains(&key)
        }
        _ => false,
    }
}

/// Remarks on all settings that no other module reports, one for each topic.
pub(super) fn remarks(top: &Section) -> Vec<Comment> {
    let mut topics: BTreeMap<Topic, (Vec<String>, Vec<Place>)> = BTreeMap::new();
    let mut visit = |path: &str, entry: &Entry| {
        if is_told_elsewhere(path, &entry.key) {
            return;
        }
        let (names, places) = topics.entry(topic(path, &entry.key)).or_default();
        // A key is a secret. The words of a path suffice.
        let value = match entry.key.as_str() {
            "key" => String::new(),
            _ => format!("={}", entry.value),
        };
        names.push(format!("{} {}{value}", path.replace('.', " "), entry.key));
        places.push(entry.place.clone());
    };
    walk(top, "", &mut visit);
    let remark = |(topic, (names, places)): (Topic, (Vec<String>, Vec<Place>))| {
        let (reason, remedy) = topic.say();
        joint(names.join(", ").trim().to_owned(), places, reason, remedy)
    };
    topics.into_iter().filter_map(remark).collect()
}

/// Calls `visit` with the path of each setting below `section`.
fn walk(section: &Section, path: &str, visit: &mut impl FnMut(&str, &Entry)) {
    for entry in &section.entries {
        visit(path, entry);
    }
    for inner in &section.sections {
        let path = match path {
            "" => inner.name.clone(),
            outer => format!("{outer}.{}", inner.name),
        };
        walk(inner, &path, visit);
    }
}

/// The host of the quorum device, if there is one.
pub(super) fn device_host(top: &Section) -> Option<&str> {
    let devices = top
        .named("quorum")
        .flat_map(|quorum| quorum.named("device"));
    let mut hosts = devices.flat_map(|device| {
        let of_net = device.named("net").filter_map(|net| net.get("host"));
        of_net.chain(device.get("host"))
    });
    hosts.next()
}
