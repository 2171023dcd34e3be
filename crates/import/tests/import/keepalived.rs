//! Files of keepalived: whole ones side by side with their results, single statements, and mutated
//! texts. `UPDATE=1` writes the expected files anew.

use std::{fs, path::PathBuf};

use heartbeat_config::{Config, HealthKind, Meaning};
use heartbeat_core::{index::GroupIndex, placement::Score};
use heartbeat_import::{ImportError, Imported, Input, NodeFile, Row, import_keepalived};
use proptest::prelude::*;

const WEB1: &str = include_str!("../fixtures/web1.keepalived");
const WEB2: &str = include_str!("../fixtures/web2.keepalived");
const ROUTERS: &str = include_str!("../fixtures/routers.keepalived");

fn file(node: Option<&str>, name: &str, text: &str) -> NodeFile {
    NodeFile {
        node: node.map(str::to_owned),
        input: Input {
            name: name.to_owned(),
            text: text.to_owned(),
        },
    }
}

fn one(text: &str) -> Result<Imported, ImportError> {
    import_keepalived(&[file(None, "k", text)])
}

fn pair(one: &str, other: &str) -> Result<Imported, ImportError> {
    let files = [("web1", one), ("web2", other)];
    let files = files.map(|(node, text)| file(Some(node), &format!("{node}.keepalived"), text));
    import_keepalived(&files)
}

/// An instance with `lines`, and an address.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\n{lines}\nvirtual_ipaddress {{\n10.0.0.9/24\n}}\n}}\n"
    )
}

/// Joins the lines of each comment.
fn flat(text: &str) -> String {
    text.replace("\n#   ", " ").replace("\n# ", " ")
}

#[track_caller]
fn says(text: &str, wanted: &str) {
    let imported = one(text).expect("a good input");
    well_formed(&imported);
    assert!(
        flat(&imported.text).contains(wanted),
        "{wanted:?} is not in\n{}",
        imported.text
    );
}

/// Checks that the text is TOML with our tables, and that its remarks are the reported ones.
fn well_formed(imported: &Imported) {
    let table = toml::de::DeTable::parse(&imported.text).expect("valid TOML");
    let known = [
        "cluster",
        "placement",
        "link",
        "node",
        "group",
        "location",
        "health",
        "hook",
    ];
    for name in table.get_ref().keys() {
        assert!(known.contains(&&**name.get_ref()), "{name:?}");
    }
    let remarks = imported.text.matches("# not translated: ").count();
    assert_eq!(remarks, imported.remarks.len());
    assert!(
        !imported.text.contains("has no result for it"),
        "a line was forgotten:\n{}",
        imported.text
    );
    assert!(imported.text.lines().all(|line| !line.ends_with(' ')));
}

/// Every line that the comments name: `k:3, 4`.
fn reported_lines(text: &str, file: &str) -> Vec<usize> {
    let flat = flat(text);
    let mut told = Vec::new();
    for (at, _) in flat.match_indices(&format!("{file}:")) {
        let rest = &flat[at + file.len() + 1..];
        let list = rest.split([')', ':', ';']).next().unwrap_or_default();
        told.extend(
            list.split(", ")
                .map_while(|number| number.trim().parse::<usize>().ok()),
        );
    }
    told
}

/// Checks that each line with a keyword is reported by its number, except lines that only open a
/// block.
fn accounted(imported: &Imported, file: &str, text: &str) {
    well_formed(imported);
    let told = reported_lines(&imported.text, file);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(['#', '!']).next().unwrap_or_default().trim();
        let silent = line.is_empty() || line.ends_with('{') || line == "}" || line == "global_defs";
        assert!(
            silent || told.contains(&number),
            "{file}:{number} {line:?} is not told of in\n{}",
            imported.text
        );
    }
}

fn golden(imported: &Imported, expected: &str) -> String {
    well_formed(imported);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(expected);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &imported.text).expect("writing the expected file");
    }
    let expected = fs::read_to_string(&path).expect("a fixture");
    assert!(
        imported.text == expected,
        "the output differs from what is expected (UPDATE=1 writes it anew):\n{}",
        imported.text
    );
    expected
}

/// Checks that our own parser accepts `text` after `changes`, which an operator would make.
fn accepted(text: &str, node: &str, changes: &[(&str, &str)]) -> Config {
    let mut text = text.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "no {old:?} in\n{text}");
        text = text.replace(old, new);
    }
    let config = Config::parse(&text, "k.toml".as_ref(), Some(node), node);
    config.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const WITNESS: [(&str, &str); 4] = [
    ("#[[node]]", "[[node]]"),
    ("#name = \"witness\"", "name = \"witness\""),
    ("#id = 3", "id = 3"),
    ("#role = ", "role = "),
];

