//! The configuration as an operator meets it: good files, bad files and what is said about them.

mod bad;
mod mutations;

use std::{path::Path, time::Duration};

use heartbeat_common::wire::{ClusterId, LinkId, NodeId};

use super::{Config, ConfigError, HookEvent, LocalLink, XdpMode, cluster::cluster_id};

const EXAMPLE: &str = include_str!("../../../../docs/heartbeat.toml.example");

/// A small good file; its lines are numbered in the tests below.
const GOOD: &str = r#"[cluster]
name = "web"
[[link]]
interface = "eth1"
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
[[vip]]
name = "site"
address = "10.0.0.100/24"
prefer = ["c"]
[[hook]]
on = "takeover"
exec = ["/bin/true", "x"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("hb.toml"), None, "b.example.org")
}

/// All that is said about `text`, which must be bad.
fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// `GOOD` with a piece replaced, which must be there.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_example_is_valid_and_means_what_it_says() {
    let config = Config::parse(EXAMPLE, Path::new("example"), None, "c").unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.cluster, "web");
    assert_eq!(config.cluster_id, ClusterId(cluster_id("web")));
    assert_eq!(
        (config.local().name.as_str(), config.local().id),
        ("c", NodeId(3))
    );
    let links: Vec<_> = config.local_links().collect();
    assert_eq!(
        links,
        [
            LocalLink {
                id: LinkId(0),
                interface: "ens3",
                address: "10.0.1.3".parse().unwrap(),
                mode: XdpMode::Auto
            },
            LocalLink {
                id: LinkId(1),
                interface: "ens4",
                address: "fd00:2::3".parse().unwrap(),
                mode: XdpMode::Auto
            },
        ]
    );
    assert_eq!(
        config.peers().map(|peer| peer.id.0).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(config.vips[0].rank, [NodeId(2), NodeId(1), NodeId(3)]);
    assert_eq!(
        (&*config.vips[0].interface, &*config.vips[1].interface),
        ("ens3", "ens4")
    );
    assert_eq!(config.hooks[0].on, [HookEvent::PeerDown, HookEvent::PeerUp]);
    assert_eq!(config.hooks[0].args, ["--cluster", "web"]);
}

/// What the example comments out is the default, but for the id and the node.
#[test]
fn the_examples_commented_settings_are_the_defaults() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let path = Path::new("example");
    let default = Config::parse(EXAMPLE, path, None, "a").unwrap();
    let explicit = Config::parse(&uncommented, path, None, "unknown").unwrap();
    assert_eq!(explicit.cluster_id, ClusterId(4242));
    assert_eq!(
        Config {
            cluster_id: default.cluster_id,
            ..explicit
        },
        default
    );
}

#[test]
fn a_short_file_gets_the_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.local().name, "b");
    assert_eq!((config.port, config.realtime_priority), (694, Some(50)));
    assert_eq!(config.interval, Duration::from_millis(10));
    assert_eq!(config.timeout, Duration::from_millis(30));
    assert_eq!(config.agent_stall, Duration::from_millis(500));
    assert_eq!(config.key, Path::new("/etc/heartbeat/key"));
    assert_eq!(config.socket(), Path::new("/run/heartbeat/default.sock"));
    assert_eq!(config.lock(), Path::new("/run/heartbeat/default.lock"));
    assert_eq!(config.state_dir(), Path::new("/var/lib/heartbeat/default"));
    assert_eq!(config.pin_dir(), Path::new("/sys/fs/bpf/heartbeat/default"));
    assert_eq!(config.hooks[0].timeout, Duration::from_secs(10));
    assert_eq!(config.vips[0].rank, [NodeId(3), NodeId(1), NodeId(2)]);
    assert_eq!(config.node(NodeId(3)), config.node_named("c"));
}

#[test]
fn defaults_follow_what_they_depend_on() {
    let config = parse(&with(
        "name = \"web\"",
        "name = \"web\"\ninterval = \"400ms\"",
    ))
    .unwrap();
    assert_eq!(config.timeout, Duration::from_millis(1_200));
    assert_eq!(config.agent_stall, config.timeout);
    let none = parse(&format!("{GOOD}[realtime]\npriority = 0\n")).unwrap();
    assert_eq!(none.realtime_priority, None);
}

#[test]
fn cluster_ids_are_fnv1a_of_the_name() {
    // Vectors of the FNV reference: "", "a", "foobar".
    assert_eq!(cluster_id(""), 0x811c_9dc5);
    assert_eq!(cluster_id("a"), 0xe40c_292c);
    assert_eq!(cluster_id("foobar"), 0xbf9c_f968);
}

