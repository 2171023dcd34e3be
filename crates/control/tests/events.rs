//! Every kind of event: what `heartbeat events --json` shows of it, which scripts read, and its
//! words.

use heartbeat_control::protocol::{Event, EventKind};

/// What an event adds to a line of JSON, and its words.
const EVENTS: &[(&str, &str)] = &[
    (r#""event":"started""#, "agent started"),
    (r#""event":"stopping""#, "agent stopping"),
    (r#""event":"parting""#, "agent ending for a restart"),
    (
        r#""event":"link","node":"b","link":1,"from":"up","to":"down""#,
        "node b: link 1 is down (was up)",
    ),
    (
        r#""event":"peer","node":"b","from":"down","to":"up""#,
        "node b is up (was down)",
    ),
    (
        r#""event":"peer","node":"b","from":"suspect","to":"down","trace":{"last_reply_ns":1000000,"deadline_ns":31000000,"fired_ns":0,"awake_ns":31046000}"#,
        "node b is down (was suspect): silent for 30046 us, noticed 46 us after the deadline",
    ),
    (
        r#""event":"deaf","deaf":true,"reason":"why""#,
        "this node is deaf and declares nobody down for now: why",
    ),
    (
        r#""event":"deaf","deaf":false,"reason":"why""#,
        "this node hears again: why",
    ),
    (
        r#""event":"starved","pause_ns":955000000,"reason":"why""#,
        "this agent got no processor for 955 ms: why",
    ),
    (
        r#""event":"quorum","quorate":true,"alive":2"#,
        "quorum gained: 2 nodes alive",
    ),
    (
        r#""event":"quorum","quorate":false,"alive":1"#,
        "quorum LOST: 1 nodes alive",
    ),
    (
        r#""event":"lease-acquired","group":"db","free_ns":5000,"majority_ns":1002723000"#,
        "group db: lease acquired, 1002718 us after it was free",
    ),
    (
        r#""event":"lease-acquired","group":"db","free_ns":5,"majority_ns":6,"regained":true"#,
        "group db: lease acquired, 0 us after it was free",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"lease-lost""#,
        "group db: stops being served here (lease-lost)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"moved","successor":"b""#,
        "group db: stops being served here (moved, for b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"fail-back","successor":"b""#,
        "group db: stops being served here (fail-back, for b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"rebalanced","successor":"b""#,
        "group db: stops being served here (rebalanced, for b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"drained","successor":"b""#,
        "group db: stops being served here (drained, for b)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"node-unfit""#,
        "group db: stops being served here (node-unfit)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"unhealthy""#,
        "group db: stops being served here (unhealthy)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"failed""#,
        "group db: stops being served here (failed)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"stopped""#,
        "group db: stops being served here (stopped)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"constraint""#,
        "group db: stops being served here (constraint)",
    ),
    (
        r#""event":"lease-given-up","group":"db","reason":"cut-off""#,
        "group db: stops being served here (cut-off)",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"lease","by":"b","remaining_us":700"#,
        "group db: claim given up for now: the lease of b lives on for 700 us",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"promise","by":"b""#,
        "group db: claim given up for now: b claims it with a higher ballot",
    ),
    (
        r#""event":"claim-given-up","group":"db","reason":"silence""#,
        "group db: claim given up for now: too few acceptors granted it in time",
    ),
    (
        r#""event":"ballots-exhausted","group":"db""#,
        "group db: its ballots are used up: some node has claimed it with a clock or a release that \
         is far off; restart all agents and responders of the cluster",
    ),
    (
        r#""event":"group","group":"db","state":"started""#,
        "group db: all of it runs",
    ),
    (
        r#""event":"group","group":"db","state":"incomplete""#,
        "group db: not all of it runs",
    ),
    (
        r#""event":"group","group":"db","state":"stopped""#,
        "group db: all of it has stopped",
    ),
    (
        r#""event":"group","group":"db","state":"barred","resource":"postgres""#,
        "group db: cannot run here for now; `heartbeat cleanup` forgets its failures",
    ),
    (
        r#""event":"group","group":"db","state":"fit""#,
        "group db: may run here again",
    ),
    (
        r#""event":"group","group":"db","state":"blocked","resource":"postgres""#,
        "group db: BLOCKED: it could not be stopped, and may still run; stop it by hand, then \
         `heartbeat cleanup`",
    ),
    (
        r#""event":"group","group":"db","state":"unblocked""#,
        "group db: unblocked",
    ),
    (
        r#""event":"group","group":"db","state":"broken""#,
        "group db: an interface of its addresses is missing, down or without carrier here",
    ),
    (
        r#""event":"group","group":"db","state":"mended""#,
        "group db: the interfaces of its addresses work again here",
    ),
    (
        r#""event":"takeover","vip":"web","free_ns":1,"majority_ns":2,"decided_ns":10000,"address_ns":190000,"announced_ns":230000"#,
        "vip web: taken over; address up 180 us after the decision, announced 220 us",
    ),
    (
        r#""event":"release","vip":"web","decided_ns":10000,"address_ns":190000"#,
        "vip web: released; address gone 180 us after the decision",
    ),
    (
        r#""event":"put-back","vip":"web","times":3,"message":"why""#,
        "vip web: why",
    ),
    (
        r#""event":"claimed","vip":"web","mac":"02:00:00:00:00:01","message":"why""#,
        "vip web: why",
    ),
    (
        r#""event":"stray","vip":"web","message":"why""#,
        "vip web: why",
    ),
    (
        r#""event":"vip-error","vip":"web","message":"why""#,
        "vip web: why",
    ),
    (
        r#""event":"interface","interface":"eth1","state":"lost","message":"why""#,
        "interface eth1: why",
    ),
    (
        r#""event":"socket-guard","state":"failed","message":"why""#,
        "guard at the sockets: why",
    ),
    (
        r#""event":"resource","resource":"apache","state":"started""#,
        "resource apache is started",
    ),
    (
        r#""event":"resource-failed","resource":"apache","action":"monitor","outcome":"not running (7)","message":"first\nlast""#,
        "resource apache: monitor FAILED: not running (7): last",
    ),
    (
        r#""event":"health","check":"disk","failure":"fatal","well":false,"message":"why""#,
        "health check disk FAILS (fatal): why",
    ),
    (
        r#""event":"health","check":"disk","failure":"fatal","well":true,"message":"why""#,
        "health check disk is well: why",
    ),
    (
        r#""event":"peer-health","node":"b","failing":[],"fatal":false"#,
        "node b: all its health checks are well",
    ),
    (
        r#""event":"peer-health","node":"b","failing":["disk"],"fatal":true"#,
        "node b: health check disk fails: it is to serve nothing",
    ),
    (
        r#""event":"decided","what":"group db is not to run""#,
        "decided by an operator: group db is not to run",
    ),
    (
        r#""event":"refused","node":"b","link":0,"bad_macs":0,"unknown_keys":49,"from":"02:00:00:00:00:01""#,
        "node b: link 0: dropped 0 heartbeats with a wrong tag and 49 under an unknown key, the last \
         from 02:00:00:00:00:01: do the keys differ, or is somebody forging them?",
    ),
    (
        r#""event":"config-version","version":3"#,
        "config_version 3 is in force: leases are claimed by a majority of its nodes",
    ),
    (
        r#""event":"keys","seals":2,"takes":[2,1],"mark":9"#,
        "the cluster's keys changed: key 2 seals, key 1 is taken too",
    ),
    (
        r#""event":"hook","on":"takeover","exec":"/bin/x","status":0,"message":"ended well""#,
        "hook /bin/x on takeover: ended well",
    ),
];

#[test]
fn an_event_of_every_kind_keeps_its_json_and_its_words() {
    for (fields, words) in EVENTS {
        let line = format!(r#"{{"number":7,"at_ns":1,{fields}}}"#);
        let event: Event = serde_json::from_str(&line).expect(&line);
        let shown = serde_json::to_value(&event).expect("JSON");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(shown, line);
        assert_eq!(event.what.to_string(), *words);
    }
}

#[test]
fn an_event_of_an_unknown_kind_is_refused() {
    let line = r#"{"number":7,"at_ns":1,"event":"miracle","group":"db"}"#;
    assert!(serde_json::from_str::<Event>(line).is_err());
    let known: Result<EventKind, _> = serde_json::from_str(r#"{"event":"started"}"#);
    assert_eq!(known.expect("JSON"), EventKind::Started);
}
