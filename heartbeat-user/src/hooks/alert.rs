//! The variables by which Pacemaker's alert agents learn of an event, so that such a script runs as
//! a hook.
//!
//! Source: Pacemaker Explained, "Alerts", table of the variables of alert agents. Each variable
//! also has the prefix `CRM_notify_`, for the scripts of `ocf:pacemaker:ClusterMon`.

use std::time::Duration;

use super::Variables;
use crate::config::HookEvent;

/// The prefixes of each variable.
const PREFIXES: [&str; 2] = ["CRM_alert_", "CRM_notify_"];

/// The kinds of alerts that these events can be.
enum Alert<'a> {
    /// A node is a member of the cluster, or is lost.
    Node { member: bool },
    /// An action on a resource of this node has succeeded.
    Resource { task: &'static str },
    /// A health check of this node has another result.
    Attribute { value: &'a str },
}

/// Returns the variables of an alert agent for the event with the variables `hook`. `sequence`
/// numbers the events of this node. There are none for a rebalancing, which Pacemaker does not
/// report.
pub(super) fn variables(on: HookEvent, hook: &Variables, sequence: u64) -> Vec<(String, String)> {
    let of = |name: &str| {
        let mut variables = hook.iter();
        let found = variables.find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let alert = match on {
        HookEvent::PeerUp | HookEvent::PeerUnhealthy | HookEvent::PeerDraining => {
            Alert::Node { member: true }
        }
        HookEvent::PeerDown | HookEvent::PeerStalled => Alert::Node { member: false },
        HookEvent::Takeover => Alert::Resource { task: "start" },
        HookEvent::Release => Alert::Resource { task: "stop" },
        HookEvent::Health => Alert::Attribute {
            // The colours of Pacemaker's node health.
            value: match (of("HEARTBEAT_CHECK_STATE"), of("HEARTBEAT_CHECK_FAILURE")) {
                ("well", _) => "green",
                (_, "fatal") => "red",
                _ => "yellow",
            },
        },
        HookEvent::Rebalance => return Vec::new(),
    };
    let at = Duration::from_nanos(of("HEARTBEAT_AT_UNIX_NS").parse().unwrap_or_default());
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    let clock = [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60];
    let [hours, minutes, rest] = clock;
    let mut pairs: Vec<(&str, String)> = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("node_sequence", sequence.to_string()),
        (
            "timestamp",
            format!("{hours:02}:{minutes:02}:{rest:02}.{micros:06}"),
        ),
        ("timestamp_epoch", seconds.to_string()),
        ("timestamp_usec", micros.to_string()),
    ];
    let mut add = |name, value: &str| pairs.push((name, value.to_owned()));
    match alert {
        Alert::Node { member } => {
            add("kind", "node");
            add("node", of("HEARTBEAT_PEER"));
            add("nodeid", of("HEARTBEAT_PEER_ID"));
            add("desc", if member { "member" } else { "lost" });
        }
        Alert::Resource { task } => {
            add("kind", "resource");
            add("node", of("HEARTBEAT_NODE"));
            add("rsc", of("HEARTBEAT_VIP"));
            add("task", task);
            add("interval", "0");
            add("desc", "ok");
            // 0 is OCF_SUCCESS, and PCMK_EXEC_DONE.
            add("rc", "0");
            add("target_rc", "0");
            add("status", "0");
        }
        Alert::Attribute { value } => {
            add("kind", "attribute");
            add("node", of("HEARTBEAT_NODE"));
            let name = format!("#health-{}", of("HEARTBEAT_CHECK"));
            add("attribute_name", &name);
            add("attribute_value", value);
        }
    }
    let prefixed = |(name, value): (&str, String)| {
        PREFIXES.map(|prefix| (format!("{prefix}{name}"), value.clone()))
    };
    pairs.into_iter().flat_map(prefixed).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The variables for an event at 1970-01-02 03:04:05.000006, as a map.
    fn given(on: HookEvent, more: &[(&'static str, &str)]) -> BTreeMap<String, String> {
        let at = ("HEARTBEAT_AT_UNIX_NS", "97445000006000");
        let mut hook: Variables = vec![("HEARTBEAT_NODE", "a".to_owned())];
        let more = more.iter().chain([&at]);
        hook.extend(more.map(|(name, value)| (*name, (*value).to_owned())));
        let variables = variables(on, &hook, 7);
        let count = variables.len();
        let map: BTreeMap<_, _> = variables.into_iter().collect();
        assert_eq!(map.len(), count, "a variable twice");
        map
    }

    fn assert_has(variables: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            for prefix in PREFIXES {
                let found = variables.get(&format!("{prefix}{name}"));
                assert_eq!(found.map(String::as_str), Some(*value), "{prefix}{name}");
            }
        }
    }

    #[test]
    fn every_alert_has_its_time_and_number() {
        let variables = given(HookEvent::Takeover, &[]);
        assert_has(
            &variables,
            &[
                ("node_sequence", "7"),
                ("timestamp", "03:04:05.000006"),
                ("timestamp_epoch", "97445"),
                ("timestamp_usec", "6"),
            ],
        );
    }

    #[test]
    fn peer_is_a_member_or_lost() {
        for (on, desc) in [
            (HookEvent::PeerUp, "member"),
            (HookEvent::PeerDown, "lost"),
            (HookEvent::PeerStalled, "lost"),
            (HookEvent::PeerUnhealthy, "member"),
            (HookEvent::PeerDraining, "member"),
        ] {
            let peer = [("HEARTBEAT_PEER", "b"), ("HEARTBEAT_PEER_ID", "2")];
            let expected = [("kind", "node"), ("node", "b"), ("nodeid", "2")];
            let variables = given(on, &peer);
            assert_has(&variables, &expected);
            assert_has(&variables, &[("desc", desc)]);
        }
    }

    #[test]
    fn address_is_a_resource_that_starts_or_stops() {
        for (on, task) in [(HookEvent::Takeover, "start"), (HookEvent::Release, "stop")] {
            let variables = given(on, &[("HEARTBEAT_VIP", "web")]);
            let expected = [("kind", "resource"), ("node", "a"), ("rsc", "web")];
            assert_has(&variables, &expected);
            assert_has(&variables, &[("task", task), ("rc", "0"), ("desc", "ok")]);
        }
    }

    #[test]
    fn health_check_is_an_attribute_with_a_colour() {
        for (state, failure, colour) in [
            ("well", "fatal", "green"),
            ("failing", "fatal", "red"),
            ("failing", "degraded", "yellow"),
        ] {
            let check = [
                ("HEARTBEAT_CHECK", "disk"),
                ("HEARTBEAT_CHECK_STATE", state),
                ("HEARTBEAT_CHECK_FAILURE", failure),
            ];
            let variables = given(HookEvent::Health, &check);
            let expected = [("kind", "attribute"), ("attribute_name", "#health-disk")];
            assert_has(&variables, &expected);
            assert_has(&variables, &[("attribute_value", colour)]);
        }
    }

    #[test]
    fn rebalancing_is_no_alert() {
        assert!(given(HookEvent::Rebalance, &[]).is_empty());
    }
}
