//! Whole configurations and their results, as files side by side. `UPDATE=1` writes the expected
//! files anew: read the difference before committing it.

use std::{fs, path::PathBuf};

use heartbeat_config::Config;
use heartbeat_import::{Imported, Inputs, Options, import};

use super::input;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(fixture(name)).expect("a fixture")
}

fn imported(corosync: Option<&str>, resources: Option<&str>, options: &Options) -> Imported {
    let inputs = Inputs {
        corosync: corosync.and_then(|name| input(name, &read(name))),
        resources: resources.and_then(|name| input(name, &read(name))),
    };
    import(&inputs, options).expect("the fixture is good")
}

/// Compares with the expected file, after checks that hold for every output.
fn golden(corosync: Option<&str>, resources: Option<&str>, options: &Options, expected: &str) {
    let imported = imported(corosync, resources, options);
    well_formed(&imported);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(fixture(expected), &imported.text).expect("writing the expected file");
    }
    let expected = read(expected);
    assert!(
        imported.text == expected,
        "the output differs from what is expected (UPDATE=1 writes it anew):\n{}",
        imported.text
    );
}

/// Checks that the text is TOML with our tables, and that its remarks are the reported ones.
pub(super) fn well_formed(imported: &Imported) {
    let table = toml::de::DeTable::parse(&imported.text).expect("valid TOML");
    let known = [
        "cluster",
        "defaults",
        "link",
        "node",
        "group",
        "location",
        "colocation",
        "order",
        "health",
        "placement",
    ];
    for name in table.get_ref().keys() {
        assert!(known.contains(&&**name.get_ref()), "{name:?}");
    }
    let remarks = imported.text.matches("# not translated: ").count();
    assert_eq!(remarks, imported.remarks.len());
    let decisions = imported.text.matches("# to be decided: ").count();
    assert_eq!(decisions, imported.decisions.len());
    let guesses = imported.text.matches("# guessed: ").count();
    assert_eq!(guesses, imported.guesses.len());
    assert_eq!(
        decisions,
        imported
            .text
            .matches("\n#accept_double_run = true\n")
            .count()
    );
    // The operator must decide this.
    assert!(!imported.text.contains("\naccept_double_run"));
    assert!(
        !imported.text.contains("has no result for it"),
        "a statement was forgotten"
    );
    assert!(imported.text.lines().all(|line| !line.ends_with(' ')));
}

fn interfaces(names: &[&str]) -> Options {
    Options {
        interfaces: names.iter().map(|name| (*name).to_owned()).collect(),
        keep_agents: false,
        ..Options::default()
    }
}

#[test]
fn tutorials_two_nodes() {
    golden(
        Some("tutorial.conf"),
        Some("tutorial.crm"),
        &Options::default(),
        "tutorial.toml",
    );
}

#[test]
fn tutorials_two_nodes_with_the_agents_kept() {
    let options = Options {
        interfaces: Vec::new(),
        keep_agents: true,
        ..Options::default()
    };
    golden(
        Some("tutorial.conf"),
        Some("tutorial.crm"),
        &options,
        "tutorial-agents.toml",
    );
}

/// A typed tutorial, with constraints that name no resources.
#[test]
fn articles_shell_lines() {
    golden(
        Some("article.conf"),
        Some("article.sh"),
        &Options::default(),
        "article.toml",
    );
}

#[test]
fn three_nodes_with_nearly_everything() {
    let options = Options {
        interfaces: vec!["bond0".to_owned()],
        keep_agents: false,
        ..Options::default()
    };
    golden(Some("knet.conf"), Some("knet.crm"), &options, "knet.toml");
}

#[test]
fn old_style_that_names_no_addresses() {
    golden(
        Some("oldstyle.conf"),
        Some("oldstyle.crm"),
        &Options::default(),
        "oldstyle.toml",
    );
}

#[test]
fn exported_cib() {
    golden(
        Some("cluster.conf"),
        Some("cluster.xml"),
        &interfaces(&["ens1"]),
        "cluster.toml",
    );
}

#[test]
fn nodes_alone() {
    golden(
        Some("knet.conf"),
        None,
        &interfaces(&["a", "b", "c"]),
        "nodes.toml",
    );
}

/// The example in the guide is the tool's real input and output.
#[test]
fn guide_shows_the_tutorial_as_it_is() {
    let guide = include_str!("../../../../docs/migrate/pacemaker.md");
    for name in ["tutorial.conf", "tutorial.crm", "tutorial.toml"] {
        let text = read(name);
        assert!(
            guide.contains(&text),
            "docs/migrate/pacemaker.md does not show {name}"
        );
    }
}

/// Checks that our own parser accepts the tool's output after `changes`, which an operator would
/// make.
fn accepted(expected: &str, node: &str, changes: &[(&str, &str)]) {
    let mut text = read(expected);
    for (old, new) in changes {
        assert!(text.contains(old), "no {old:?} in {expected}");
        text = text.replace(old, new);
    }
    let path = PathBuf::from(expected);
    let config = Config::parse(&text, &path, Some(node), node).expect("a good configuration");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn with_a_witness_the_tutorials_configuration_is_good() {
    let witness = [
        ("#[[node]]", "[[node]]"),
        ("#name = \"witness\"", "name = \"witness\""),
        ("#id = 3", "id = 3"),
        ("#role = ", "role = "),
        (
            "#addresses = [\"ADDRESS\"]",
            "addresses = [\"192.168.1.103\"]",
        ),
    ];
    for expected in ["tutorial.toml", "tutorial-agents.toml"] {
        accepted(expected, "node1", &witness);
        let error = Config::parse(
            &read(expected),
            &PathBuf::from(expected),
            Some("node1"),
            "x",
        );
        let error = error.expect_err("two voters are refused").to_string();
        assert!(error.contains("add a witness"), "{error}");
    }
    let witness = witness.map(|(old, new)| (old, new.replace("192.168.1.", "192.0.2.")));
    let witness: Vec<(&str, &str)> = witness.iter().map(|(old, new)| (*old, &**new)).collect();
    accepted("article.toml", "primary", &witness);
}

#[test]
fn three_nodes_with_nearly_everything_are_good_once_the_operator_has_decided() {
    let decided = [("#accept_double_run = true", "accept_double_run = true")];
    accepted("knet.toml", "erp-a", &decided);
    accepted("nodes.toml", "erp-a", &[]);
}

#[test]
fn exclusive_resource_is_refused_until_the_operator_has_decided() {
    let path = PathBuf::from("knet.toml");
    let refused = Config::parse(&read("knet.toml"), &path, Some("erp-a"), "x");
    let said = refused.expect_err("an exclusive resource").to_string();
    for part in [
        "resource \"db_fs\": ocf:heartbeat:Filesystem must never run on two nodes at a time",
        "resource \"db_server\": ocf:heartbeat:pgsql must never run on two nodes at a time",
        "write accept_double_run = true in group \"db\"",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(
        said.lines().count(),
        4,
        "nothing else is wrong with it: {said}"
    );
}
