//! The fields of the file: their names, and how messages show them written.

use super::read::Field;

pub(super) const CLUSTER: Field = Field::new("cluster", "[cluster]");
pub(super) const PATHS: Field = Field::new("paths", "[paths]");
pub(super) const REALTIME: Field = Field::new("realtime", "[realtime]");
pub(super) const DEFAULTS: Field = Field::new("defaults", "[defaults]");
pub(super) const LINK: Field = Field::new("link", "[[link]], with two brackets");
pub(super) const NODE: Field = Field::new("node", "[[node]], with two brackets");
pub(super) const VIP: Field = Field::new("vip", "[[vip]], with two brackets");
pub(super) const GROUP: Field = Field::new(
    "group",
    "[[group]], with two brackets, above its [[group.resource]]s",
);
pub(super) const LOCATION: Field = Field::new("location", "[[location]], with two brackets");
pub(super) const COLOCATION: Field = Field::new("colocation", "[[colocation]], with two brackets");
pub(super) const ORDER: Field = Field::new("order", "[[order]], with two brackets");
pub(super) const HOOK: Field = Field::new("hook", "[[hook]], with two brackets");
pub(super) const HEALTH: Field = Field::new("health", "[[health]], with two brackets");
pub(super) const LOAD: Field = Field::new("load", "[load]");
pub(super) const PLACEMENT: Field = Field::new("placement", "[placement]");
/// The table; of a group there is [`REBALANCED`].
pub(super) const REBALANCE: Field = Field::new("rebalance", "[rebalance], with its bounds below");

