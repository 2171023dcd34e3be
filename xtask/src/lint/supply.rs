//! The project's dependencies: the source, the licence and the versions of each crate, by the lock
//! files and by `deny.toml`.
//!
//! cargo-deny reads the same file and checks the same (`cargo deny check bans licenses sources`),
//! but takes minutes to build. Neither checks advisories.

use std::{collections::BTreeMap, env::consts, fs, iter::Peekable};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{cargo, process, workspace::Workspace};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The file that `cargo deny check bans licenses sources` reads, too.
const FILE: &str = "deny.toml";

/// The dependencies that the project accepts, as `deny.toml` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Policy {
    /// `licenses.allow`
    licences: Vec<String>,
    /// `bans.deny`, with the reasons.
    banned: Vec<(String, String)>,
    /// `bans.skip`: crates that dependencies need in two versions.
    twice: Vec<String>,
}

impl Policy {
    fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("could not use {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let file = DeTable::parse(text)?;
        let list = |table: &str, name: &str| {
            let list = file.get_ref().get(table);
            let list = list.and_then(|table| table.get_ref().get(name));
            list.and_then(|list| list.get_ref().as_array())
                .with_context(|| format!("no list `{name}` in [{table}]"))
        };
        let licences = list("licenses", "allow")?.iter();
        let text = |value: Option<&Spanned<DeValue<'_>>>| {
            let text = value.and_then(|value| value.get_ref().as_str());
            text.unwrap_or_default().to_owned()
        };
        let field = |entry: &Spanned<DeValue<'_>>, name: &str| text(entry.get_ref().get(name));
        let banned = list("bans", "deny")?.iter();
        let twice = list("bans", "skip")?.iter();
        Ok(Self {
            licences: licences.map(|licence| text(Some(licence))).collect(),
            banned: banned
                .map(|entry| (field(entry, "crate"), field(entry, "reason")))
                .collect(),
            twice: twice.map(|entry| field(entry, "crate")).collect(),
        })
    }
}

/// A crate of the registry, or of another place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    licence: String,
    source: String,
}

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = Vec::new();
    let policy = Policy::read(workspace)?;
    let user = packages(workspace, None)?;
    findings.extend(twice(&user, &policy.twice));
    let bpf = packages(workspace, Some(workspace.bpf_manifest()))?;
    let fuzz = packages(workspace, Some(workspace.fuzz_manifest()))?;
    for package in user.iter().chain(&bpf).chain(&fuzz) {
        findings.extend(judge(package, &policy));
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        eprintln!("{finding}");
    }
    let count = findings.len();
    ensure!(count == 0, "{count} to mend; they are above");
    Ok(())
}

/// The crates of a lock file that are compiled on Linux.
fn packages(workspace: &Workspace, manifest: Option<std::path::PathBuf>) -> Result<Vec<Package>> {
    let mut query = cargo::command(workspace);
    query.args(["metadata", "--locked", "--format-version", "1"]);
    query.arg("--filter-platform");
    query.arg(format!("{}-unknown-linux-gnu", consts::ARCH));
    if let Some(manifest) = manifest {
        query.arg("--manifest-path").arg(manifest);
    }
    parse(&process::output(&mut query)?)
}

fn parse(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value =
        serde_json::from_str(metadata).context("cargo metadata printed no JSON")?;
    let all = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let package = |value: &Value| Package {
        name: text(&value["name"]),
        version: text(&value["version"]),
        licence: text(&value["license"]),
        source: text(&value["source"]),
    };
    let all = all.iter().map(package);
    // Crates without a source are our own.
    Ok(all.filter(|package| !package.source.is_empty()).collect())
}

/// The faults of one crate.
fn judge(package: &Package, policy: &Policy) -> Vec<String> {
    let Package {
        name,
        version,
        licence,
        source,
    } = package;
    let mut findings = Vec::new();
    if source != CRATES_IO {
        findings.push(format!(
            "{name} {version} comes from {source}: depend on what crates.io has"
        ));
    }
    if !is_allowed(licence, &policy.licences) {
        findings.push(format!(
            "{name} {version} has the licence `{licence}`: find another crate, or add the licence to \
             {FILE}"
        ));
    }
    if let Some((_, why)) = policy.banned.iter().find(|(banned, _)| banned == name) {
        findings.push(format!("{name} {version} must not come in: {why}"));
    }
    findings
}

