//! The links of the glossary lead to the definitions of its terms.
//!
//! A row of GLOSSARY.md has a term and a link to the place that defines it. A link text in
//! backticks is an identifier or a phrase, and must be in the file.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;

use super::{
    document::{Document, Part},
    finding::Finding,
    source::{Tree, read},
};

const GLOSSARY: &str = "GLOSSARY.md";
/// The concepts that the glossary must have.
const CONCEPTS: [&str; 25] = [
    "acceptor",
    "agent",
    "ballot",
    "control task",
    "core",
    "dead-man",
    "drift",
    "failure detector",
    "group",
    "guard",
    "helper",
    "incarnation",
    "interface monitor",
    "lease",
    "liveness vector",
    "local stall",
    "placement",
    "probe",
    "proposer",
    "pulse",
    "report",
    "resource manager",
    "verdict",
    "voter set",
    "witness",
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let is_glossary = |document: &&Document| document.path == Path::new(GLOSSARY);
    let Some(glossary) = tree.documents.iter().find(is_glossary) else {
        anyhow::bail!("{GLOSSARY} is missing");
    };
    let text = |path: &str| {
        let path = tree.root.join(path);
        let is_folder = fs::metadata(&path)?.is_dir();
        if is_folder {
            Ok(String::new())
        } else {
            read(&path)
        }
    };
    Ok(judge(glossary, &text))
}

fn judge(glossary: &Document, text: &dyn Fn(&str) -> Result<String>) -> Vec<Finding> {
    let mut missing: BTreeSet<&str> = CONCEPTS.into();
    let mut findings = Vec::new();
    for line in glossary.lines().filter(|line| line.part == Part::Table) {
        let mut cells = line.text.split('|').skip(1).map(str::trim);
        let term = cells.next().unwrap_or_default();
        let mut add = |what: String| findings.push(glossary.finding(line.number, what));
        let links: Vec<_> = links(line.text).collect();
        if missing.contains(term) && links.is_empty() {
            add(format!("{term} has no link to its definition"));
        }
        missing.remove(term);
        for (shown, path) in links {
            match text(path) {
                Err(_) => add(format!("{term}: {path} does not exist")),
                Ok(text) if !shows(&text, shown) => add(format!("{term}: {path} has no {shown}")),
                Ok(_) => {}
            }
        }
    }
    let absent = missing.into_iter();
    findings.extend(absent.map(|term| glossary.finding(1, format!("{term} is missing"))));
    findings
}

/// Text and path of each link to a file of the tree, without its anchor.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = line.split("](").zip(line.split("](").skip(1));
    parts.filter_map(|(before, after)| {
        let (_, shown) = before.rsplit_once('[')?;
        let (target, _) = after.split_once(')')?;
        let path = target.split('#').next()?;
        (!path.contains(':')).then_some((shown, path))
    })
}

fn shows(text: &str, shown: &str) -> bool {
    let name = shown
        .strip_prefix('`')
        .and_then(|name| name.strip_suffix('`'));
    name.is_none_or(|name| text.is_empty() || text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    fn found(rows: &str) -> Vec<String> {
        let tree = tree(&[(GLOSSARY, rows)]);
        let text = |path: &str| {
            anyhow::ensure!(path == "a.rs", "no such file");
            Ok("struct Lease;".to_owned())
        };
        let mut found = shown(&judge(&tree.documents[0], &text));
        found.retain(|finding| !finding.ends_with("is missing"));
        found
    }

    #[test]
    fn term_with_its_definition_is_good() {
        assert_eq!(found("| lease | a right | [`Lease`](a.rs) |\n"), [""; 0]);
        assert_eq!(found("| lease | a right | [the page](a.rs#b) |\n"), [""; 0]);
    }

    #[test]
    fn term_without_its_definition_is_found() {
        for (row, expected) in [
            ("| lease | [`Lease`](b.rs) |", "lease: b.rs does not exist"),
            ("| lease | [`Slot`](a.rs) |", "lease: a.rs has no `Slot`"),
            ("| lease | a right |", "lease has no link to its definition"),
        ] {
            assert_eq!(found(row), [format!("GLOSSARY.md:1: {expected}")], "{row}");
        }
    }

    #[test]
    fn concept_without_a_row_is_found() {
        let tree = tree(&[(GLOSSARY, "| lease | [a](a.rs) |\n")]);
        let found = shown(&judge(&tree.documents[0], &|_| Ok(String::new())));
        assert_eq!(found.len(), CONCEPTS.len() - 1);
        assert!(found.contains(&"GLOSSARY.md:1: guard is missing".to_owned()));
    }
}
