//! The expected JSON, severity and text of each kind of event. Scripts read the JSON of `heartbeat
//! events --json`.

use heartbeat_control::{
    protocol::{Event, EventKind},
    severity::Severity::{self, Error, Info, Notice, Warning},
};

use super::schema;

/// The fields that an event adds to a line of JSON, its severity and its text.
const EVENTS: &[(&str, Severity, &str)] = &[
    (r#""event":"started""#, Notice, "agent started"),
    (r#""event":"stopping""#, Notice, "agent stopping"),
    (
        r#""event":"parting""#,
        Notice,
        "agent stopping for a restart: programs, addresses and resources stay in place",
    ),
    (
        r#""event":"link","node":"b","link":1,"from":"suspect","to":"down""#,
        Warning,
        "node b: link 1 is down (was suspect)",
    ),
    (
        r#""event":"link","node":"b","link":1,"from":"down","to":"up""#,
        Info,
        "node b: link 1 is up (was down)",
    ),
    (
        r#""event":"peer","node":"b","from":"down","to":"up""#,
        Notice,
        "node b is up (was down)",
    ),
    (
        r#""event":"peer","node":"b","from":"up","to":"suspect""#,
        Info,
        "node b is suspect (was up)",
    ),
    (
        r#""event":"peer","node":"b","from":"up","to":"agent-stalled""#,
        Warning,
        "node b is agent-stalled (was up)",
    ),
    (
        r#""event":"peer","node":"b","from":"up","to":"unhealthy""#,
        Warning,
        "node b is unhealthy (was up)",
    ),
    (
        r#""event":"peer","node":"b","from":"unknown","to":"down""#,
        Warning,
        "node b is DOWN (was unknown)",
    ),
    (
        r#""event":"peer","node":"b","from":"suspect","to":"down","trace":{"last_reply_ns":1000000,"deadline_ns":31000000,"fired_ns":0,"awake_ns":31046000}"#,
        Warning,
        "node b is DOWN: no reply for 30.0 ms (timeout 30.0 ms)",
    ),
    (
        r#""event":"peer","node":"b","from":"suspect","to":"down","trace":{"last_reply_ns":0,"deadline_ns":0,"fired_ns":0,"awake_ns":31046000}"#,
        Warning,
        "node b is DOWN: never answered",
    ),
    (
        r#""event":"deaf","deaf":true,"reason":"why""#,
        Warning,
        "local stall: why; the silence of peers is counted anew, and this node takes no group \
         until the stall is over",
    ),
    (
        r#""event":"deaf","deaf":false,"reason":"why""#,
        Notice,
        "local stall over: why",
    ),
    (
        r#""event":"starved","pause_ns":955000000,"reason":"why""#,
        Warning,
        "agent got no CPU for 955 ms: why",
    ),
    (
        r#""event":"quorum","quorate":true,"alive":2"#,
        Notice,
        "quorum gained: 2 nodes alive",
    ),
    (
        r#""event":"quorum","quorate":false,"alive":1"#,
        Error,
        "quorum LOST: 1 node alive",
    ),
    (
        r#""event":"lease-acquired","group":"db","free_ns":5000,"majority_ns":1002723000"#,
        Notice,
        "group db: lease acquired 1.00 s after it became free",
    ),
    (
        r#""event":"lease-acquired","group":"db","free_ns":5,"majority_ns":3005,"regained":true"#,
        Notice,
        "group db: lease regained 3.00 µs after it ran out; another node may have held it \
         meanwhile",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"lease-lost""#,
        Warning,
        "group db: stopping here (lease lost: no majority renewed it in time)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"moved","successor":"b""#,
        Notice,
        "group db: stopping here (moved to b by an operator)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"fail-back","successor":"b""#,
        Notice,
        "group db: stopping here (failing back to b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"rebalanced","successor":"b""#,
        Notice,
        "group db: stopping here (rebalanced to b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"drained","successor":"b""#,
        Notice,
        "group db: stopping here (drained to b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"node-unfit""#,
        Notice,
        "group db: stopping here (this node is on standby or stopping, or its control task hangs)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"unhealthy""#,
        Warning,
        "group db: stopping here (a fatal health check fails on this node)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"failed""#,
        Warning,
        "group db: stopping here (resources failed on this node)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"stopped""#,
        Notice,
        "group db: stopping here (stopped by an operator)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"removed""#,
        Notice,
        "group db: stopping here (removed from the configuration)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"constraint""#,
        Notice,
        "group db: stopping here (a constraint forbids it here)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"cut-off""#,
        Warning,
        "group db: stopping here (this node does not reach the network of its addresses)",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"lease","by":"b","remaining_us":700"#,
        Info,
        "group db: claim postponed: lease of b lasts another 700 µs",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"promise","by":"b""#,
        Info,
        "group db: claim postponed: b claims it with a higher ballot",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"silence""#,
        Info,
        "group db: claim postponed: too few nodes granted it in time",
    ),
    (
        r#""event":"ballots-exhausted","group":"db""#,
        Error,
        "group db: ballots exhausted: a node claimed the lease with a clock or a release \
         that is far off; restart all agents and responders of the cluster",
    ),
    (
        r#""event":"group","group":"db","state":"ready""#,
        Notice,
        "group db: ready",
    ),
    (
        r#""event":"group","group":"db","state":"started""#,
        Notice,
        "group db: started",
    ),
    (
        r#""event":"group","group":"db","state":"incomplete""#,
        Warning,
        "group db: degraded",
    ),
    (
        r#""event":"group","group":"db","state":"stopped""#,
        Notice,
        "group db: stopped",
    ),
    (
        r#""event":"group","group":"db","state":"barred","resource":"postgres""#,
        Warning,
        "group db: barred from this node after failures of postgres; `heartbeat cleanup` \
         clears them",
    ),
    (
        r#""event":"group","group":"db","state":"fit""#,
        Notice,
        "group db: no longer barred from this node",
    ),
    (
        r#""event":"group","group":"db","state":"blocked","resource":"postgres""#,
        Error,
        "group db: BLOCKED: postgres could not be stopped and may still run; stop it by \
         hand, then `heartbeat cleanup`",
    ),
    (
        r#""event":"group","group":"db","state":"unblocked""#,
        Notice,
        "group db: no longer blocked",
    ),
    (
        r#""event":"group","group":"db","state":"broken""#,
        Warning,
        "group db: an interface of its addresses is missing, down or without carrier",
    ),
    (
        r#""event":"group","group":"db","state":"mended""#,
        Notice,
        "group db: the interfaces of its addresses are working again",
    ),
    (
        r#""event":"takeover","vip":"web","free_ns":1,"majority_ns":2,"decided_ns":10000,"address_ns":190000,"announced_ns":230000"#,
        Notice,
        "vip web: taken over; address added (180 µs) and announced (220 µs)",
    ),
    (
        r#""event":"release","vip":"web","decided_ns":10000,"address_ns":190000"#,
        Notice,
        "vip web: released; address removed (180 µs)",
    ),
    (
        r#""event":"put-back","vip":"web","times":3,"message":"why""#,
        Warning,
        "vip web: why",
    ),
    (
        r#""event":"claimed","vip":"web","mac":"02:00:00:00:00:01","message":"why""#,
        Warning,
        "vip web: why",
    ),
    (
        r#""event":"stray","vip":"web","message":"why""#,
        Warning,
        "vip web: why",
    ),
    (
        r#""event":"vip-error","vip":"web","message":"why""#,
        Error,
        "vip web: why",
    ),
    (
        r#""event":"interface","interface":"eth1","state":"lost","message":"why""#,
        Warning,
        "interface eth1: why",
    ),
    (
        r#""event":"interface","interface":"eth1","state":"failed","message":"why""#,
        Warning,
        "interface eth1: why",
    ),
    (
        r#""event":"interface","interface":"eth1","state":"back","message":"why""#,
        Notice,
        "interface eth1: why",
    ),
    (
        r#""event":"socket-guard","state":"failed","message":"why""#,
        Warning,
        "guard at the sockets: why",
    ),
    (
        r#""event":"socket-guard","state":"attached","message":"why""#,
        Notice,
        "guard at the sockets: why",
    ),
    (
        r#""event":"resource","resource":"apache","state":"started""#,
        Info,
        "resource apache: started",
    ),
    (
        r#""event":"resource","resource":"apache","state":"stopped","note":"why""#,
        Info,
        "resource apache: stopped (why)",
    ),
    (
        r#""event":"resource-failed","resource":"apache","action":"monitor","outcome":"not running (7)","message":"first\nlast""#,
        Warning,
        "resource apache: monitor FAILED: not running (7): first / last",
    ),
    (
        r#""event":"resource-failed","resource":"apache","action":"start","outcome":"timed out","message":"""#,
        Error,
        "resource apache: start FAILED: timed out",
    ),
    (
        r#""event":"resource-failed","resource":"apache","action":"stop","outcome":"timed out","message":"""#,
        Error,
        "resource apache: stop FAILED: timed out",
    ),
    (
        r#""event":"health","check":"disk","failure":"fatal","well":false,"message":"why""#,
        Error,
        "health check disk FAILED (fatal): why",
    ),
    (
        r#""event":"health","check":"disk","failure":"degraded","well":false,"message":"why""#,
        Warning,
        "health check disk FAILED (degraded): why",
    ),
    (
        r#""event":"health","check":"disk","failure":"fatal","well":true,"message":"why""#,
        Notice,
        "health check disk OK: why",
    ),
    (
        r#""event":"peer-health","node":"b","failing":[],"fatal":false"#,
        Notice,
        "node b: all health checks OK",
    ),
    (
        r#""event":"peer-health","node":"b","failing":["disk"],"fatal":true"#,
        Warning,
        "node b: health checks failed: disk (fatal)",
    ),
    (
        r#""event":"decided","what":"resource stop db""#,
        Notice,
        "operator: resource stop db",
    ),
    (
        r#""event":"decided","node":"a","what":"resource stop db""#,
        Notice,
        "operator on node a: resource stop db",
    ),
    (
        r#""event":"outdated","node":"b","by":"c""#,
        Warning,
        "node b: heartbeats rejected by c (older incarnation than received before): its clock was \
         set back and its state directory was lost; set the clock and restart its agent",
    ),
    (
        r#""event":"refused","node":"b","link":0,"bad_tags":0,"bad_macs":0,"unknown_keys":49,"from":"02:00:00:00:00:01""#,
        Warning,
        "node b: link 0: 49 heartbeats rejected (unknown key), 0 rejected (bad \
         authentication tag); last sender 02:00:00:00:00:01: key files differ, or an attacker \
         forges heartbeats",
    ),
    (
        r#""event":"config-version","version":3"#,
        Notice,
        "config_version 3 in force: a lease needs a majority of its nodes",
    ),
    (
        r#""event":"keys","seals":2,"takes":[2,1],"mark":9"#,
        Notice,
        "keys changed: sending with key 2; also accepting key 1",
    ),
    (
        r#""event":"hook","on":"takeover","exec":"/bin/x","status":0,"message":"ended well""#,
        Info,
        "hook /bin/x on takeover: ended well",
    ),
    (
        r#""event":"hook","on":"takeover","exec":"/bin/x","message":"killed""#,
        Warning,
        "hook /bin/x on takeover: killed",
    ),
];

#[test]
fn event_of_every_kind_keeps_its_json_its_severity_and_its_words() {
    for (fields, severity, words) in EVENTS {
        let line = format!(
            r#"{{"schema_version":1,"number":7,"at_ns":1,"at_unix_ns":"1764524988123456789",{fields}}}"#
        );
        let event: Event = serde_json::from_str(&line).expect(&line);
        let shown = serde_json::to_value(&event).expect("JSON");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(shown, line);
        let problems = schema::problems_of_event(&line);
        assert!(problems.is_empty(), "{line}: {problems:?}");
        assert_eq!(event.what.to_string(), *words);
        assert_eq!(event.what.severity(), *severity, "{words}");
        assert_eq!(line["event"], event.what.name());
    }
}

#[test]
fn event_of_an_unknown_kind_is_refused() {
    let line = r#"{"number":7,"at_ns":1,"event":"miracle","group":"db"}"#;
    assert!(serde_json::from_str::<Event>(line).is_err());
    let known: Result<EventKind, _> = serde_json::from_str(r#"{"event":"started"}"#);
    assert_eq!(known.expect("JSON"), EventKind::Started);
}

/// The names of all kinds, from `severity.rs`.
pub(super) fn names() -> Vec<&'static str> {
    let source = include_str!("../../src/severity.rs");
    let (_, names) = source.split_once("pub const fn name(&self)").expect("it");
    let (names, _) = names.split_once("\n}\n").expect("its end");
    names
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","))
        .collect()
}

#[test]
fn table_has_a_row_for_every_kind() {
    let names = names();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let field = format!(r#""event":"{name}""#);
        assert!(
            EVENTS.iter().any(|(json, ..)| json.contains(&field)),
            "{name}"
        );
    }
}

#[test]
fn two_states_of_one_subject_are_told_apart() {
    let kind = |json: &str| -> EventKind { serde_json::from_str(json).expect(json) };
    let up = kind(r#"{"event":"peer","node":"b","from":"down","to":"up"}"#);
    let down = kind(r#"{"event":"peer","node":"b","from":"up","to":"down"}"#);
    let other = kind(r#"{"event":"peer","node":"c","from":"up","to":"down"}"#);
    assert_ne!(up.variant(), down.variant());
    assert_eq!(down.variant(), other.variant());
    assert_ne!(down.subject(), other.subject());
    assert_eq!((up.name(), up.subject()), ("peer", "b"));
}