/// Crates in several versions other than `known`, and `known` ones that are not.
fn twice(packages: &[Package], known: &[String]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let all = versions.entry(&package.name).or_default();
        all.push(&package.version);
    }
    let several = versions.iter().filter(|(_, versions)| versions.len() > 1);
    let several: BTreeMap<_, _> = several.collect();
    let new = several
        .iter()
        .filter(|(name, _)| !known.iter().any(|known| known == **name))
        .map(|(name, versions)| {
            format!(
                "{name} is there in several versions, {}: depend on one, or add it to `skip` in \
                 {FILE}",
                versions.join(" and ")
            )
        });
    let gone = known
        .iter()
        .filter(|name| !several.keys().any(|there| **there == name.as_str()))
        .map(|name| format!("{name} is there once: take it off `skip` in {FILE}"));
    new.chain(gone).collect()
}

/// Whether the `allowed` licences satisfy a licence expression (SPDX, or the older form with
/// slashes).
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

fn any<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => any(words, allowed) & words.next_if_eq(&")").is_some(),
        Some(licence) => {
            let mut licence = licence.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
            }
            allowed.contains(&licence)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(include_str!("../../../deny.toml")).unwrap()
    }

    #[test]
    fn policy_is_read_from_the_file_of_cargo_deny() {
        let policy = policy();
        assert!(policy.licences.iter().any(|licence| licence == "MIT"));
        assert!(policy.twice.iter().any(|name| name == "syn"));
        assert!(
            policy
                .banned
                .iter()
                .all(|(name, why)| !name.is_empty() && !why.is_empty())
        );
        let error = Policy::parse("[licenses]\nallow = []\n").unwrap_err();
        assert_eq!(error.to_string(), "no list `deny` in [bans]");
    }

    fn package(name: &str, version: &str, licence: &str, source: &str) -> Package {
        let [name, version, licence, source] = [name, version, licence, source].map(str::to_owned);
        Package {
            name,
            version,
            licence,
            source,
        }
    }

    #[test]
    fn licence_is_allowed_if_one_way_to_meet_it_is() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "Unlicense OR MIT",
            "GPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(is_allowed(good, &policy().licences), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-2.0",
            "GPL-2.0 WITH LLVM-exception",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "(MIT",
            "MIT Apache-2.0",
        ] {
            assert!(!is_allowed(bad, &policy().licences), "{bad}");
        }
    }

    #[test]
    fn crate_is_judged_by_source_licence_and_name() {
        let policy = policy();
        assert!(judge(&package("a", "1", "MIT", CRATES_IO), &policy).is_empty());
        let git = "git+https://example.org/a#1";
        for (bad, word) in [
            (package("a", "1", "MIT", git), "comes from git+https"),
            (package("a", "1", "GPL-3.0", CRATES_IO), "licence `GPL-3.0`"),
            (package("chrono", "1", "MIT", CRATES_IO), "must not come in"),
        ] {
            let found = judge(&bad, &policy);
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn crate_in_two_versions_is_named_unless_known_and_so_is_one_that_is_not_any_more() {
        let twice_there = [
            package("a", "1.0.0", "MIT", CRATES_IO),
            package("a", "2.0.0", "MIT", CRATES_IO),
            package("b", "1.0.0", "MIT", CRATES_IO),
        ];
        assert!(twice(&twice_there, &["a".to_owned()]).is_empty());
        let found = twice(&twice_there, &["b".to_owned()]);
        assert!(found[0].contains("a is there in several versions, 1.0.0 and 2.0.0"));
        assert!(found[1].contains("b is there once") && found.len() == 2);
    }

    #[test]
    fn packages_of_our_own_are_left_out() {
        let metadata = concat!(
            r#"{"packages":[{"name":"ours","version":"1","license":null,"source":null},"#,
            r#"{"name":"a","version":"1","license":"MIT","source":"s"}]}"#,
        );
        assert_eq!(parse(metadata).unwrap(), [package("a", "1", "MIT", "s")]);
    }
}