#[test]
fn two_files_of_a_pair_become_one_configuration_with_scores() {
    let imported = pair(WEB1, WEB2).expect("good files");
    let text = golden(&imported, "web-keepalived.toml");
    accounted(&imported, "web1.keepalived", WEB1);
    accounted(&imported, "web2.keepalived", WEB2);
    assert!(!text.contains("s3cret"), "it shows the password");
    let mut changes = WITNESS.to_vec();
    changes.push(("#addresses = [\"ADDRESS\"]", "addresses = [\"10.0.0.13\"]"));
    let config = accepted(&text, "web1", &changes);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let names: Vec<&str> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["web1", "web2", "witness"]);
    let vips: Vec<String> = config
        .vips
        .iter()
        .map(|vip| vip.address.to_string())
        .collect();
    assert_eq!(vips, ["10.0.0.100/24", "10.0.0.101/32"]);
    assert_eq!(config.groups.len(), 1);
    let group = &config.groups[GroupIndex(0)];
    let scores: Vec<Score> = group.locations.iter().map(|(_, score)| *score).collect();
    assert_eq!(scores, [Score::new(110), Score::new(100)]);
    // The weight outweighs the priorities' difference, as in keepalived.
    assert_eq!(config.placement.degraded_points, 20);
    let [eth1, haproxy] = config.health.as_slice() else {
        panic!("{:?}", config.health);
    };
    assert_eq!(eth1.meaning, Meaning::Fatal);
    assert_eq!(eth1.kind, HealthKind::Interface("eth1".to_owned()));
    assert_eq!(haproxy.meaning, Meaning::Degraded);
    assert_eq!((haproxy.fall, haproxy.rise), (2, 2));
    assert_eq!(config.hooks.len(), 1);
}

#[test]
fn one_file_with_nearly_everything_is_good_once_its_blanks_are_filled_in() {
    let imported = import_keepalived(&[file(None, "routers.keepalived", ROUTERS)]);
    let imported = imported.expect("a good file");
    let text = golden(&imported, "routers-keepalived.toml");
    accounted(&imported, "routers.keepalived", ROUTERS);
    assert!(!text.contains("000102"), "it shows the key");
    let mut changes = WITNESS.to_vec();
    changes.extend([
        ("\"ADDRESS-OF-LVS_DEVEL-ON-LINK-0\"", "\"10.9.0.1\""),
        ("\"ADDRESS-OF-LVS_DEVEL-ON-LINK-1\"", "\"10.9.1.1\""),
        ("\"ADDRESS-OF-node2-ON-LINK-0\"", "\"10.9.0.2\""),
        ("\"ADDRESS-OF-node2-ON-LINK-1\"", "\"10.9.1.2\""),
        (
            "#addresses = [\"ADDRESS\", \"ADDRESS\"]",
            "addresses = [\"10.9.0.3\", \"10.9.1.3\"]",
        ),
    ]);
    let config = accepted(&text, "node2", &changes);
    let groups: Vec<&str> = config
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert_eq!(groups, ["ROUTER", "third"]);
    assert_eq!(config.groups[GroupIndex(0)].resources.len(), 3);
    assert_eq!(config.groups[GroupIndex(0)].stickiness, Score::MUST);
    // Three states of one script, and the masters' states of another.
    assert_eq!(config.hooks.len(), 5);
}

#[test]
fn explanation_has_a_row_for_each_setting_of_a_pair_and_shows_no_password() {
    let imported = pair(WEB1, WEB2).expect("good files");
    let row = |statement: &str, line: usize| {
        let is = |row: &&Row| {
            let place = &row.places[0];
            row.statement == statement && (&*place.file, place.line) == ("web1.keepalived", line)
        };
        imported.rows.iter().find(is).expect("a row")
    };
    assert_eq!(row("vrrp_instance VI_1", 21).became, "[[group]] VI_1");
    assert_eq!(row("priority", 25).became, "[[location]] VI_1, web1");
    assert_eq!(row("interval", 15).became, "[[health]] chk_haproxy");
    assert_eq!(row("notify_master", 45).became, "[[hook]]");
    let authentication = row("authentication of vrrp_instance VI_1", 27);
    assert_eq!(authentication.became, "not translated");
    let shown = format!("{:?}", imported.rows);
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn guide_shows_the_pair_as_it_is() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of ours");
    let guide = read("../../docs/migrate/keepalived.md");
    let expected = read("tests/fixtures/web-keepalived.toml");
    for text in [WEB1, expected.as_str()] {
        assert!(
            guide.contains(text),
            "docs/migrate/keepalived.md lacks\n{text}"
        );
    }
}

