//! The configuration as an operator meets it: good files, bad files and what is said about them.

mod bad;
mod constraints;
mod difference;
mod digest;
mod exclusive;
mod execution;
mod groups;
mod limits;
mod mutations;
mod utilization;
mod vitals;

use std::{path::Path, time::Duration};

use heartbeat_common::wire::{ClusterId, GroupId, LinkId, NodeId};

use super::{
    Config, ConfigError, HookEvent, LocalLink, Role, XdpMode,
    groups::{group_id, lease_id},
    ids::cluster_id,
};
use heartbeat_core::index::{GroupIndex, VipIndex};

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

/// Two groups to follow it, from line 24.
const GROUPS: &str = r#"[[group]]
name = "web"
prefer = ["b"]
[[group.resource]]
name = "webip"
type = "vip"
address = "10.0.0.101/24"
[[group.resource]]
name = "apache"
type = "ocf:heartbeat:apache"
params = { user = "www", port = 80, tls = true }
[[group.resource]]
name = "worker"
type = "exec"
run = ["/bin/sleep", "inf"]
[[group]]
name = "db"
[[group.resource]]
name = "store"
type = "systemd:haproxy"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("hb.toml"), None, "b.example.org")
}

/// All that is said about `text`, which must be bad.
fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A file without VIPs, with a node for each of up to four `roles`; the first is the local one.
fn nodes(roles: &[&str]) -> String {
    let node = |(n, role): (usize, &&str)| {
        let name = ["b", "c", "d", "e"][n - 1];
        format!(
            "[[node]]\nname = \"{name}\"\nid = {n}\nrole = \"{role}\"\n\
             addresses = [\"10.0.0.{n}\"]\n"
        )
    };
    let head = "[cluster]\nname = \"web\"\n[[link]]\ninterface = \"eth1\"\n".to_owned();
    head + &(1..).zip(roles).map(node).collect::<String>()
}

/// `GOOD` with a piece replaced, which must be there.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// `GOOD` and `GROUPS`, of which a piece is replaced, which must be there.
fn with_groups(from: &str, to: &str) -> String {
    assert!(GROUPS.contains(from), "{from}");
    format!("{GOOD}{}", GROUPS.replacen(from, to, 1))
}

#[test]
fn example_is_valid_and_means_what_it_says() {
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
    assert_eq!(
        config.groups[GroupIndex(0)].rank,
        [NodeId(2), NodeId(1), NodeId(3)]
    );
    let groups: Vec<_> = config.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(groups, ["site", "site-v6", "db", "web"]);
    let vips: Vec<_> = config.vips.iter().map(|vip| &*vip.name).collect();
    assert_eq!(vips, ["site", "site-v6", "db-ip"]);
    assert_eq!(
        (
            &*config.vips[VipIndex(0)].interface,
            &*config.vips[VipIndex(1)].interface
        ),
        ("ens3", "ens4")
    );
    assert_eq!(config.hooks[0].on, [HookEvent::PeerDown, HookEvent::PeerUp]);
    assert_eq!(config.hooks[0].args, ["--cluster", "web"]);
}

/// The commented-out lines of the example are the defaults, except the id and the node.
#[test]
fn examples_commented_settings_are_the_defaults() {
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
fn short_file_gets_the_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.local().name, "b");
    assert_eq!((config.port, config.realtime_priority), (694, Some(60)));
    assert_eq!(config.interval, Duration::from_millis(10));
    assert_eq!(config.timeout, Duration::from_millis(30));
    assert_eq!(config.agent_stall, Duration::from_secs(2));
    assert_eq!(config.lease, Duration::from_millis(60));
    assert_eq!(config.max_lease, Duration::from_secs(1));
    assert_eq!((config.drift_ppm, config.auto_failback), (1_000, true));
    assert_eq!(config.key, Path::new("/etc/heartbeat/key"));
    assert_eq!(config.socket(), Path::new("/run/heartbeat/default.sock"));
    assert_eq!(config.lock(), Path::new("/run/heartbeat/default.lock"));
    assert_eq!(
        config.state_dir(),
        Path::new("/var/lib/heartbeat-xdp/default")
    );
    assert_eq!(config.pin_dir(), Path::new("/sys/fs/bpf/heartbeat/default"));
    assert_eq!(config.hooks[0].timeout, Duration::from_secs(10));
    assert_eq!(
        config.groups[GroupIndex(0)].rank,
        [NodeId(3), NodeId(1), NodeId(2)]
    );
    assert_eq!(config.vips[VipIndex(0)].group, group_id("site"));
    assert_eq!(config.node(NodeId(3)), config.node_named("c"));
    assert_eq!(
        (config.members().count(), config.witnesses().count()),
        (3, 0)
    );
}

