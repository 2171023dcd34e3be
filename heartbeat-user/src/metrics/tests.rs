use std::{collections::HashSet, fs, path::Path};

use heartbeat_common::time::Boottime;

use super::*;
use crate::control::protocol::{
    AcquisitionTimeline, DownTrace, EventKind, Group, GroupEvent, Lease, Link, Node, PeerLink,
    Reason, Resource, Vip, VipEvent, Votes,
};

const MARKS: [&str; 2] = ["<!-- metrics -->\n", "<!-- end of metrics -->\n"];

fn peer_link() -> PeerLink {
    PeerLink {
        rtt_ns: 25_000,
        last_reply_age_ns: Some(2_000_000),
        loss: Some(125),
        probes: 10,
        replies: 9,
        late_replies: 1,
        answered: 8,
        deadlines: 2,
        bad_tags: 3,
        bad_macs: 3,
        unknown_keys: 4,
        refused_from: None,
    }
}

fn link(peer: Option<PeerLink>) -> Link {
    Link {
        link: 0,
        interface: "eth0".to_owned(),
        address: "10.0.0.2".to_owned(),
        xdp_mode: peer.is_none().then(|| "native".to_owned()),
        xdp_fallback: None,
        problem: None,
        own_outage: None,
        state: peer.is_some().then(|| "up".to_owned()),
        peer,
    }
}

/// A status with one of each thing.
fn status() -> Status {
    let node = |name: &str, local: bool| Node {
        name: name.to_owned(),
        id: 2,
        local,
        state: "up".to_owned(),
        agent: "active".to_owned(),
        load: Some(250),
        links: vec![link((!local).then(peer_link))],
        ..Node::default()
    };
    let group = Group {
        name: "web".to_owned(),
        owner: Some("a".to_owned()),
        lease: Some(Lease {
            ballot: 0,
            ballot_round: 0,
            ballot_node: 0,
            remaining_ns: 80_000_000,
        }),
        votes: Some(Votes {
            granted: 3,
            needed: 2,
            of: 3,
        }),
        running: true,
        resources: vec![Resource {
            name: "ip".to_owned(),
            kind: "vip".to_owned(),
            state: "started".to_owned(),
            node: Some("a".to_owned()),
            failures: 0,
            stopped: false,
        }],
        ..Group::default()
    };
    Status {
        node: "a".to_owned(),
        nodes: vec![node("a", true), node("b \"quoted\"", false)],
        groups: vec![group],
        vips: vec![Vip {
            name: "ip".to_owned(),
            address: "10.0.0.100/24".to_owned(),
            interface: "eth0".to_owned(),
            group: 0,
            owner: None,
            lease: None,
            votes: None,
            guard: Default::default(),
            held: true,
            error: None,
            notice: None,
        }],
        counters: [("answered".to_owned(), u64::from(u32::MAX) + 1)].into(),
        ..Status::default()
    }
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    let timeline = AcquisitionTimeline {
        free: Boottime::from_nanos(1_000_000_000),
        majority: Boottime::from_nanos(1_001_000_000),
    };
    let acquired = EventKind::Group {
        group: "web".to_owned(),
        event: GroupEvent::LeaseAcquired {
            timeline,
            regained: false,
        },
    };
    let lost = EventKind::Group {
        group: "web".to_owned(),
        event: GroupEvent::LeaseGivenUp(Reason::Moved { to: "b".to_owned() }),
    };
    let takeover = EventKind::Vip {
        vip: "ip".to_owned(),
        event: VipEvent::Takeover {
            timeline,
            decided_ns: 1_001_500_000,
            address_ns: 1_003_500_000,
            announced_ns: 1_004_000_000,
        },
    };
    let down = EventKind::Peer {
        node: "b \"quoted\"".to_owned(),
        from: "up".to_owned(),
        to: "down".to_owned(),
        trace: Some(DownTrace {
            last_reply_ns: 5_000_000,
            deadline_ns: 55_000_000,
            fired_ns: 55_100_000,
            awake_ns: 55_200_000,
        }),
    };
    for event in [&acquired, &lost, &takeover, &takeover, &down] {
        tally.note(event);
    }
    tally
}

