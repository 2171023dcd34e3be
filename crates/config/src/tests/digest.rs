//! The digest tells nodes whose files disagree from those whose files only look different.

use std::path::Path;

use heartbeat_common::siphash::SipKey;

use super::{super::Config, GOOD, GROUPS, parse};

const KEY: SipKey = SipKey { k0: 1, k1: 2 };

const CONSTRAINTS: &str = r#"[[location]]
group = "web"
node = "a"
score = 5
[[location]]
group = "web"
node = "b"
score = 6
[[colocation]]
group = "web"
with = "db"
[[order]]
first = "db"
then = "web"
"#;

const CHECKS: &str = r#"[[health]]
name = "api"
type = "http"
url = "http://127.0.0.1/"
[[health]]
name = "data"
type = "disk"
path = "/data"
"#;

fn whole() -> String {
    let text = format!("{GOOD}{GROUPS}{CONSTRAINTS}{CHECKS}");
    text.replacen(
        "id = 1\n",
        "id = 1\ncapacity = { memory = 7, cpu = 4 }\n",
        1,
    ) + "[rebalance]\n"
}

fn digest(text: &str) -> u32 {
    parse(text).unwrap().digest(KEY)
}

#[test]
fn same_file_has_the_same_digest_on_all_nodes() {
    let text = whole().replace("id = 2\n", "id = 2\ninterfaces = [\"ens3\"]\n");
    let on = |node: &str| {
        let path = format!("/somewhere/{node}");
        let config = Config::parse(&text, Path::new(&path), Some(node), node);
        config.unwrap().digest(KEY)
    };
    assert_eq!((on("a"), on("a")), (on("b"), on("c")));
    assert_ne!(on("a"), 0);
}

#[test]
fn address_without_a_prefix_length_has_the_same_digest_whatever_its_interface() {
    let bare = whole().replace("10.0.0.100/24\"", "10.0.0.100\"");
    let elsewhere = bare.replace("10.0.0.100\"", "10.0.0.100\"\ninterface = \"dummy0\"");
    assert_ne!(bare, elsewhere);
    assert_eq!(digest(&bare), digest(&elsewhere));
}

#[test]
fn settings_of_one_node_do_not_change_the_digest() {
    let text = whole();
    let same = digest(&text);
    let cluster =
        |setting: &str| text.replacen("name = \"web\"", &format!("name = \"web\"\n{setting}"), 1);
    for other in [
        cluster("node = \"c\""),
        cluster("instance = \"second\""),
        cluster("key = \"/root/key\""),
        cluster("port = 694\nlease = \"60ms\""),
        text.replacen("\"eth1\"", "\"bond0\"", 1),
        text.replacen("\"eth1\"", "\"eth1\"\nmode = \"skb\"", 1),
        text.replacen("/24\"", "/24\"\ninterface = \"dummy0\"", 1),
        text.replacen("/bin/true", "/bin/false", 1),
        text.replacen("systemd:haproxy", "systemd:haproxy.service", 1),
        // The value that the table of exclusive resources has anyway.
        text.replacen(
            "systemd:haproxy\"",
            "systemd:haproxy\"\nexclusive = false",
            1,
        ),
        text.replace("http://127.0.0.1/", "http://10.0.0.1/"),
        text.replace(
            "/data\"",
            "/data\"\ninterval = \"2s\"\ntimeout = \"2s\"\nrise = 3\nfall = 3",
        ),
        text.replace("memory = 7, cpu = 4", "cpu = 4, memory = 7"),
        text.clone() + "[load]\nsource = \"run-queue\"\n[placement]\n",
        text.clone()
            + "[paths]\nrun = \"/r\"\nstate = \"/s\"\n[realtime]\npriority = 1\n\
               [control]\ngroup = \"adm\"\n[defaults]\n",
    ] {
        assert_eq!(digest(&other), same, "{other}");
    }
}

#[test]
fn order_in_the_file_does_not_matter_where_it_means_nothing() {
    let (head, node_c) = GOOD.split_at(GOOD.find("[[node]]\nname = \"c\"").unwrap());
    let (node_c, rest) = node_c.split_at(node_c.find("[[vip]]").unwrap());
    let (before, nodes) = head.split_at(head.find("[[node]]").unwrap());
    // Preferences name all members, so that the nodes' order ranks no node.
    let ranked = |text: String| {
        text.replace("prefer = [\"c\"]", "prefer = [\"c\", \"a\", \"b\"]")
            .replace("prefer = [\"b\"]", "prefer = [\"b\", \"a\", \"c\"]")
            .replace(
                "name = \"db\"",
                "name = \"db\"\nprefer = [\"a\", \"b\", \"c\"]",
            )
    };
    let (web, db) = GROUPS.split_at(GROUPS.find("[[group]]\nname = \"db\"").unwrap());
    let (first, others) = CONSTRAINTS.split_at(CONSTRAINTS.rfind("[[location]]").unwrap());
    let turned = [before, node_c, nodes, rest, others, first, db, web].concat();
    let straight = [GOOD, GROUPS, CONSTRAINTS].concat();
    assert_eq!(digest(&ranked(turned)), digest(&ranked(straight)));
}

