//! The survivors that no test can or needs to catch, each with its reason: `xtask/mutants.toml`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use toml::de::{DeTable, DeValue};

use super::mutant::Mutant;

/// The file, from the root of the tree.
pub(super) const FILE: &str = "xtask/mutants.toml";

/// One accepted survivor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The path from the root of the tree.
    pub file: PathBuf,
    /// The change, as cargo-mutants describes it after the place.
    pub change: String,
    /// The changed line, or the first of them, without its indent.
    pub line: String,
}

/// The accepted survivors of the tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AcceptedList(pub Vec<Accepted>);

impl AcceptedList {
    pub(super) fn read(text: &str) -> Result<Self> {
        let table = DeTable::parse(text).with_context(|| format!("{FILE} is no TOML"))?;
        let mut list = Vec::new();
        for (key, value) in table.get_ref() {
            let DeValue::Array(entries) = value.get_ref() else {
                bail!("{FILE}: {} is no array of tables", key.get_ref());
            };
            ensure!(
                key.get_ref() == "accepted",
                "{FILE}: no key {}",
                key.get_ref()
            );
            for entry in entries {
                list.push(entry_of(entry.get_ref())?);
            }
        }
        Ok(Self(list))
    }

    /// Whether `mutant` is accepted. `line` is the line of the source that it changes.
    pub(super) fn has(&self, mutant: &Mutant, line: &str) -> bool {
        self.0.iter().any(|one| one.is_for(mutant, line))
    }
}

impl Accepted {
    pub(super) fn is_for(&self, mutant: &Mutant, line: &str) -> bool {
        mutant.is_in(&self.file) && self.change == mutant.change && self.line == line.trim()
    }
}

fn entry_of(value: &DeValue<'_>) -> Result<Accepted> {
    let DeValue::Table(table) = value else {
        bail!("{FILE}: an accepted survivor is a table");
    };
    let text = |name: &str| match table.get(name).map(toml::Spanned::get_ref) {
        Some(DeValue::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => bail!("{FILE}: an accepted survivor has no {name}"),
    };
    let entry = Accepted {
        file: text("file")?.into(),
        change: text("change")?,
        line: text("line")?,
    };
    text("reason")?;
    ensure!(
        table.len() == 4,
        "{FILE}: {} has a key beside file, change, line and reason",
        entry.change
    );
    Ok(entry)
}

/// The line `number` of `text`, from 1.
pub(super) fn line_of(text: &str, number: usize) -> &str {
    text.lines().nth(number.wrapping_sub(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[accepted]]
        file = "crates/a/src/b.rs"
        change = "replace > with >= in f"
        line = "if a > b {"
        reason = "a is never b"
    "#;

    fn mutant(file: &str, change: &str) -> Mutant {
        Mutant {
            name: format!("{file}:3:5: {change}"),
            file: file.into(),
            line: 3,
            change: change.into(),
        }
    }

    #[test]
    fn accepted_mutant_is_known_by_file_change_and_line() {
        let list = AcceptedList::read(ENTRY).unwrap();
        let found = mutant("crates/a/src/b.rs", "replace > with >= in f");
        assert!(list.has(&found, "        if a > b {"));
        assert!(!list.has(&found, "if a > c {"));
        let other = mutant("crates/a/src/c.rs", "replace > with >= in f");
        assert!(!list.has(&other, "if a > b {"));
        let other = mutant("crates/a/src/b.rs", "replace > with < in f");
        assert!(!list.has(&other, "if a > b {"));
    }

    #[test]
    fn entry_without_a_reason_is_refused() {
        for key in ["file", "change", "line", "reason"] {
            let text: Vec<&str> = ENTRY.lines().filter(|line| !line.contains(key)).collect();
            let error = AcceptedList::read(&text.join("\n")).unwrap_err();
            assert!(
                error.to_string().ends_with(&format!("has no {key}")),
                "{error}"
            );
        }
        let empty = ENTRY.replace("a is never b", " ");
        assert!(AcceptedList::read(&empty).is_err());
    }

    #[test]
    fn unknown_key_is_refused() {
        assert!(AcceptedList::read(&format!("{ENTRY}\nmore = 1")).is_err());
        assert!(AcceptedList::read("[[excepted]]\n").is_err());
        assert!(AcceptedList::read("accepted = 1\n").is_err());
        assert_eq!(AcceptedList::read("").unwrap(), AcceptedList::default());
    }

    #[test]
    fn line_is_counted_from_one() {
        assert_eq!(line_of("a\n  b\n", 2), "  b");
        assert_eq!(line_of("a\n", 0), "");
        assert_eq!(line_of("a\n", 5), "");
    }
}
