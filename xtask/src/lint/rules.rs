//! Every safety rule of docs/design/leases.md is cited at the code that keeps it and at its test.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use super::{
    finding::Finding,
    source::{self, Tree},
};

/// The document with the rules. A citation is this path, `#`, and the name of the rule's anchor.
const RULES: &str = "docs/design/leases.md";
const ANCHOR: &str = "<a id=\"rule-";
const CITATION: &str = "docs/design/leases.md#rule-";

/// The files that cite a rule.
#[derive(Debug, Default)]
struct Cited {
    by_source: bool,
    by_test: bool,
}

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let document = source::read(&tree.root.join(RULES))?;
    Ok(judge(&document, tree))
}

fn judge(document: &str, tree: &Tree) -> Vec<Finding> {
    let anchors: BTreeMap<u32, usize> = numbers(document, ANCHOR).collect();
    let mut cited: BTreeMap<u32, Cited> = BTreeMap::new();
    let mut findings = Vec::new();
    // The text of the check itself and of its tests is full of made-up citations.
    for source in tree
        .sources
        .iter()
        .filter(|source| !source.path.starts_with("xtask"))
    {
        for (rule, line) in numbers(&source.text, CITATION) {
            if !anchors.contains_key(&rule) {
                let what = format!("{RULES} has no anchor rule-{rule}: cite one that it has");
                findings.push(source.finding(line, what));
            }
            note(cited.entry(rule).or_default(), &source.path);
        }
    }
    for (rule, line) in anchors {
        let cited = cited.remove(&rule).unwrap_or_default();
        findings.extend(missing(rule, line, &cited));
    }
    findings
}

fn note(cited: &mut Cited, path: &Path) {
    let has = |folder: &str| {
        path.parent()
            .is_some_and(|path| path.iter().any(|part| part == folder))
    };
    if has("tests") {
        cited.by_test = true;
    } else {
        cited.by_source |= has("src");
    }
}

fn missing(rule: u32, line: usize, cited: &Cited) -> impl Iterator<Item = Finding> {
    let needed = [
        (cited.by_source, "source under */src", "where it is kept"),
        (cited.by_test, "test under */tests", "where it is tested"),
    ];
    let lacking = needed.into_iter().filter(|(has, _, _)| !has);
    lacking.map(move |(_, who, place)| Finding {
        path: RULES.into(),
        line,
        what: format!("no {who} cites rule {rule}: write `{CITATION}{rule}` {place}"),
    })
}

/// The numbers after `prefix` in `text`, each with its line.
fn numbers<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (u32, usize)> + 'a {
    let in_line = move |(index, line): (usize, &'a str)| {
        let numbers = line.split(prefix).skip(1).filter_map(leading_number);
        numbers.map(move |number| (number, index + 1))
    };
    text.lines().enumerate().flat_map(in_line)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    const DOCUMENT: &str =
        "# Rules\n\n1. <a id=\"rule-1\"></a>First.\n2. <a id=\"rule-12\"></a>Next.\n";

    #[test]
    fn rule_that_is_cited_by_source_and_test_is_good() {
        let tree = tree(&[
            (
                "crates/a/src/lib.rs",
                "// docs/design/leases.md#rule-1 docs/design/leases.md#rule-12.",
            ),
            (
                "crates/a/tests/b.rs",
                "// docs/design/leases.md#rule-1\n/// docs/design/leases.md#rule-12",
            ),
        ]);
        assert_eq!(judge(DOCUMENT, &tree), []);
    }

    #[test]
    fn rule_without_a_citation_is_found_at_its_anchor() {
        let tree = tree(&[
            ("crates/a/src/lib.rs", "// docs/design/leases.md#rule-1"),
            (
                "crates/a/tests/b.rs",
                "// docs/design/leases.md#rule-1 docs/design/leases.md#rule-12",
            ),
        ]);
        let found = shown(&judge(DOCUMENT, &tree));
        let expected = "docs/design/leases.md:4: no source under */src cites rule 12: \
                        write `docs/design/leases.md#rule-12` where it is kept";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn citation_of_a_rule_that_does_not_exist_is_found() {
        let tree = tree(&[(
            "tests/src/a.rs",
            "fn a() {}\n// docs/design/leases.md#rule-3\n",
        )]);
        let found = shown(&judge("# No rules yet\n", &tree));
        let expected =
            "tests/src/a.rs:2: docs/design/leases.md has no anchor rule-3: cite one that it has";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn document_without_rules_asks_for_nothing() {
        assert_eq!(judge("# No rules yet\n", &tree(&[])), []);
    }
}
