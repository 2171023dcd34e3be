//! Words that this project no longer uses are in no document and in no comment.
//!
//! STYLE.md has the reason: one word for one thing, and the field's word where there is one. The
//! changelog may quote old names.

use super::{
    document::{Document, Part, without_code},
    finding::Finding,
    source::{Source, Tree},
};

/// Each abandoned word, and its replacement. Lower case; found as a whole word, or its plural.
const GONE: [(&str, &str); 19] = [
    ("all the same", "still"),
    ("anybody", "any process, or any user"),
    ("conductor", "resource manager"),
    ("deafness", "local stall"),
    ("do not hear", "do not receive"),
    ("electorate", "voter set"),
    ("fate-sharing", "dead-man"),
    ("franchise", "voter set"),
    ("goes by", "uses"),
    ("hears", "receives"),
    ("heritage", "adopted state"),
    ("nobody", "no node, no process or no user"),
    ("occupant", "existing program"),
    ("parting lease", "lease for a graceful restart"),
    ("performer", "executor"),
    ("reason plane", "control task"),
    ("reflex plane", "kernel programs"),
    ("slow side", "control task"),
    ("somebody", "another process, or an operator"),
];

/// Files that quote such words on purpose.
const QUOTING: [&str; 2] = ["CHANGELOG.md", "STYLE.md"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let quotes = |document: &&Document| !QUOTING.iter().any(|path| document.path.ends_with(path));
    let documents = tree.documents.iter().filter(quotes).flat_map(in_document);
    // The table above, and the tests below, are full of such words.
    let others = |source: &&Source| !source.path.ends_with("lint/words.rs");
    let sources = tree.sources.iter().filter(others).flat_map(in_comments);
    documents.chain(sources).collect()
}

fn in_document(document: &Document) -> Vec<Finding> {
    let lines = document.lines().filter(|line| line.part != Part::Code);
    let found = lines.flat_map(|line| gone(line.number, &without_code(line.text)));
    found
        .map(|(line, what)| document.finding(line, what))
        .collect()
}

fn in_comments(source: &Source) -> Vec<Finding> {
    let comments = source.text.lines().enumerate().filter_map(|(index, line)| {
        let (_, comment) = line.split_once("//")?;
        let is_comment = line.trim_start().starts_with("//") || line.contains(" // ");
        is_comment.then(|| (index + 1, without_code(comment)))
    });
    let found = comments.flat_map(|(line, comment)| gone(line, &comment));
    found
        .map(|(line, what)| source.finding(line, what))
        .collect()
}

/// The findings in one line, for each word of the table in it.
fn gone(line: usize, text: &str) -> Vec<(usize, String)> {
    let text = text.to_lowercase();
    let found = GONE.iter().filter(|(word, _)| has_word(&text, word));
    found
        .map(|(word, instead)| (line, format!("\"{word}\" is gone: write \"{instead}\"")))
        .collect()
}

/// Whether `word`, or its plural, is in `text` with no letter beside it.
fn has_word(text: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + word.len()..];
        let after = after.strip_prefix('s').unwrap_or(after);
        !before.is_some_and(letter) && !after.chars().next().is_some_and(letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    fn found(path: &str, text: &str) -> Vec<String> {
        shown(&check(&tree(&[(path, text)])))
    }

    #[test]
    fn gone_word_in_a_document_is_found() {
        let expected = "docs/a.md:2: \"conductor\" is gone: write \"resource manager\"";
        assert_eq!(
            found("docs/a.md", "# A\nThe Conductors start it.\n"),
            [expected]
        );
    }

    #[test]
    fn gone_word_in_a_comment_is_found() {
        let expected = "a.rs:2: \"heritage\" is gone: write \"adopted state\"";
        assert_eq!(
            found("a.rs", "fn a() {}\nfn b() {} // The heritage.\n"),
            [expected]
        );
        assert_eq!(found("a.rs", "/// The heritage.\nfn a() {}\n").len(), 1);
    }

    #[test]
    fn code_links_and_parts_of_words_are_no_words() {
        for text in [
            "See `conductor` and [it](b-conductor.md).\n",
            "A superconductor and a conductorship.\n",
            "```\nconductor\n```\n",
        ] {
            assert_eq!(found("docs/a.md", text), [""; 0], "{text}");
        }
        assert_eq!(found("a.rs", "fn conductor() {}\n"), [""; 0]);
    }

    #[test]
    fn changelog_may_quote_old_names() {
        assert_eq!(found("CHANGELOG.md", "The conductor is gone.\n"), [""; 0]);
    }
}