#[test]
fn settings_of_the_cluster_change_the_digest() {
    let text = whole();
    let cluster =
        |setting: &str| text.replacen("name = \"web\"", &format!("name = \"web\"\n{setting}"), 1);
    let group = |setting: &str| {
        text.replace(
            "name = \"db\"\n[[",
            &format!("name = \"db\"\n{setting}\n[["),
        )
    };
    let store =
        |setting: &str| text.replace("name = \"store\"", &format!("name = \"store\"\n{setting}"));
    let (api, data) = CHECKS.split_at(CHECKS.rfind("[[health]]").unwrap());
    let turned = format!("{data}{api}");
    let variants = [
        text.clone(),
        text.replacen("name = \"web\"", "name = \"web2\"", 1),
        cluster("id = 7"),
        cluster("port = 695"),
        cluster("interval = \"9ms\"\ntimeout = \"30ms\"\nlease = \"60ms\""),
        cluster("timeout = \"31ms\""),
        cluster("agent_stall = \"2001ms\""),
        cluster("lease = \"61ms\""),
        cluster("max_lease = \"1001ms\""),
        cluster("drift = 999"),
        cluster("maintenance = true"),
        cluster("auto_failback = false"),
        text.replacen("\"10.0.0.1\"", "\"10.0.0.9\"", 1),
        text.replacen("id = 1\n", "id = 9\n", 1),
        text.replacen("id = 1\n", "id = 1\nrole = \"witness\"\n", 1)
            .replace("capacity = { memory = 7, cpu = 4 }\n", "")
            .replace(
                "[[location]]\ngroup = \"web\"\nnode = \"a\"\nscore = 5\n",
                "",
            ),
        text.replace("10.0.0.100/24", "10.0.0.100/25"),
        text.replace("10.0.0.100/24", "10.0.0.100"),
        text.replace("10.0.0.100/24", "10.0.0.99"),
        text.replace("10.0.0.101", "10.0.0.102"),
        text.replace("\"worker\"", "\"slave\""),
        text.replace("prefer = [\"c\"]", "prefer = [\"b\"]"),
        text.replace("port = 80", "port = 81"),
        text.replace("user = \"www\"", "user = \"ww\""),
        text.replace("tls = true", "ssl = true"),
        text.replace("\"/bin/sleep\", \"inf\"", "\"/bin/sleep\", \"in\", \"f\""),
        text.replace("systemd:haproxy", "systemd:varnish"),
        text.replace("type = \"ocf", "check_level = 5\ntype = \"ocf"),
        group("stickiness = 1"),
        group("maintenance = true"),
        group("accept_double_run = true"),
        group("accept_double_run = true\nexclusive = true"),
        group("migration_threshold = 4"),
        group("failure_timeout = \"11min\""),
        store("start_timeout = \"9s\""),
        store("stop_timeout = \"9s\""),
        store("monitor_timeout = \"9s\""),
        store("monitor_interval = \"9s\""),
        store("monitor_interval = \"never\""),
        store("pidfile = \"/p\""),
        text.replace("score = 5", "score = 4"),
        text.replace("with = \"db\"", "with = \"db\"\nscore = 3"),
        text.replace("then = \"web\"", "then = \"web\"\nkind = \"advisory\""),
        text.replace("then = \"web\"", "then = \"site\""),
        text.replace("[[vip]]\nname = \"site\"", "[[vip]]\nname = \"sit\""),
        text.replace("\"api\"", "\"app\""),
        text.replace("type = \"disk\"\npath", "type = \"process\"\npidfile"),
        text.replace("\"/data\"", "\"/data\"\nfailure = \"degraded\""),
        text.replace(CHECKS, &turned),
        text.replace("cpu = 4", "cpu = 5"),
        text.replace("cpu = 4", "cpus = 4"),
        text.replace("memory = 7, ", ""),
        group("demand = { cpu = 1 }"),
        group("demand = { memory = 1 }"),
        group("rebalance = false"),
        text.clone() + "[placement]\nstrategy = \"spread\"\n",
        text.clone() + "[placement]\ndegraded_points = 101\n",
        text.replace("[rebalance]", ""),
        text.clone() + "high = 801\n",
        text.clone() + "low = 499\n",
        text.clone() + "hold = \"31s\"\n",
        text.clone() + "cooldown = \"6min\"\n",
    ];
    for (index, one) in variants.iter().enumerate() {
        for other in &variants[..index] {
            assert_ne!(one, other);
            assert_ne!(digest(one), digest(other), "{one}\n\nand\n\n{other}");
        }
    }
}

#[test]
fn without_the_key_nobody_can_tell_what_it_is_made_of() {
    let config = parse(&whole()).unwrap();
    assert_ne!(config.digest(KEY), config.digest(SipKey { k1: 3, ..KEY }));
}