fn text(format: Format) -> String {
    let snapshot = Snapshot {
        status: status(),
        tally: tally(),
        clock_source: Some("tsc".to_owned()),
    };
    render(snapshot, format).unwrap()
}

#[test]
fn metrics_have_their_values_in_both_formats() {
    for format in [Format::OpenMetrics, Format::Text] {
        let text = text(format);
        for line in [
            "heartbeat_quorate 0.0",
            "heartbeat_nodes{node=\"a\",type=\"member\",status=\"up\"} 1.0",
            "heartbeat_nodes{node=\"a\",type=\"member\",status=\"down\"} 0.0",
            "heartbeat_node_load_ratio{node=\"b \\\"quoted\\\"\"} 0.25",
            "heartbeat_lease_remaining_seconds{group=\"web\"} 0.08",
            "heartbeat_lease_votes{group=\"web\"} 3.0",
            "heartbeat_lease_acquisitions_total{group=\"web\",regained=\"false\"} 1.0",
            "heartbeat_lease_losses_total{group=\"web\",reason=\"moved\"} 1.0",
            "heartbeat_lease_losses_total{group=\"web\",reason=\"lease-lost\"} 0.0",
            "heartbeat_takeovers_total{vip=\"ip\"} 2.0",
            "heartbeat_takeover_seconds_sum{} 0.008",
            "heartbeat_takeover_step_seconds_sum{step=\"address\"} 0.004",
            "heartbeat_takeover_step_seconds_count{step=\"announcement\"} 2",
            "heartbeat_detection_delay_seconds_count{} 1",
            "heartbeat_peer_down_total{node=\"b \\\"quoted\\\"\"} 1.0",
            "heartbeat_packets_total{verdict=\"answered\"} 4294967296.0",
            "heartbeat_xdp_mode{interface=\"eth0\",mode=\"native\"} 1.0",
            "heartbeat_xdp_mode{interface=\"eth0\",mode=\"skb\"} 0.0",
            "heartbeat_clock_source{source=\"tsc\"} 1.0",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in {text}");
        }
    }
}

#[test]
fn formats_differ_in_the_names_of_counters_and_in_the_end() {
    let (open, older) = (text(Format::OpenMetrics), text(Format::Text));
    assert!(open.ends_with("\n# EOF\n") && !older.contains("# EOF"));
    assert!(open.contains("# TYPE heartbeat_takeovers counter\n"));
    assert!(older.contains("# TYPE heartbeat_takeovers_total counter\n"));
}

#[test]
fn names_are_distinct_and_say_their_unit() {
    let mut names = HashSet::new();
    for metric in all() {
        let Metric { name, help, .. } = metric;
        assert!(names.insert(*name), "{name} twice");
        let letters = name.bytes().all(|c| c == b'_' || c.is_ascii_lowercase());
        assert!(letters && !name.ends_with("_total"), "{name}");
        assert!(
            !help.contains('\n') && !help.ends_with('.'),
            "{name}: {help}"
        );
        if matches!(metric.kind, MetricType::Histogram) {
            assert!(name.ends_with("_seconds"), "{name}");
        }
    }
}

/// The table of the page, from the rows.
fn table() -> String {
    let mut text = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in all() {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        text.push_str(&format!(
            "| `{PREFIX}_{}` | {} | {} | {} |\n",
            metric.name_of_samples(),
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        ));
    }
    text
}

/// `UPDATE=1 cargo test -p heartbeat-user --lib metrics` writes the table anew.
#[test]
fn page_has_the_table_of_all_metrics() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operate/monitoring.md");
    let is = fs::read_to_string(&page).unwrap();
    let (before, rest) = is.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let [begin, end] = MARKS;
    let wanted = format!("{before}{begin}{}{end}{after}", table());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, &wanted).unwrap();
        return;
    }
    assert!(
        is == wanted,
        "{} differs: UPDATE=1 writes it anew",
        page.display()
    );
}