#[test]
fn settings_of_an_instance_become_what_they_meant() {
    for (lines, wanted) in [
        ("", "address = \"10.0.0.9/24\"\n"),
        ("nopreempt", "nopreempt (k:3): the group stays on its node"),
        ("nopreempt", "auto_failback = false"),
        (
            "state MASTER\npriority 120",
            "has the priority 120 (k:4), in the state MASTER; the file lacks the priorities",
        ),
        (
            "preempt_delay 60",
            "not translated: preempt_delay 60 of vrrp_instance V (k:3)",
        ),
        (
            "authentication {\nauth_pass x\n}",
            "not translated: authentication of vrrp_instance V (k:3, 4)",
        ),
        (
            "virtual_routes {\nx\n}",
            "not translated: virtual_routes of vrrp_instance V (k:3, 4): heartbeat moves no routes \
             and rules",
        ),
        (
            "frobnicate 7",
            "not translated: frobnicate 7 of vrrp_instance V (k:3): the import does not know",
        ),
        (
            "@b priority 3",
            "not translated: @b priority 3 of vrrp_instance V (k:3): the import does not evaluate",
        ),
        (
            "track_interface {\neth7\n}",
            "type = \"interface\"\ninterface = \"eth7\"\n",
        ),
        (
            "track_interface {\neth7 weight -3\n}",
            "failure = \"degraded\"\ninterface = \"eth7\"\n",
        ),
        (
            "track_interface {\neth7 weight 3 reverse\n}",
            "(k:4): a reversed check",
        ),
        (
            "track_script {\nnone\n}",
            "not translated: none of vrrp_instance V (k:4): nothing in the input has this name",
        ),
        (
            "unicast_peer {\n10.0.0.2\n10.0.0.3\n}",
            "addresses = [\"10.0.0.3\"]\n",
        ),
        (
            "notify_master /a/b root",
            "on = \"takeover\"\nexec = [\"/a/b\"]\n",
        ),
        (
            "notify_master /a/b root",
            "not translated: user root of notify_master of vrrp_instance V (k:3)",
        ),
        (
            "notify_backup \"/a/b 'c d'\"",
            "on = \"release\"\nexec = [\"/a/b\", \"c d\"]\n",
        ),
        (
            "notify_stop /a/b",
            "not translated: notify_stop /a/b of vrrp_instance V (k:3)",
        ),
        (
            "notify /a/b",
            "exec = [\"/a/b\", \"INSTANCE\", \"V\", \"BACKUP\", \"100\"]\n",
        ),
        (
            "notify \"b | c\"",
            "exec = [\"/bin/sh\", \"-c\", \"b | c \\\"$@\\\"\", \"notify\", \"INSTANCE\", \"V\",",
        ),
    ] {
        says(&instance(lines), wanted);
    }
}

#[test]
fn script_has_the_times_of_keepalived_where_it_says_none() {
    let script = |lines: &str| {
        let script = format!("vrrp_script s {{\nscript /a/b\n{lines}\n}}\n");
        instance("track_script {\ns\n}") + &script
    };
    says(
        &script(""),
        "interval = \"1s\"\ntimeout = \"1s\"\nfall = 1\nrise = 1\nexec = [\"/a/b\"]\n",
    );
    says(
        &script("interval 5"),
        "interval = \"5s\"\ntimeout = \"5s\"\n",
    );
    says(
        &script("interval 0.25\ntimeout 3"),
        "interval = \"250ms\"\ntimeout = \"3s\"\n",
    );
    says(&script("weight -9"), "[placement]\ndegraded_points = 9\n");
    says(
        &script("init_fail"),
        "not translated: init_fail of vrrp_script s (k:12)",
    );
    let untracked = "vrrp_script t {\nscript /a/b\n}\n".to_owned() + &instance("");
    says(
        &untracked,
        "not translated: vrrp_script t (k:1, 2): no instance tracks it",
    );
}

#[test]
fn hook_asks_for_its_address_where_there_are_several() {
    let two =
        instance("notify_master /a/b") + &instance("").replace(" V ", " W ").replace(".9/", ".8/");
    says(
        &two,
        "exec = [\"/bin/sh\", \"-c\", \"test \\\"$HEARTBEAT_VIP\\\" != V || exec \\\"$@\\\"\", \
         \"hook\", \"/a/b\"]",
    );
}

