//! The tests and figures that `docs/design/guarantees.md` names exist.
//!
//! A promise is a section with a table. A row of the table names the tests of one place: links to
//! files of tests, each followed by the names of tests in it. The row `measured` quotes figures,
//! each followed by a link to the document that has the figure.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use proc_macro2::{Delimiter, TokenTree};

use super::{
    document::{Document, Part},
    finding::Finding,
    links::resolve,
    source::{Tree, group, ident, is_ident, is_punct},
};
use crate::workspace::Workspace;

const PAGE: &str = "docs/design/guarantees.md";
/// The rows with tests.
const PLACES: [&str; 6] = [
    "model",
    "simulation",
    "functions",
    "kernel",
    "namespaces",
    "virtual machines",
];
/// The rows without tests that each promise has.
const OTHERS: [&str; 3] = ["assumes", "kept by", "measured"];

/// A reference in a table: a test in a file, or a quoted figure in a document.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    /// The line of the page.
    line: usize,
    name: String,
    /// The path from the root of the tree, if a link leads there.
    file: Option<PathBuf>,
}

/// One section of the page.
#[derive(Debug, Default)]
struct Promise {
    title: String,
    /// The line of the title.
    line: usize,
    /// The labels of the rows.
    rows: Vec<(String, usize)>,
    /// The tests of each place, in the order of [`PLACES`].
    tests: [Vec<Reference>; PLACES.len()],
    figures: Vec<Reference>,
}

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let page = page(tree)?;
    Ok(judge(page, &promises(page), tree))
}

/// `cargo xtask guarantees`: prints the promises with the number of their tests in each place, and
/// fails if the page names a test or a figure that is gone.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let tree = Tree::read(&workspace.root)?;
    let page = page(&tree)?;
    let promises = promises(page);
    print!("{}", table(&promises));
    let findings = judge(page, &promises, &tree);
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn page(tree: &Tree) -> Result<&Document> {
    let mut documents = tree.documents.iter();
    let page = documents.find(|document| document.path == Path::new(PAGE));
    page.with_context(|| format!("{PAGE} is missing"))
}

fn promises(page: &Document) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    for line in page.lines() {
        match (line.part, promises.last_mut()) {
            (Part::Heading, _) if line.text.starts_with("## ") => promises.push(Promise {
                title: line.text.trim_start_matches('#').trim().to_owned(),
                line: line.number,
                ..Promise::default()
            }),
            (Part::Table, Some(promise)) => promise.add(page, line.number, line.text),
            _ => {}
        }
    }
    promises
}

impl Promise {
    /// Adds a row of the table, unless it is the empty head or the rule below it.
    fn add(&mut self, page: &Document, line: usize, row: &str) {
        let mut cells = row.trim().trim_matches('|').splitn(2, '|');
        let label = cells.next().unwrap_or_default().trim();
        let content = cells.next().unwrap_or_default();
        if label.is_empty() || label.starts_with('-') {
            return;
        }
        self.rows.push((label.to_owned(), line));
        if let Some(place) = PLACES.iter().position(|place| *place == label) {
            self.tests[place].extend(tests(page, line, content));
        } else if label == "measured" {
            self.figures.extend(figures(page, line, content));
        }
    }

    fn count(&self) -> usize {
        self.tests.iter().map(Vec::len).sum()
    }
}

/// The names in backticks in a cell, each with the file of the last link before it.
fn tests(page: &Document, line: usize, cell: &str) -> Vec<Reference> {
    let mut file = None;
    let mut tests = Vec::new();
    let mut rest = cell;
    while let Some(at) = rest.find(['`', ']']) {
        let after = &rest[at..];
        if let Some(target) = after.strip_prefix("](") {
            let (target, behind) = target.split_once(')').unwrap_or((target, ""));
            file = Some(linked(page, target));
            rest = behind;
        } else if let Some(name) = after.strip_prefix('`') {
            let (name, behind) = name.split_once('`').unwrap_or((name, ""));
            tests.push(Reference {
                line,
                name: name.to_owned(),
                file: file.clone(),
            });
            rest = behind;
        } else {
            rest = &after[1..];
        }
    }
    tests
}

