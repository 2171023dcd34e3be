//! Health checks, load, placement and rebalancing, as the file says them.

use std::{path::PathBuf, time::Duration};

use super::{
    super::{
        HealthCheck, HealthKind, HttpTarget, Load, LoadSource, Meaning, Policy, ProcessName,
        Rebalance, Strategy,
    },
    EXAMPLE, GOOD,
    bad::{Case, assert_said},
    complaint, parse,
};
use heartbeat_core::index::GroupIndex;

const SECOND: Duration = Duration::from_secs(1);

/// To follow `GOOD`, from line 24.
const CHECKS: &str = r#"[[health]]
name = "api"
type = "http"
url = "http://localhost:8080/healthz"
[[health]]
name = "db"
type = "process"
unit = "postgresql"
interval = "100ms"
timeout = "60min"
rise = 1
fall = 1000
failure = "degraded"
[load]
source = "cgroup"
cgroup = "/sys/fs/cgroup/web.slice"
half_life = "0s"
agent_check = "[::1]:6949"
[placement]
strategy = "least-loaded"
degraded_points = 0
[rebalance]
high = 700
low = 600
hold = "1s"
cooldown = "0s"
"#;

fn checks(from: &str, to: &str) -> String {
    assert!(CHECKS.contains(from), "{from}");
    format!("{GOOD}{}", CHECKS.replacen(from, to, 1))
}

#[test]
fn file_without_checks_gets_the_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.health, []);
    assert_eq!(config.load, Load::default());
    assert_eq!(config.placement, Policy::default());
    assert!(config.utilization.is_empty());
    assert!(
        config.groups[GroupIndex(0)].rebalance && config.groups[GroupIndex(0)].demand.is_empty()
    );
    let rebalance = parse(&format!("{GOOD}[rebalance]\n")).unwrap().placement;
    let default = Rebalance {
        high: 800,
        low: 500,
        hold: 30 * SECOND,
        cooldown: 300 * SECOND,
    };
    assert_eq!(rebalance.rebalance, Some(default));
}

#[test]
fn settings_of_the_file_are_taken() {
    let config = parse(&checks("", "")).unwrap();
    let target = HttpTarget {
        address: "127.0.0.1:8080".parse().unwrap(),
        host: "localhost:8080".to_owned(),
        path: "/healthz".to_owned(),
    };
    let api = HealthCheck {
        name: "api".to_owned(),
        kind: HealthKind::Http(target),
        interval: SECOND,
        timeout: SECOND,
        rise: 2,
        fall: 2,
        meaning: Meaning::Fatal,
    };
    let db = HealthCheck {
        name: "db".to_owned(),
        kind: HealthKind::Process(ProcessName::Unit("postgresql.service".to_owned())),
        interval: SECOND / 10,
        timeout: 3_600 * SECOND,
        rise: 1,
        fall: 1_000,
        meaning: Meaning::Degraded,
    };
    assert_eq!(config.health, [api, db]);
    let load = Load {
        source: LoadSource::Cgroup(PathBuf::from("/sys/fs/cgroup/web.slice")),
        interval: SECOND,
        half_life: Duration::ZERO,
        agent_check: Some("[::1]:6949".parse().unwrap()),
    };
    assert_eq!(config.load, load);
    let rebalance = Rebalance {
        high: 700,
        low: 600,
        hold: SECOND,
        cooldown: Duration::ZERO,
    };
    let placement = Policy {
        strategy: Strategy::LeastLoaded,
        degraded_points: 0,
        rebalance: Some(rebalance),
    };
    assert_eq!(config.placement, placement);
}