#[test]
fn files_of_a_pair_that_differ_are_told_with_the_place() {
    let say = |one: &str, other: &str| flat(&pair(one, other).expect("good files").text);
    let other = WEB2.replace("10.0.0.101", "10.0.0.102");
    let said = say(WEB1, &other);
    assert!(
        said.contains("address 10.0.0.102 of vrrp_instance VI_1 (web2.keepalived:37): the files"),
        "{said}"
    );
    let other = WEB2.replace("interval 2", "interval 3");
    let said = say(WEB1, &other);
    assert!(
        said.contains("interval 3 of vrrp_script chk_haproxy (web2.keepalived:15): the files"),
        "{said}"
    );
    let other = WEB2.replace("interface eth0", "interface ens3");
    assert!(say(WEB1, &other).contains("interfaces = [\"ens3\"]"));
    // The interface of a link matches the link, whatever its name on the node; another does not.
    let second = |device: &str, interface: &str| {
        let second = instance("")
            .replace(" V ", " W ")
            .replace("eth0", interface);
        let second = second.replace("9/24", &format!("9/24 dev {device}"));
        format!("{WEB1}\n{second}")
    };
    let said = say(&second("eth1", "eth1"), &second("ens4", "ens4"));
    assert!(!said.contains("address 10.0.0.9 of"), "{said}");
    let wanted = "interfaces = [\"eth0\", \"ens4\"]";
    assert!(said.contains(wanted), "{said}");
    let said = say(&second("eth7", "eth1"), &second("eth8", "eth1"));
    assert!(
        said.contains("address 10.0.0.9 of vrrp_instance W (web2.keepalived:52): the files"),
        "{said}"
    );
    // A node without the instance never gets its group.
    let said = say(WEB1, "global_defs {\nrouter_id x\n}\n");
    assert!(said.contains("node = \"web2\"\nscore = \"-inf\""), "{said}");
}

#[test]
fn lines_in_braces_behind_a_keyword_that_takes_none_are_told_of() {
    let text = "global_defs {\nrouter_id x {\nnotify y\n}\n}\n";
    accounted(&one(text).expect("it can be read"), "k", text);
}

#[test]
fn broken_file_is_told_by_file_and_line() {
    for (text, line) in [("a {\n", 1), ("a\n}\n", 2), ("x\ny \"z\n", 2)] {
        let error = one(text).expect_err("it is broken");
        assert_eq!(
            (&*error.place.file, error.place.line),
            ("k", line),
            "{error}"
        );
    }
}

const WORDS: [&str; 34] = [
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "global_defs",
    "group",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "track_script",
    "track_interface",
    "unicast_peer",
    "notify",
    "notify_master",
    "notify_fault",
    "script",
    "process",
    "interface",
    "priority",
    "nopreempt",
    "state",
    "weight",
    "reverse",
    "router_id",
    "a",
    "b",
    "10.0.0.1",
    "10.0.0.2/24 dev b",
    "fd00::1",
    "100",
    "\"/x y\"",
    "@a",
    "$A=b",
    "include",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        if let Ok(imported) = one(&text) {
            well_formed(&imported);
        }
    }

    /// Keywords in any order, in blocks or not.
    #[test]
    fn no_soup_of_words_panics_or_is_forgotten(
        lines in prop::collection::vec((0..WORDS.len(), 0..WORDS.len(), 0_u8..4), 1..40),
    ) {
        let (mut text, mut depth) = (String::new(), 0);
        for (one, other, shape) in lines {
            match shape {
                0 if !WORDS[one].is_empty() => {
                    text += &format!("{} {} {{\n", WORDS[one], WORDS[other]);
                    depth += 1;
                }
                1 if depth > 0 => {
                    text += "}\n";
                    depth -= 1;
                }
                _ => text += &format!("{} {}\n", WORDS[one], WORDS[other]),
            }
        }
        text += &"}\n".repeat(depth);
        if let Ok(imported) = one(&text) {
            accounted(&imported, "k", &text);
        }
    }

    /// Lines of the fixtures left out, doubled and moved.
    #[test]
    fn whatever_lines_are_left_each_is_told_of(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()),
            1..10,
        ),
        which in any::<bool>(),
    ) {
        let mut lines: Vec<&str> = if which { WEB1 } else { ROUTERS }.lines().collect();
        for (from, to, copy) in edits {
            let line = lines[from.index(lines.len())];
            let to = to.index(lines.len());
            if copy { lines.insert(to, line) } else { lines[to] = line }
        }
        let text = lines.join("\n");
        if let Ok(imported) = one(&text) {
            accounted(&imported, "k", &text);
        }
        if let Ok(imported) = pair(&text, WEB2) {
            accounted(&imported, "web1.keepalived", &text);
            accounted(&imported, "web2.keepalived", WEB2);
        }
    }
}
