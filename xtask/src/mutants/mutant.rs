//! The mutants of the sources, as cargo-mutants lists them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One change of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The name by which cargo-mutants selects it: `file:line:column: change`.
    pub name: String,
    /// The path from the root of the tree.
    pub file: PathBuf,
    /// The number of the line, from 1.
    pub line: usize,
    /// The change without its place, such as `replace > with >= in Proposer::votes`.
    pub change: String,
}

impl Mutant {
    pub(super) fn read(value: &Value) -> Result<Self> {
        let read = || {
            let name = value["name"].as_str()?;
            let line = value["span"]["start"]["line"].as_u64()?;
            Some(Self {
                name: name.to_owned(),
                file: value["file"].as_str()?.into(),
                line: usize::try_from(line).ok()?,
                change: name.splitn(4, ':').nth(3)?.trim().to_owned(),
            })
        };
        read().with_context(|| format!("cargo-mutants described no mutant: {value}"))
    }

    pub(super) fn is_in(&self, file: &Path) -> bool {
        self.file == file
    }
}

/// Reads the output of `cargo mutants --list --json`.
pub(super) fn read_list(json: &str) -> Result<Vec<Mutant>> {
    let list: Vec<Value> =
        serde_json::from_str(json).context("cargo-mutants printed no list of mutants")?;
    list.iter().map(Mutant::read).collect()
}

/// A part of the mutants, for one of several machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1.
    number: usize,
    of: usize,
}

impl Shard {
    /// Reads `K/N`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, of) = text.split_once('/')?;
            let shard = Self {
                number: number.parse().ok()?,
                of: of.parse().ok()?,
            };
            (1..=shard.of).contains(&shard.number).then_some(shard)
        };
        read().ok_or_else(|| "a shard is K/N, and K is a number from 1 to N".to_owned())
    }

    /// Whether the shard has the mutant number `index`. The mutants of one file go to all shards.
    pub(super) fn has(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_cargo_mutants_is_read() {
        let json = r#"[{
            "name": "crates/a/src/b.rs:31:9: replace B::c -> Option<u8> with Some(0)",
            "package": "a", "file": "crates/a/src/b.rs",
            "function": {"function_name": "B::c", "return_type": "-> Option<u8>"},
            "span": {"start": {"line": 31, "column": 9}, "end": {"line": 32, "column": 3}},
            "replacement": "Some(0)", "genre": "FnValue"
        }]"#;
        let expected = Mutant {
            name: "crates/a/src/b.rs:31:9: replace B::c -> Option<u8> with Some(0)".into(),
            file: "crates/a/src/b.rs".into(),
            line: 31,
            change: "replace B::c -> Option<u8> with Some(0)".into(),
        };
        assert_eq!(read_list(json).unwrap(), [expected]);
        assert!(read_list("[{}]").is_err());
        assert!(read_list("no list").is_err());
    }

    #[test]
    fn shards_divide_the_mutants_without_a_rest() {
        let shards = ["1/3", "2/3", "3/3"].map(|text| Shard::parse(text).unwrap());
        for index in 0..10 {
            assert_eq!(shards.iter().filter(|one| one.has(index)).count(), 1);
        }
        assert!(shards[0].has(0) && shards[1].has(1) && shards[2].has(5));
    }

    #[test]
    fn shard_out_of_its_range_is_refused() {
        for text in ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"] {
            assert!(Shard::parse(text).is_err(), "{text}");
        }
    }
}