/// The texts in quotation marks in a cell, each with the document of the next link.
fn figures(page: &Document, line: usize, cell: &str) -> Vec<Reference> {
    let quoted = cell.match_indices('"').step_by(2).filter_map(|(at, _)| {
        let (name, behind) = cell[at + 1..].split_once('"')?;
        let target = behind
            .split_once("](")
            .and_then(|(_, rest)| rest.split_once(')'));
        Some(Reference {
            line,
            name: name.to_owned(),
            file: target.map(|(target, _)| linked(page, target)),
        })
    });
    quoted.collect()
}

/// The path from the root of the tree to the target of a link of `page`.
fn linked(page: &Document, target: &str) -> PathBuf {
    let path = target.split('#').next().unwrap_or_default();
    resolve(page.path.parent().unwrap_or(Path::new("")), path)
}

fn judge(page: &Document, promises: &[Promise], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if promises.is_empty() {
        findings.push(page.finding(1, "the page promises nothing".into()));
    }
    for promise in promises {
        findings.extend(shape(page, promise));
        for test in promise.tests.iter().flatten() {
            if let Err(error) = has_test(tree, test) {
                findings.push(page.finding(test.line, error.to_string()));
            }
        }
        for figure in &promise.figures {
            if let Err(error) = has_figure(tree, figure) {
                findings.push(page.finding(figure.line, error.to_string()));
            }
        }
    }
    findings
}

/// The findings about the rows of a promise.
fn shape(page: &Document, promise: &Promise) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (label, line) in &promise.rows {
        let label = label.as_str();
        if !PLACES.contains(&label) && !OTHERS.contains(&label) {
            findings.push(page.finding(*line, format!("no row is called \"{label}\"")));
        }
        if !seen.insert(label) {
            findings.push(page.finding(*line, format!("a second row \"{label}\"")));
        }
    }
    for label in OTHERS.iter().filter(|label| !seen.contains(*label)) {
        findings.push(page.finding(
            promise.line,
            format!("a promise without the row \"{label}\""),
        ));
    }
    if promise.count() == 0 {
        findings.push(page.finding(promise.line, "a promise without a test".into()));
    }
    findings
}

fn has_test(tree: &Tree, test: &Reference) -> Result<()> {
    let name = &test.name;
    let Some(file) = &test.file else {
        bail!("the test {name} has no link to its file before it");
    };
    let Some(source) = tree.sources.iter().find(|source| source.path == *file) else {
        bail!(
            "{} is no source: the test {name} is to be in it",
            file.display()
        );
    };
    if !test_names(&source.tokens).contains(name) {
        bail!("{} has no test {name}", file.display());
    }
    Ok(())
}

fn has_figure(tree: &Tree, figure: &Reference) -> Result<()> {
    let quoted = &figure.name;
    let Some(file) = &figure.file else {
        bail!("the figure \"{quoted}\" has no link to its source behind it");
    };
    let mut documents = tree.documents.iter();
    let Some(document) = documents.find(|document| document.path == *file) else {
        bail!(
            "{} is no document: \"{quoted}\" is to be in it",
            file.display()
        );
    };
    if !plain(&document.text).contains(&plain(quoted)) {
        bail!("\"{quoted}\" no longer stands in {}", file.display());
    }
    Ok(())
}

/// `text` without line breaks, emphasis and the borders of tables.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.replace('*', ""));
    let words: Vec<String> = words.filter(|word| word != "|").collect();
    words.join(" ")
}

/// The names of the functions with the attribute `#[test]`, at any depth.
fn test_names(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(inner) = token {
            let inner: Vec<TokenTree> = inner.stream().into_iter().collect();
            names.append(&mut test_names(&inner));
        }
        if is_punct(Some(token), '#') {
            let attribute = group(tokens, at + 1, Delimiter::Bracket);
            is_test |=
                attribute.is_some_and(|words| words.len() == 1 && is_ident(words.first(), "test"));
        } else if is_ident(Some(token), "fn") {
            names.extend(ident(tokens, at + 1).filter(|_| is_test));
            is_test = false;
        }
    }
    names
}

