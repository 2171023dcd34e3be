//! Typical inputs, one for each part that is easily lost: the result of each, and its acceptance by
//! our own reader once its remarks are followed.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use heartbeat_config::{Config, HealthKind, ResourceKind};
use heartbeat_import::{Imported, Inputs, Options, import};

use super::{golden::well_formed, input, statements::flat};

fn read(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    std::fs::read_to_string(fixtures.join(name)).expect("a fixture")
}

fn imported(name: &str) -> Imported {
    let inputs = Inputs {
        corosync: None,
        resources: input(name, &read(name)),
    };
    let options = Options {
        // 2024-03-01T00:00:00Z.
        now: Some(UNIX_EPOCH + Duration::from_secs(1_709_251_200)),
        ..Options::default()
    };
    let imported = import(&inputs, &options).expect("a good input");
    well_formed(&imported);
    imported
}

/// The configuration after the operator's changes: addresses, a third node, decisions.
fn accepted(imported: &Imported) -> Config {
    let mut text = String::new();
    for line in imported.text.lines() {
        let line = match line.strip_prefix('#') {
            Some(field) if field.starts_with("[[") || field.contains(" = ") => {
                if field.starts_with(' ') { line } else { field }
            }
            _ => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    for (number, node) in (11..).zip(["alpha", "beta", "gamma"]) {
        let placeholder = format!("ADDRESS-OF-{node}-ON-LINK-0");
        text = text.replace(&placeholder, &format!("192.0.2.{number}"));
    }
    text = text.replace("\"ADDRESS\"", "\"192.0.2.19\"");
    match Config::parse(&text, Path::new("imported.toml"), Some("alpha"), "alpha") {
        Ok(config) => config,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// The result for the fixture: its text, with the comments' lines joined, and the configuration.
fn become_of(name: &str) -> (String, Config) {
    let imported = imported(name);
    let config = accepted(&imported);
    (flat(&imported.text), config)
}

#[track_caller]
fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
}

#[track_caller]
fn has_not(text: &str, unwanted: &str) {
    assert!(!text.contains(unwanted), "{unwanted:?} is in\n{text}");
}

fn group<'c>(config: &'c Config, name: &str) -> &'c heartbeat_config::Group {
    let mut groups = config.groups.iter();
    groups.find(|group| group.name == name).expect("the group")
}

#[test]
fn address_without_prefix_becomes_a_vip_and_says_what_is_dropped() {
    let (text, config) = become_of("address-without-prefix.crm");
    has(
        &text,
        "type = \"vip\"\naddress = \"192.0.2.40\"\ninterface = \"eth3\"\n\
         monitor_interval = \"10s\"\n",
    );
    for dropped in [
        "nic=eth3:1",
        "iflabel=web",
        "broadcast=192.0.2.255",
        "arp_count=3",
        "lvs_support=false",
    ] {
        has(
            &text,
            &format!("# not translated: parameter {dropped} of addr"),
        );
    }
    let first = group(&config, "web").resources.iter().next();
    assert!(first.is_some_and(|first| matches!(first.kind, ResourceKind::Vip(_))));
}

#[test]
fn address_beside_a_promoted_resource_is_in_maintenance_and_another_is_not() {
    let (text, config) = become_of("promotable.crm");
    assert!(group(&config, "addr").maintenance);
    assert!(!group(&config, "other").maintenance);
    has(
        &text,
        "# in maintenance: group addr (promotable.crm:7): colocation addr-with-master makes addr \
         depend on ms-state, which is not translated",
    );
    has(&text, "order promote-first makes addr depend on ms-state");
    has_not(&text, "monitor_interval = \"never\"");
}

#[test]
fn clones_ping_and_ethmonitor_become_checks_of_the_node() {
    let (text, config) = become_of("clone-and-ping.crm");
    assert!(!group(&config, "addr").maintenance);
    assert_eq!(config.groups.len(), 1, "{text}");
    let kinds: Vec<&HealthKind> = config.health.iter().map(|check| &check.kind).collect();
    assert!(
        matches!(
            kinds[..],
            [
                HealthKind::Process(_),
                HealthKind::Exec(_),
                HealthKind::Interface(_)
            ]
        ),
        "{kinds:?}"
    );
    has(
        &text,
        "type = \"process\"\nunit = \"haproxy.service\"\ninterval = \"10s\"\nfailure = \"fatal\"\n",
    );
    has(
        &text,
        "test $n -ge 1\", \"ping\", \"192.0.2.1\", \"192.0.2.2\"]",
    );
    for kept in [
        "colocation addr-with-proxy (clone-and-ping.crm:10): replaced by health check proxy",
        "order proxy-first (clone-and-ping.crm:11): replaced by health check proxy",
        "location addr-needs-net (clone-and-ping.crm:12): replaced by health check reach",
        "location addr-needs-link (clone-and-ping.crm:13): replaced by health check uplink",
        "# not translated: meta interleave=true of clone proxy-all",
        "# not translated: parameter dampen=5s of reach",
    ] {
        has(&text, kept);
    }
}

#[test]
fn utilization_becomes_capacity_demand_and_strategy() {
    let (text, config) = become_of("utilization.crm");
    has(&text, "capacity = { cpu = 4, memory = 16 }\n");
    has(
        &text,
        "name = \"lights\"\ndemand = { cpu = 2, memory = 2 }\n",
    );
    has(&text, "[placement]\nstrategy = \"utilization\"\n");
    has(
        &text,
        "placement-strategy=balanced (utilization.crm:7): heartbeat gives the group to the node",
    );
    let heavy = config.demands(group(&config, "heavy"));
    assert_eq!(heavy.collect::<Vec<_>>(), [("cpu", 3), ("memory", 8)]);
}

#[test]
fn exclusive_discovery_confines_the_group_to_those_nodes() {
    let (text, config) = become_of("discovery-exclusive.xml");
    has(&text, "node = \"gamma\"\nscore = \"-inf\"\n");
    has(&text, "node = \"beta\"\nscore = 5\n");
    let scores = &group(&config, "r").locations;
    assert_eq!(scores.len(), 3, "{scores:?}");
}

#[test]
fn ended_lifetime_is_void_and_begun_lifetime_holds() {
    let (text, _) = become_of("lifetimes.xml");
    has(
        &text,
        "# not translated: location ban (lifetimes.xml:5): the constraint is void: it ended at \
         2019-06-01",
    );
    has(&text, "group = \"r\"\nnode = \"alpha\"\nscore = 7\n");
    has(
        &text,
        "# not translated: location later (lifetimes.xml:7): the rule depends on more",
    );
    has(
        &text,
        "# not translated: colocation apart (lifetimes.xml:8): the constraint is void: it ended at \
         2019-01-01",
    );
    has_not(&text, "-inf");
}

#[test]
fn sets_say_their_own_score_and_kind_and_the_higher_score_counts() {
    let (text, _) = become_of("sets.xml");
    has(&text, "group = \"q\"\nwith = \"p\"\nscore = \"-inf\"\n");
    has_not(&text, "score = 300");
    has(
        &text,
        "score 300 of colocation far (sets.xml:5): its set has another score, which applies",
    );
    has(&text, "first = \"q\"\nthen = \"s\"\nkind = \"advisory\"\n");
    assert_eq!(
        text.matches("params = { state = \"/tmp/high\" }").count(),
        2
    );
    has(&text, "# not translated: state=/tmp/low of resource s");
}

#[test]
fn values_that_check_refuses_are_brought_within_its_limits_and_told() {
    let (text, config) = become_of("lsb-by-path.crm");
    has(
        &text,
        "type = \"exec\"\nstart = [\"/srv/app/init/old\", \"start\"]\n",
    );
    let old = group(&config, "old").resources.iter().next();
    assert!(old.is_some_and(|old| matches!(old.kind, ResourceKind::Exec(_))));
    has(
        &text,
        "start_timeout = \"60min\"\nstop_timeout = \"60min\"\n",
    );
    has(
        &text,
        "# not translated: timeout=120min of op start of slow",
    );
    has(
        &text,
        "# not translated: interval=50ms of op monitor interval=50ms of slow",
    );
    has(&text, "# not translated: primitive odd (systemd:a b)");
}

#[test]
fn pcs_commands_become_what_they_configure() {
    let imported = imported("commands.sh");
    let config = accepted(&imported);
    let text = flat(&imported.text);
    for wanted in [
        "[cluster]\nname = \"shop\"\n",
        "name = \"beta\"\nid = 2\naddresses = [\"192.0.2.12\"]\n",
        "[defaults]\nstickiness = 0\nmigration_threshold = 5\n",
        "name = \"web\"\nstickiness = 200\n",
        "address = \"192.0.2.43/24\"\nstart_timeout = \"1min\"",
        "start_timeout = \"40s\"\n",
        "params = { state = \"/run/x\" }",
        "group = \"web\"\nnode = \"alpha\"\nscore = 200\n",
        "group = \"store\"\nnode = \"beta\"\nscore = \"-inf\"\n",
        "group = \"store\"\nnode = \"alpha\"\nscore = 50\n",
        "group = \"store\"\nwith = \"web\"\nscore = 100\n",
        "first = \"web\"\nthen = \"store\"\nkind = \"advisory\"\n",
        "first = \"late\"\nthen = \"store\"\nkind = \"advisory\"\n",
        "[[health]]\nname = \"reach\"\n",
        "# not translated: pcs stonith create fence1",
        "# not translated: promotable data-clone of data",
        "totem transport=knet",
        "line Assumed agent name",
        "# not translated: pcs status",
        "# not translated: pcs resource frobnicate store",
        "# not translated: command pcs resource create broken (commands.sh:23): the resource agent \
         is missing",
    ] {
        has(&text, wanted);
    }
    has_not(&text, "sesame");
    assert!(group(&config, "late").maintenance);
    let web: Vec<&str> = group(&config, "web")
        .resources
        .iter()
        .map(|one| &*one.name)
        .collect();
    assert_eq!(web, ["addr", "httpd"]);
}

#[test]
fn lines_typed_into_a_shell_are_read_and_the_rest_is_told() {
    let imported = imported("typed.txt");
    let config = accepted(&imported);
    let text = flat(&imported.text);
    for wanted in [
        "address = \"192.0.2.44/24\"\nmonitor_interval = \"10s\"\n",
        "[defaults]\nstickiness = 7\n",
        "group = \"web\"\nnode = \"alpha\"\nscore = 50\n",
        "property stonith-enabled=false (typed.txt:5)",
        "# not translated: order bad (typed.txt:8): \"sometimes\" is not a kind of order",
        "# not translated: command primitve x Dummy (typed.txt:9): no statement begins with",
        "line WARNING: httpd: default timeout 20s for start isn't what's advised (typed.txt:4)",
        "line ERROR: primitve: no such command",
        "# not translated: command crm configure (typed.txt:6)",
        "line $ crm_mon -1",
        "commit (typed.txt:11)",
    ] {
        has(&text, wanted);
    }
    assert_eq!(group(&config, "web").resources.len(), 2);
    assert_eq!(config.nodes.len(), 3);
}

#[test]
fn command_that_is_given_twice_counts_once() {
    let text = "pcs resource create a Dummy --group g\npcs resource create a Dummy --group g\n\
                crm configure group g a\n";
    let inputs = Inputs {
        corosync: None,
        resources: input("twice.sh", text),
    };
    let text = flat(&import(&inputs, &Options::default()).expect("no error").text);
    has(
        &text,
        "# not translated: command pcs resource create a (twice.sh:2): the name a is in use since \
         line 1",
    );
    has(&text, "(twice.sh:3): the name g is in use since line 1");
    assert_eq!(text.matches("[[group.resource]]").count(), 1, "{text}");
}

/// Each element and attribute that the schema does not have, or that the reader does not use, is
/// named in a remark, at any place.
#[test]
fn unknown_xml_is_named_wherever_it_stands() {
    for name in ["lifetimes.xml", "sets.xml", "discovery-exclusive.xml"] {
        let whole = read(name);
        let mut tried = 0;
        for (at, _) in whole.match_indices('<') {
            let rest = &whole[at + 1..];
            let element = rest
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next();
            let element = element.unwrap_or_default();
            // The outer elements of the configuration say nothing about the cluster.
            let frame = [
                "",
                "cib",
                "configuration",
                "crm_config",
                "nodes",
                "resources",
                "constraints",
            ];
            if frame.contains(&element) {
                continue;
            }
            let after = at + 1 + element.len();
            let with_attribute = format!("{} zeal{at}=\"1\"{}", &whole[..after], &whole[after..]);
            let end = at + rest.find('>').expect("an end") + 1;
            let with_child = if whole[..end].ends_with('/') {
                let (head, tail) = (&whole[..end - 1], &whole[end + 1..]);
                format!("{head}><zeal{at}/></{element}>{tail}")
            } else {
                format!("{}<zeal{at}/>{}", &whole[..=end], &whole[end + 1..])
            };
            for mangled in [with_attribute, with_child] {
                let inputs = Inputs {
                    corosync: None,
                    resources: input("cib", &mangled),
                };
                let text = import(&inputs, &Options::default())
                    .expect("a good input")
                    .text;
                has(&text, &format!("zeal{at}"));
                tried += 1;
            }
        }
        assert!(tried >= 12, "{tried}");
    }
}

/// Each line of a shell is reported by its number.
#[test]
fn every_line_of_a_shell_is_told_of() {
    for name in ["commands.sh", "typed.txt"] {
        let text = flat(&imported(name).text);
        let mut told = Vec::new();
        for (at, _) in text.match_indices(&format!("{name}:")) {
            let rest = &text[at + name.len() + 1..];
            let list = rest.split([')', ':', ';']).next().unwrap_or_default();
            told.extend(
                list.split(", ")
                    .map_while(|line| line.trim().parse::<usize>().ok()),
            );
        }
        let mut goes_on = false;
        for (number, line) in (1..).zip(read(name).lines()) {
            let silent = goes_on || line.ends_with("# quit") || line == "EOF";
            goes_on = line.ends_with('\\');
            assert!(
                silent || told.contains(&number),
                "{name}:{number} {line}\n{text}"
            );
        }
    }
}