pub(super) const CLUSTER_NAME: Field = Field::new("name", r#"name = "web""#);
pub(super) const CLUSTER_ID: Field = Field::new("id", "id = 4242");
pub(super) const CLUSTER_NODE: Field = Field::new("node", r#"node = "a""#);
pub(super) const INSTANCE: Field = Field::new("instance", r#"instance = "default""#);
pub(super) const KEY: Field = Field::new("key", r#"key = "/etc/heartbeat/key""#);
pub(super) const PORT: Field = Field::new("port", "port = 694");
pub(super) const CONFIG_VERSION: Field = Field::new(
    "config_version",
    "config_version = 2: one more than before the [[node]]s changed",
);
pub(super) const INTERVAL: Field = Field::new(
    "interval",
    r#"interval = "10ms": a number with its unit, in quotes"#,
);
pub(super) const TIMEOUT: Field = Field::new(
    "timeout",
    r#"timeout = "30ms": a number with its unit, in quotes"#,
);
pub(super) const AGENT_STALL: Field = Field::new(
    "agent_stall",
    r#"agent_stall = "2s": a number with its unit, in quotes"#,
);
pub(super) const LEASE: Field = Field::new(
    "lease",
    r#"lease = "60ms": a number with its unit, in quotes"#,
);
pub(super) const MAX_LEASE: Field = Field::new(
    "max_lease",
    r#"max_lease = "1s": a number with its unit, in quotes"#,
);
pub(super) const DRIFT: Field = Field::new("drift", "drift = 1000: parts per million");
pub(super) const AUTO_FAILBACK: Field = Field::new("auto_failback", "auto_failback = true");
pub(super) const MAINTENANCE: Field = Field::new("maintenance", "maintenance = true");
pub(super) const ACCEPT_CONFIGURATION: Field =
    Field::new("accept_configuration", "accept_configuration = true");
pub(super) const ACCEPT_DOUBLE_RUN: Field =
    Field::new("accept_double_run", "accept_double_run = true");
/// Of a group, for all of its resources, or of one of them.
pub(super) const EXCLUSIVE: Field = Field::new("exclusive", "exclusive = false");

pub(super) const STICKINESS: Field = Field::new("stickiness", r#"stickiness = 100 or "inf""#);
pub(super) const MIGRATION_THRESHOLD: Field =
    Field::new("migration_threshold", "migration_threshold = 3");
pub(super) const FAILURE_TIMEOUT: Field =
    Field::new("failure_timeout", r#"failure_timeout = "10min" or "never""#);

pub(super) const RUN: Field = Field::new("run", r#"run = "/run/heartbeat""#);
pub(super) const STATE: Field = Field::new("state", r#"state = "/var/lib/heartbeat""#);
pub(super) const PRIORITY: Field = Field::new("priority", "priority = 50");

pub(super) const INTERFACE: Field = Field::new("interface", r#"interface = "eth1""#);
pub(super) const MODE: Field = Field::new("mode", r#"mode = "auto""#);

pub(super) const NODE_NAME: Field = Field::new("name", r#"name = "a""#);
pub(super) const NODE_ID: Field = Field::new("id", "id = 1");
pub(super) const ROLE: Field = Field::new("role", r#"role = "witness""#);
pub(super) const ADDRESSES: Field =
    Field::list("addresses", "address", r#"addresses = ["10.0.0.1"]"#);
pub(super) const INTERFACES: Field =
    Field::list("interfaces", "interface", r#"interfaces = ["ens3"]"#);

pub(super) const CAPACITY: Field = Field::new("capacity", "capacity = { cpu = 4, memory = 16 }");

pub(super) const VIP_NAME: Field = Field::new("name", r#"name = "web""#);
pub(super) const ADDRESS: Field = Field::new("address", r#"address = "10.0.0.100/24""#);
pub(super) const PREFER: Field = Field::new("prefer", r#"prefer = ["a", "b"]"#);

pub(super) const DEMAND: Field = Field::new("demand", "demand = { cpu = 1, memory = 4 }");
pub(super) const REBALANCED: Field = Field::new("rebalance", "rebalance = false");

pub(super) const GROUP_NAME: Field = Field::new("name", r#"name = "web""#);
pub(super) const RESOURCE: Field =
    Field::new("resource", "[[group.resource]], below its [[group]]");
pub(super) const RESOURCE_NAME: Field = Field::new("name", r#"name = "webserver""#);
pub(super) const TYPE: Field = Field::new("type", r#"type = "ocf:heartbeat:apache""#);
pub(super) const START_TIMEOUT: Field = Field::new(
    "start_timeout",
    r#"start_timeout = "40s": a number with its unit, in quotes"#,
);
pub(super) const STOP_TIMEOUT: Field = Field::new(
    "stop_timeout",
    r#"stop_timeout = "60s": a number with its unit, in quotes"#,
);
pub(super) const MONITOR_TIMEOUT: Field = Field::new(
    "monitor_timeout",
    r#"monitor_timeout = "20s": a number with its unit, in quotes"#,
);
pub(super) const MONITOR_INTERVAL: Field =
    Field::new("monitor_interval", r#"monitor_interval = "10s" or "never""#);
pub(super) const PIDFILE: Field = Field::new("pidfile", r#"pidfile = "/run/apache2.pid""#);
pub(super) const PARAMS: Field = Field::list(
    "params",
    "parameter",
    r#"params = { ip = "10.0.0.100", nic = "eth1" }"#,
);
pub(super) const USER: Field = Field::new("user", r#"user = "postgres""#);
pub(super) const RUN_GROUP: Field = Field::new("group", r#"group = "postgres""#);
pub(super) const ENVIRONMENT: Field = Field::list(
    "environment",
    "variable",
    r#"environment = { PGDATA = "/srv/pg", LANG = "C.UTF-8" }"#,
);
pub(super) const DIRECTORY: Field = Field::new("directory", r#"directory = "/srv/pg""#);
pub(super) const STOP_SIGNAL: Field = Field::new("stop_signal", r#"stop_signal = "SIGINT""#);
pub(super) const LIMITS: Field = Field::list(
    "limits",
    "limit",
    r#"limits = { nofile = 65536, core = "unlimited" }"#,
);
pub(super) const CHECK_LEVEL: Field = Field::new("check_level", "check_level = 10");
pub(super) const PROGRAM: Field = Field::new("run", r#"run = ["/usr/local/bin/worker"]"#);
pub(super) const START: Field = Field::new("start", r#"start = ["/usr/local/bin/db", "start"]"#);
pub(super) const STOP: Field = Field::new("stop", r#"stop = ["/usr/local/bin/db", "stop"]"#);
pub(super) const CHECK: Field = Field::new("check", r#"check = ["/usr/local/bin/db", "check"]"#);

pub(super) const OF_GROUP: Field = Field::new("group", r#"group = "web""#);
pub(super) const ON_NODE: Field = Field::new("node", r#"node = "a""#);
pub(super) const WITH: Field = Field::new("with", r#"with = "db""#);
pub(super) const SCORE: Field = Field::new("score", r#"score = 100, "inf" or "-inf""#);
pub(super) const FIRST: Field = Field::new("first", r#"first = "db""#);
pub(super) const THEN: Field = Field::new("then", r#"then = "web""#);
pub(super) const KIND: Field = Field::new("kind", r#"kind = "mandatory""#);

pub(super) const ON: Field = Field::new("on", r#"on = "peer-down""#);
pub(super) const EXEC: Field = Field::new("exec", r#"exec = ["/usr/local/bin/notify"]"#);
pub(super) const HOOK_TIMEOUT: Field = Field::new(
    "timeout",
    r#"timeout = "10s": a number with its unit, in quotes"#,
);

pub(super) const CHECK_NAME: Field = Field::new("name", r#"name = "disk""#);
pub(super) const CHECK_TYPE: Field = Field::new("type", r#"type = "tcp""#);
pub(super) const CHECK_EXEC: Field =
    Field::new("exec", r#"exec = ["/usr/local/bin/is-well", "--fast"]"#);
pub(super) const CHECK_ADDRESS: Field = Field::new("address", r#"address = "127.0.0.1:5432""#);
pub(super) const URL: Field = Field::new("url", r#"url = "http://127.0.0.1:8080/healthz""#);
pub(super) const PROCESS: Field = Field::new("process", r#"process = "haproxy""#);
pub(super) const UNIT: Field = Field::new("unit", r#"unit = "haproxy.service""#);
pub(super) const PATH: Field = Field::new("path", r#"path = "/var/lib/postgresql""#);
pub(super) const CHECK_INTERVAL: Field = Field::new(
    "interval",
    r#"interval = "1s": a number with its unit, in quotes"#,
);
pub(super) const CHECK_TIMEOUT: Field = Field::new(
    "timeout",
    r#"timeout = "1s": a number with its unit, in quotes"#,
);
pub(super) const RISE: Field = Field::new("rise", "rise = 2");
pub(super) const FALL: Field = Field::new("fall", "fall = 2");
pub(super) const FAILURE: Field = Field::new("failure", r#"failure = "degraded""#);

pub(super) const SOURCE: Field = Field::new("source", r#"source = "host""#);
pub(super) const COMMAND: Field = Field::new(
    "command",
    r#"command = ["/usr/local/bin/load", "--per-mille"]"#,
);
pub(super) const CGROUP: Field = Field::new("cgroup", r#"cgroup = "/sys/fs/cgroup/system.slice""#);
pub(super) const LOAD_INTERVAL: Field = Field::new(
    "interval",
    r#"interval = "1s": a number with its unit, in quotes"#,
);
pub(super) const HALF_LIFE: Field = Field::new(
    "half_life",
    r#"half_life = "5s": a number with its unit, in quotes"#,
);
pub(super) const AGENT_CHECK: Field =
    Field::new("agent_check", r#"agent_check = "127.0.0.1:6949""#);

pub(super) const STRATEGY: Field = Field::new("strategy", r#"strategy = "least-loaded""#);
pub(super) const DEGRADED_POINTS: Field = Field::new("degraded_points", "degraded_points = 100");
pub(super) const HIGH: Field = Field::new("high", "high = 800: per mille");
pub(super) const LOW: Field = Field::new("low", "low = 500: per mille");
pub(super) const HOLD: Field =
    Field::new("hold", r#"hold = "30s": a number with its unit, in quotes"#);
pub(super) const COOLDOWN: Field = Field::new(
    "cooldown",
    r#"cooldown = "5min": a number with its unit, in quotes"#,
);

/// The file's top level.
pub(super) const TOP: [Field; 16] = [
    CLUSTER, PATHS, REALTIME, LINK, NODE, DEFAULTS, VIP, GROUP, LOCATION, COLOCATION, ORDER, HOOK,
    HEALTH, LOAD, PLACEMENT, REBALANCE,
];