#[test]
fn each_type_of_check_has_its_own_field() {
    let kind = |fields: &str| {
        let text = format!("{GOOD}[[health]]\nname = \"x\"\n{fields}\n");
        parse(&text).unwrap().health.remove(0).kind
    };
    assert_eq!(
        kind("type = \"exec\"\nexec = [\"/bin/true\", \"x\"]"),
        HealthKind::Exec(vec!["/bin/true".to_owned(), "x".to_owned()])
    );
    assert_eq!(
        kind("type = \"tcp\"\naddress = \"[::1]:5432\""),
        HealthKind::Tcp("[::1]:5432".parse().unwrap())
    );
    assert_eq!(
        kind("type = \"process\"\npidfile = \"/run/x.pid\""),
        HealthKind::Process(ProcessName::PidFile(PathBuf::from("/run/x.pid")))
    );
    assert_eq!(
        kind("type = \"process\"\nprocess = \"haproxy\""),
        HealthKind::Process(ProcessName::Name("haproxy".to_owned()))
    );
    assert_eq!(
        kind("type = \"disk\"\npath = \"/var\""),
        HealthKind::Disk(PathBuf::from("/var"))
    );
    assert_eq!(
        kind("type = \"interface\"\ninterface = \"eth1\""),
        HealthKind::Interface("eth1".to_owned())
    );
}

#[test]
fn each_source_of_load_has_its_own_field() {
    let source = |fields: &str| {
        let text = format!("{GOOD}[load]\n{fields}\n");
        parse(&text).unwrap().load.source
    };
    assert_eq!(source(""), LoadSource::Host);
    assert_eq!(source("source = \"host\""), LoadSource::Host);
    assert_eq!(source("source = \"run-queue\""), LoadSource::RunQueue);
    assert_eq!(
        source("source = \"command\"\ncommand = [\"/bin/echo\", \"7\"]"),
        LoadSource::Command(vec!["/bin/echo".to_owned(), "7".to_owned()])
    );
}

