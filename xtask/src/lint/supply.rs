//! The dependencies of the project: the origin of each crate, its licence, and crates in two
//! versions. The lock files are the source; advisories are not checked.

use std::{collections::BTreeMap, env::consts, iter::Peekable};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{cargo, process, workspace::Workspace};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that are compatible with ours and require only attribution.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be used, with the reason.
const BANNED: [(&str, &str); 3] = [
    ("openssl-sys", "the binary depends on the C library alone"),
    ("native-tls", "the binary depends on the C library alone"),
    (
        "chrono",
        "nothing is decided by the wall clock, and humantime shows it",
    ),
];

/// Crates that dependencies need in two versions. A crate that is no longer there twice must be
/// removed from the list.
const TWICE: &[&str] = &[
    "embedded-io",
    "getrandom",
    "hashbrown",
    "rand",
    "rand_core",
    "syn",
];

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
    let user = packages(workspace, None)?;
    findings.extend(twice(&user, TWICE));
    let bpf = packages(workspace, Some(workspace.bpf_manifest()))?;
    let fuzz = packages(workspace, Some(workspace.fuzz_manifest()))?;
    for package in user.iter().chain(&bpf).chain(&fuzz) {
        findings.extend(judge(package));
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
fn judge(package: &Package) -> Vec<String> {
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
    if !is_allowed(licence) {
        findings.push(format!(
            "{name} {version} has the licence `{licence}`: find another crate, or add the licence to \
             xtask/src/lint/supply.rs"
        ));
    }
    if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
        findings.push(format!("{name} {version} must not come in: {why}"));
    }
    findings
}

/// Crates in several versions other than `known`, and `known` ones that are not.
fn twice(packages: &[Package], known: &[&str]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let all = versions.entry(&package.name).or_default();
        all.push(&package.version);
    }
    let several = versions.iter().filter(|(_, versions)| versions.len() > 1);
    let several: BTreeMap<_, _> = several.collect();
    let new = several
        .iter()
        .filter(|(name, _)| !known.contains(name))
        .map(|(name, versions)| {
            format!(
                "{name} is there in several versions, {}: depend on one, or add it to TWICE in \
                 xtask/src/lint/supply.rs",
                versions.join(" and ")
            )
        });
    let gone = known
        .iter()
        .filter(|name| !several.contains_key(*name))
        .map(|name| format!("{name} is there once: take it off TWICE in xtask/src/lint/supply.rs"));
    new.chain(gone).collect()
}

/// Whether `LICENCES` satisfy a licence expression (SPDX, or the older form with slashes).
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words) && words.next().is_none()
}

fn any<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> bool {
    let mut met = all(words);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words);
    }
    met
}

fn all<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> bool {
    let mut met = one(words);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words);
    }
    met
}

fn one<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> bool {
    match words.next() {
        Some("(") => any(words) & words.next_if_eq(&")").is_some(),
        Some(licence) => {
            let mut licence = licence.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
            }
            LICENCES.contains(&licence.as_str())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(is_allowed(good), "{good}");
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
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn crate_is_judged_by_source_licence_and_name() {
        assert!(judge(&package("a", "1", "MIT", CRATES_IO)).is_empty());
        let git = "git+https://example.org/a#1";
        for (bad, word) in [
            (package("a", "1", "MIT", git), "comes from git+https"),
            (package("a", "1", "GPL-3.0", CRATES_IO), "licence `GPL-3.0`"),
            (package("chrono", "1", "MIT", CRATES_IO), "must not come in"),
        ] {
            let found = judge(&bad);
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
        assert!(twice(&twice_there, &["a"]).is_empty());
        let found = twice(&twice_there, &["b"]);
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
