//! The documents that follow from the rows of the settings are up to date. `UPDATE=1` writes them
//! anew: `UPDATE=1 cargo test -p heartbeat-config --test documents`.

mod example;
mod reference;

use std::{fs, path::Path};

use heartbeat_config::settings;

fn assert_is(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).expect("the documents can be written");
    }
    let is = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = is.lines().zip(wanted.lines());
    let differs = lines.position(|(is, wanted)| is != wanted);
    assert!(
        is == wanted,
        "{} does not follow from the settings, from line {} on (UPDATE=1 writes it anew)",
        path.display(),
        differs.unwrap_or_else(|| is.lines().count().min(wanted.lines().count())) + 1
    );
}

/// `a, b and c`
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[test]
fn example_has_every_setting_with_its_default() {
    assert_is(
        "docs/heartbeat.toml.example",
        &example::text(&settings::tables()),
    );
}

#[test]
fn reference_has_every_setting() {
    assert_is(
        "docs/reference/config.md",
        &reference::text(&settings::tables()),
    );
}

#[test]
fn settings_are_described_in_whole_sentences() {
    for table in settings::tables() {
        assert!(table.doc.ends_with('.'), "{}", table.header);
        for setting in &table.settings {
            let name = format!("{} {}", table.header, setting.name);
            assert!(
                setting.doc.ends_with('.') || setting.doc.ends_with(')'),
                "{name}"
            );
            assert!(
                !setting.takes.is_empty() && !setting.example.is_empty(),
                "{name}"
            );
        }
    }
}