#[rustfmt::skip]
const BAD: &[Case] = &[
    ("name = \"db\"", "name = \"api\"",
     &["hb.toml:29:8: health check \"api\": name \"api\" is already used by health check \"api\" \
        (line 25)"]),
    ("name = \"db\"", "", &["hb.toml:28:1: health check number 2: `name` is missing"]),
    ("type = \"http\"", "",
     &["hb.toml:24:1: health check \"api\": `type` is missing\n  add it, as in type = \"tcp\""]),
    ("type = \"http\"", "type = \"htpp\"",
     &["hb.toml:26:8: health check \"api\": type \"htpp\" is no type of health check\n  did you \
        mean \"http\"?"]),
    ("type = \"http\"", "type = \"snmp\"",
     &["use one of exec, tcp, http, process, disk, interface"]),
    ("rise = 1", "raise = 1",
     &["hb.toml:34:1: health check \"db\": unknown field `raise`\n  did you mean `rise`?"]),
    ("rise = 1", "rise = 0", &["hb.toml:34:8: health check \"db\": rise 0 is not from 1 to 1000"]),
    ("fall = 1000", "fall = 1001", &["fall 1001 is not from 1 to 1000"]),
    ("interval = \"100ms\"", "interval = \"99ms\"",
     &["hb.toml:32:12: health check \"db\": interval \"99ms\" is below 100ms"]),
    ("interval = \"100ms\"", "interval = \"61min\"", &["interval \"61min\" is above 60min"]),
    ("timeout = \"60min\"", "timeout = \"0s\"",
     &["hb.toml:33:11: health check \"db\": timeout \"0s\" is below 1ms"]),
    ("timeout = \"60min\"", "timeout = 1",
     &["timeout must be a quoted string; got the integer 1",
       "timeout = \"1s\": a number with its unit"]),
    ("\"degraded\"", "\"degrade\"",
     &["hb.toml:36:11: health check \"db\": failure \"degrade\" is not what a failure can mean\n  \
        did you mean \"degraded\"?"]),
    ("unit = \"postgresql\"", "unit = \"postgresql\"\nurl = \"http://localhost/\"",
     &["hb.toml:32:7: health check \"db\": url belongs to checks of type http, not to one of type \
        process\n  remove it, or correct type"]),
    ("unit = \"postgresql\"", "unit = \"postgresql@\"",
     &["is a template, of which no instance is named\n  name one, as in \"postgresql@main\""]),
    ("unit = \"postgresql\"", "unit = \"data.mount\"",
     &["hb.toml:31:8: ", "unit \"data.mount\" has no main process: only services do",
       "name a .service"]),
    ("unit = \"postgresql\"", "",
     &["hb.toml:28:1: health check \"db\": a check of type process has neither `pidfile` nor \
        `process` nor `unit`"]),
    ("unit = \"postgresql\"", "unit = \"postgresql\"\nprocess = \"postgres\"",
     &["hb.toml:31:8: health check \"db\": process and unit exclude each other\n  keep one"]),
    ("unit = \"postgresql\"", "process = \"/usr/bin/postgres\"",
     &["is not a process's name", "/proc/PID/comm"]),
    ("unit = \"postgresql\"", "process = \"systemd-networkd\"",
     &["is longer than the 15 bytes", "probably \"systemd-network\""]),
    ("unit = \"postgresql\"", "pidfile = \"x.pid\"",
     &["pidfile \"x.pid\" is not an absolute path"]),
    ("url = \"http://localhost:8080/healthz\"", "",
     &["hb.toml:24:1: health check \"api\": `url` is missing", "http://127.0.0.1:8080/healthz"]),
    ("http://localhost", "https://localhost",
     &["hb.toml:27:7: health check \"api\": url", "asks for TLS"]),
    ("http://localhost", "http://www.example.org",
     &["does not name an IP address", "names are not looked up"]),
    ("http://localhost", "http://admin@localhost", &["holds a user"]),
    ("8080", "0", &["has no usable port"]),
    ("type = \"http\"\nurl = \"http://localhost:8080/healthz\"",
     "type = \"tcp\"\naddress = \"10.0.0.1\"",
     &["address \"10.0.0.1\" has no port"]),
    ("type = \"http\"\nurl = \"http://localhost:8080/healthz\"",
     "type = \"tcp\"\naddress = \"0.0.0.0:1\"",
     &["is nobody's address"]),
    ("type = \"http\"\nurl = \"http://localhost:8080/healthz\"",
     "type = \"exec\"\nexec = [\"true\"]",
     &["hb.toml:27:9: health check \"api\": exec \"true\" is not an absolute path"]),
    ("type = \"http\"\nurl = \"http://localhost:8080/healthz\"", "type = \"disk\"\npath = \"data\"",
     &["path \"data\" is not an absolute path"]),
    ("type = \"http\"\nurl = \"http://localhost:8080/healthz\"",
     "type = \"interface\"\ninterface = \"a b\"",
     &["interface \"a b\" is not an interface name"]),
    ("[[health]]\nname = \"db\"", "[health]\nname = \"db\"", &["duplicate key"]),
    ("[load]", "[[load]]", &["load must be a table; got an array\n  write it as in [load]"]),
    ("source = \"cgroup\"", "source = \"cgruop\"",
     &["hb.toml:38:10: [load]: source \"cgruop\" is no source of load\n  did you mean \
        \"cgroup\"?"]),
    ("source = \"cgroup\"", "source = \"snmp\"", &["use one of host, cgroup, run-queue, command"]),
    ("source = \"cgroup\"", "",
     &["hb.toml:39:10: [load]: cgroup belongs to source = \"cgroup\", but the source is host\n  \
        write source = \"cgroup\", or remove it"]),
    ("cgroup = \"/sys/fs/cgroup/web.slice\"", "", &["[load]: `cgroup` is missing"]),
    ("cgroup = \"/sys/fs/cgroup/web.slice\"", "cgroup = \"web.slice\"",
     &["cgroup \"web.slice\" is not an absolute path"]),
    ("source = \"cgroup\"\ncgroup = \"/sys/fs/cgroup/web.slice\"",
     "source = \"command\"\ncommand = []",
     &["command is empty"]),
    ("half_life = \"0s\"", "half_life = \"11min\"", &["half_life \"11min\" is above 10min"]),
    ("\"[::1]:6949\"", "\"localhost:6949\"",
     &["hb.toml:41:15: [load]: agent_check \"localhost:6949\" is not an IP address with a port\n  \
        write it as in 127.0.0.1:6949 or [::1]:6949"]),
    ("\"[::1]:6949\"", "\"[::1]:0\"",
     &["agent_check \"[::1]:0\" is not an IP address with a port"]),
    ("half_life = \"0s\"", "interval = \"2min\"", &["interval \"2min\" is above 1min"]),
    ("\"least-loaded\"", "\"least-load\"",
     &["hb.toml:43:12: [placement]: strategy \"least-load\" is no strategy\n  did you mean \
        \"least-loaded\"?"]),
    ("\"least-loaded\"", "\"random\"",
     &["use one of preferred, least-loaded, spread, utilization"]),
    ("degraded_points = 0", "degraded_points = 1000001",
     &["degraded_points 1000001 is not from 0 to 1000000"]),
    ("low = 600", "low = 601",
     &["hb.toml:47:7: [rebalance]: low 601 is not 100 below high 700: a group that moves would \
        soon have to go again\n  write low = 600 or less, or raise high"]),
    ("high = 700\nlow = 600", "high = 599",
     &["hb.toml:46:8: [rebalance]: low 500 is not 100 below high 599"]),
    ("high = 700", "high = 1001", &["high 1001 is not from 100 to 1000"]),
    ("low = 600", "low = 901", &["low 901 is not from 0 to 900"]),
    ("hold = \"1s\"", "hold = \"999ms\"",
     &["hb.toml:48:8: [rebalance]: hold 999ms is below the interval of [load], 1s: a single sample \
        would decide\n  write hold = \"1s\" or more"]),
    ("hold = \"1s\"", "hold = \"61min\"", &["hold \"61min\" is above 60min"]),
    ("cooldown = \"0s\"", "cooldown = \"1441min\"", &["cooldown \"1441min\" is above 1440min"]),
    ("[rebalance]", "[rebalnce]", &["unknown field `rebalnce`\n  did you mean `rebalance`?"]),
];