#[test]
fn defaults_follow_what_they_depend_on() {
    let config = parse(&with(
        "name = \"web\"",
        "name = \"web\"\ninterval = \"800ms\"",
    ))
    .unwrap();
    assert_eq!(config.timeout, Duration::from_millis(2_400));
    assert_eq!(config.agent_stall, config.timeout);
    assert_eq!(config.lease, Duration::from_millis(4_800));
    assert_eq!(config.max_lease, config.lease);
    let read = parse(&format!("{GOOD}[control]\ngroup = \"adm\"\n")).unwrap();
    assert_eq!(read.control_group.as_deref(), Some("adm"));
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
fn group_ids_are_fnv1a_of_the_name_folded() {
    // Of the same vectors: 0xe40c ^ 0x292c and 0xbf9c ^ 0xf968.
    assert_eq!(group_id("a"), GroupId(0xcd20));
    assert_eq!(group_id("foobar"), GroupId(0x46f4));
    // The halves of this name's hash are equal.
    assert_eq!(group_id("v79752"), GroupId(1));
}

#[test]
fn times_at_their_limits_are_good() {
    let config = |settings: &str| parse(&with("name = \"web\"", settings)).unwrap();
    let shortest = config("name = \"w\"\ninterval = \"1ms\"\nlease = \"3ms\"\nmax_lease = \"3ms\"");
    assert_eq!(shortest.lease, Duration::from_millis(3));
    assert_eq!(shortest.max_lease, shortest.lease);
    let longest = config("name = \"w\"\ninterval = \"10s\"");
    assert_eq!(longest.lease, Duration::from_secs(60));
    assert_eq!(longest.max_lease, longest.lease);
    let given = config("name = \"w\"\nlease = \"2s\"\ndrift = 100000\nauto_failback = false");
    assert_eq!(given.max_lease, Duration::from_secs(2));
    assert_eq!((given.drift_ppm, given.auto_failback), (100_000, false));
}

#[test]
fn witness_votes_and_ranks_nowhere() {
    let config = parse(&with("id = 1", "id = 1\nrole = \"witness\"")).unwrap();
    assert_eq!(config.warnings, []);
    let roles: Vec<_> = config.nodes.iter().map(|node| node.role).collect();
    assert_eq!(roles, [Role::Witness, Role::Member, Role::Member]);
    assert_eq!(config.groups[GroupIndex(0)].rank, [NodeId(3), NodeId(2)]);
    let named: Vec<_> = config.witnesses().map(|node| node.name.as_str()).collect();
    assert_eq!(named, ["a"]);
    assert_eq!(config.peers().count(), 2);
    assert!(parse(&with("id = 1", "id = 1\nrole = \"member\"")).is_ok());
}

#[test]
fn local_node_is_the_flags_then_the_files_then_the_hosts() {
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
fn empty_file_says_what_is_needed() {
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

    assert!(warnings(&nodes(&["member"])).starts_with(
        "hb.toml:5:1: the cluster has a single node, so no node can take over\n  add [[node]] \
         tables"
    ));
    let lonely = warnings(&nodes(&["member", "witness", "witness"]));
    assert_eq!(
        lonely,
        "hb.toml:5:1: only one node is a member, and witnesses serve nothing, so no node can take \
         over\n  remove role = \"witness\" from a node that is able to serve, or add a member\n"
    );
    assert_eq!(warnings(&nodes(&["witness", "member", "member"])), "");
    assert!(
        warnings(&nodes(&["member"; 4]))
            .contains("4 voting nodes tolerate one failure, no more than 3 would")
    );
}

#[test]
fn voters_that_can_do_nothing_are_refused() {
    let two = "hb.toml:5:1: two nodes vote, and neither can form a majority without the other: \
               when one fails, the other stops serving too\n  add a witness: a third [[node]] with \
               role = \"witness\", a small host that only loads the responder with `heartbeat \
               witness`";
    assert_eq!(complaint(&nodes(&["member", "member"])), two);
    assert_eq!(complaint(&nodes(&["witness", "member"])), two);
    let none = "hb.toml:5:1: every node is a witness, so no node can serve\n  remove role = \
                \"witness\" from those that are to serve";
    for count in 1..=3 {
        assert_eq!(complaint(&nodes(&["witness"; 3][..count])), none);
    }
}

#[test]
fn file_that_others_may_write_is_refused() {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    let path = std::env::temp_dir().join(format!("heartbeat-mode-{}.toml", std::process::id()));
    std::fs::write(&path, GOOD).unwrap();
    let load = |mode| {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Config::load(&path, Some("b"))
    };
    for mode in [0o600, 0o640, 0o644, 0o755, 0o400] {
        assert!(load(mode).is_ok(), "{mode:o}");
    }
    for mode in [0o660, 0o664, 0o602, 0o666, 0o777] {
        let said = load(mode).unwrap_err().to_string();
        let chmod = format!("run `chmod go-w {}`", path.display());
        assert!(
            said.contains(&format!("has mode {mode:04o}")) && said.contains(&chmod),
            "{said}"
        );
    }
    load(0o644).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let said = Config::load(&path, Some("b")).unwrap_err().to_string();
        assert!(
            said.contains("belongs to user 65534") && said.contains("run `chown root"),
            "{said}"
        );
    }
    std::fs::remove_file(&path).unwrap();
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