/// A row for each promise: the number of its tests in each place, and whether figures are quoted.
fn table(promises: &[Promise]) -> String {
    let titles = promises.iter().map(|promise| promise.title.chars().count());
    let width = titles.max().unwrap_or_default().max("promise".len());
    let mut table = format!("{:width$}", "promise");
    for place in PLACES {
        table += &format!("  {place}");
    }
    table += "  figures\n";
    for promise in promises {
        table += &format!("{:width$}", promise.title);
        for (place, tests) in PLACES.iter().zip(&promise.tests) {
            let count = if tests.is_empty() {
                "-".to_owned()
            } else {
                tests.len().to_string()
            };
            table += &format!("  {count:>width$}", width = place.len());
        }
        table += &format!("  {:>7}\n", promise.figures.len());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    const TESTS: &str = "#[test]\nfn one() {}\n// fn gone() {}\n\
                         proptest! { #[test] #[ignore] fn two(a in 0..1) {} }\n\
                         fn helper() {}\n#[cfg(test)]\nmod tests { #[test] fn three() {} }";

    fn page(rows: &str) -> Tree {
        let page = format!("# Guarantees\n\n## It holds\n\nSo.\n\n| | |\n| --- | --- |\n{rows}");
        tree(&[
            (PAGE, &page),
            (
                "README.md",
                "It took **6.0 ms**\nin all. | 57 ms | default |\n",
            ),
            ("crates/a/tests/b.rs", TESTS),
        ])
    }

    fn found(rows: &str) -> Vec<String> {
        let found = shown(&check(&page(rows)).unwrap());
        let line = |finding: &String| {
            finding
                .strip_prefix(&format!("{PAGE}:"))
                .unwrap()
                .to_owned()
        };
        found.iter().map(line).collect()
    }

    const GOOD: &str = "| assumes | nothing |\n| kept by | a rule |\n\
        | model | [b](../../crates/a/tests/b.rs) `one`, `two`; [b](../../crates/a/tests/b.rs) \
        `three` |\n| measured | \"6.0 ms in all\", \"57 ms default\" ([it](../../README.md#x)) |\n";

    #[test]
    fn promise_with_its_tests_and_figures_is_good() {
        assert_eq!(found(GOOD), [""; 0]);
        let tree = page(GOOD);
        let promises = promises(super::page(&tree).unwrap());
        assert_eq!(promises.len(), 1);
        assert_eq!((promises[0].count(), promises[0].figures.len()), (3, 2));
    }

    #[test]
    fn test_that_is_gone_is_found() {
        for name in ["gone", "helper", "on"] {
            let rows = GOOD.replace("`two`", &format!("`{name}`"));
            let expected = format!("11: crates/a/tests/b.rs has no test {name}");
            assert_eq!(found(&rows), [expected]);
        }
        let rows = GOOD.replace("a/tests/b.rs) `one`", "a/tests/c.rs) `one`");
        let gone = "11: crates/a/tests/c.rs is no source: the test";
        let expected = ["one", "two"].map(|name| format!("{gone} {name} is to be in it"));
        assert_eq!(found(&rows), expected);
        let rows = GOOD.replace("| model | ", "| model | `first`, ");
        let expected = "11: the test first has no link to its file before it";
        assert_eq!(found(&rows), [expected]);
    }

    #[test]
    fn figure_that_is_gone_is_found() {
        let rows = GOOD.replace("6.0 ms in all", "5.0 ms in all");
        assert_eq!(
            found(&rows),
            ["12: \"5.0 ms in all\" no longer stands in README.md"]
        );
        let rows = GOOD.replace("](../../README.md#x)", "]");
        let missing = "has no link to its source behind it";
        let expected = ["6.0 ms in all", "57 ms default"]
            .map(|name| format!("12: the figure \"{name}\" {missing}"));
        assert_eq!(found(&rows), expected);
    }

    #[test]
    fn promise_without_a_row_or_a_test_is_found() {
        let rows = "| assumes | nothing |\n| measured | – |\n| modell | – |\n| assumes | – |\n";
        let expected = [
            "11: no row is called \"modell\"",
            "12: a second row \"assumes\"",
            "3: a promise without the row \"kept by\"",
            "3: a promise without a test",
        ];
        assert_eq!(found(rows), expected);
    }

    #[test]
    fn table_counts_the_tests_of_each_place() {
        let tree = page(GOOD);
        let table = table(&promises(super::page(&tree).unwrap()));
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1], ["It", "holds", "3", "-", "-", "-", "-", "-", "2"]);
    }
}