#[test]
fn bad_check_or_setting_is_named_with_its_place_and_remedy() {
    assert_said(BAD, checks);
}

#[test]
fn mistake_in_a_check_is_reported_once() {
    let twice = ["high = 1001", "low = 901"];
    for (from, to, _) in BAD.iter().filter(|case| !twice.contains(&case.1)) {
        let said = complaint(&checks(from, to));
        assert!(said.lines().count() <= 2, "`{to}`:\n{said}");
    }
}

#[test]
fn hold_must_see_several_heartbeats() {
    let slow = |hold: &str| {
        let text = checks("hold = \"1s\"", hold);
        text.replacen("name = \"web\"", "name = \"web\"\ninterval = \"10s\"", 1)
    };
    let said = complaint(&slow("hold = \"39s\""));
    assert!(
        said.contains("hold 39s is below four heartbeats, 40s: the others' loads come with these"),
        "{said}"
    );
    let config = parse(&slow("")).unwrap();
    assert_eq!(config.placement.rebalance.unwrap().hold, 40 * SECOND);
}

#[test]
fn heartbeats_have_bits_for_fifteen_checks() {
    let many = |count: usize| -> String {
        let check = |n| {
            format!("[[health]]\nname = \"h{n}\"\ntype = \"interface\"\ninterface = \"eth1\"\n")
        };
        GOOD.to_owned() + &(1..=count).map(check).collect::<String>()
    };
    assert_eq!(parse(&many(15)).unwrap().health.len(), 15);
    let said = complaint(&many(17));
    assert!(
        said.starts_with(
            "hb.toml:84:1: health check \"h16\": there are 17 health checks, but heartbeats have \
             bits for no more than 15"
        ),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2);
}

#[test]
fn example_has_checks_load_and_placement() {
    let config = parse(&EXAMPLE.replace("#node = \"a\"", "node = \"a\"")).unwrap();
    let kinds: Vec<_> = config
        .health
        .iter()
        .map(|check| check.kind.name())
        .collect();
    assert_eq!(
        kinds,
        ["http", "tcp", "process", "disk", "interface", "exec"]
    );
    assert_eq!(config.utilization, ["cpu", "memory"]);
    assert_eq!(config.placement.rebalance.unwrap().high, 800);
}