#[test]
fn the_local_node_is_the_flags_then_the_files_then_the_hosts() {
    let named = with("name = \"web\"", "name = \"web\"\nnode = \"a\"");
    let local = |text: &str, node: Option<&str>, host: &str| {
        let config = Config::parse(text, Path::new("hb.toml"), node, host);
        config
            .map(|config| config.local().name.clone())
            .map_err(|error| error.to_string())
    };
    assert_eq!(local(&named, Some("c"), "b").unwrap(), "c");
    assert_eq!(local(&named, None, "b").unwrap(), "a");
    assert_eq!(local(GOOD, None, "b").unwrap(), "b");
    assert_eq!(local(GOOD, None, "c.a.b").unwrap(), "c");

    let whole = with("name = \"a\"", "name = \"c.a.b\"");
    assert_eq!(local(&whole, None, "c.a.b").unwrap(), "c.a.b");

    let error = local(GOOD, Some("d"), "b").unwrap_err();
    assert_eq!(
        error,
        "hb.toml: --node \"d\": no node has this name\n  known: a, b, c"
    );
    let error = local(&named.replace("\"a\"\n[[l", "\"node-a\"\n[[l"), None, "b").unwrap_err();
    assert!(
        error.starts_with("hb.toml:3:8: [cluster]: node \"node-a\": no node"),
        "{error}"
    );
    let error = local(GOOD, None, "d.example.org").unwrap_err();
    assert!(
        error.contains("hb.toml:1:1: no node is named \"d.example.org\""),
        "{error}"
    );
    assert!(
        error.contains("known: a, b, c") && error.contains("--node NAME"),
        "{error}"
    );
    assert!(
        local(GOOD, None, "")
            .unwrap_err()
            .contains("no node is named \"\"")
    );
}

#[test]
fn all_problems_are_reported_in_the_files_order() {
    let bad = with("name = \"web\"", "name = \"w b\"\ntimeout = \"1h\"")
        .replace("10.0.0.2", "10.0.0.1")
        .replace("[\"c\"]", "[\"d\"]")
        .replace("id = 3", "id = 1\nrank = 7");
    let said = complaint(&bad);
    let places: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("hb.toml:")?.split(": ").next())
        .collect();
    assert_eq!(
        places,
        ["2:8", "3:11", "13:14", "16:6", "17:1", "22:11"],
        "{said}"
    );
}

#[test]
fn an_empty_file_says_what_is_needed() {
    let said = complaint("");
    for table in [
        "`cluster` is missing",
        "`link` is missing",
        "`node` is missing",
        "[[node]]",
    ] {
        assert!(said.contains(table), "{said}");
    }
    assert!(complaint("link = []").contains("`link` is missing"));
}

#[test]
fn unwise_settings_are_warnings() {
    let warnings = |text: &str| -> String {
        parse(text)
            .unwrap()
            .warnings
            .iter()
            .map(|warning| format!("{warning}\n"))
            .collect()
    };
    assert_eq!(warnings(GOOD), "");
    let tight = warnings(&with(
        "name = \"web\"",
        "name = \"web\"\ntimeout = \"20ms\"",
    ));
    assert!(
        tight.starts_with("hb.toml:3:11: [cluster]: timeout 20ms is below three intervals, 30ms")
    );

    let (two, _) = GOOD.split_once("[[node]]\nname = \"c\"").unwrap();
    let said = warnings(two);
    assert!(
        said.contains("hb.toml:5:1: two nodes cannot form a majority without each other"),
        "{said}"
    );
    assert!(said.contains("add a third node"), "{said}");
    let one = two
        .split_once("[[node]]\nname = \"a\"\nid = 1\naddresses = [\"10.0.0.1\"]\n")
        .unwrap();
    assert!(warnings(&format!("{}{}", one.0, one.1)).contains("a single node has nobody"));
    let four = format!("{GOOD}[[node]]\nname = \"d\"\nid = 4\naddresses = [\"10.0.0.4\"]\n");
    assert!(warnings(&four).contains("4 nodes outlive the loss of 1, no more than 3 nodes do"));
}

#[test]
fn sizes_have_limits() {
    let many = |nodes: usize| {
        let mut text = "[cluster]\nname = \"w\"\n[[link]]\ninterface = \"eth1\"\n".to_owned();
        for n in 1..=nodes {
            text += &format!(
                "[[node]]\nname = \"n{n}\"\nid = {n}\naddresses = [\"10.0.{}.{}\"]\n",
                n / 250,
                n % 250 + 1
            );
        }
        Config::parse(&text, Path::new("hb.toml"), Some("n1"), "")
    };
    assert_eq!(many(1_025).unwrap().peers().count(), 1_024);
    let said = many(1_026).unwrap_err().to_string();
    assert!(
        said.contains("hb.toml:5:1: there are 1026 nodes, but no more than 1025 work"),
        "{said}"
    );

    let links: String = (0..300)
        .map(|n| format!("[[link]]\ninterface = \"e{n}\"\n"))
        .collect();
    let said = complaint(&GOOD.replace("[[link]]\ninterface = \"eth1\"\n", &links));
    assert!(
        said.contains("hb.toml:19:1: link 8: there are 300 links, but no more than 8 work"),
        "{said}"
    );

    let run = format!("[paths]\nrun = \"/{}\"\n", "r".repeat(93));
    assert!(parse(&format!("{GOOD}{run}")).is_ok());
    let said = complaint(&format!("{GOOD}{}", run.replace("rr\"", "rrr\"")));
    assert!(
        said.contains("hb.toml:25:7: [paths]: run makes the control socket's path 108 bytes"),
        "{said}"
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = Config::load(Path::new("/nonexistent/hb.toml"), None)
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("/nonexistent/hb.toml: No such file"),
        "{missing}"
    );
    assert!(missing.contains("heartbeat.toml.example"), "{missing}");

    let path = std::env::temp_dir().join(format!("heartbeat-utf8-{}.toml", std::process::id()));
    std::fs::write(&path, b"[cluster]\nname = \"\xff\"\n").unwrap();
    let said = Config::load(&path, None).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(said.contains(":2:9: the file is not UTF-8"), "{said}");
}
