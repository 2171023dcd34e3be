//! No line of a document or of a comment is wider than 100 columns.
//!
//! Tables and code are exempt, and so is a line without a place to break it, such as a long link.
//! rustfmt breaks code lines, but no comments.

use super::{
    document::{Document, Line, Part},
    finding::Finding,
    source::{Source, Tree},
};

const COLUMNS: usize = 100;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.documents.iter().flat_map(in_document);
    documents
        .chain(tree.sources.iter().flat_map(in_comments))
        .collect()
}

fn in_document(document: &Document) -> Vec<Finding> {
    let prose = |line: &Line<'_>| matches!(line.part, Part::Prose | Part::Heading);
    let lines = document.lines().filter(prose);
    let wide = lines.filter(|line| is_wide(line.text));
    wide.map(|line| document.finding(line.number, remedy(line.text)))
        .collect()
}

fn in_comments(source: &Source) -> Vec<Finding> {
    let mut is_code = false;
    let comments = source.text.lines().enumerate().filter(|(_, line)| {
        let comment = line.trim_start();
        let text = comment.trim_start_matches(['/', '!']).trim_start();
        let is_comment = comment.starts_with("//");
        is_code = is_comment && is_code != text.starts_with("```");
        is_comment && !is_code && !text.starts_with('|')
    });
    let wide = comments.filter(|(_, line)| is_wide(line));
    wide.map(|(index, line)| source.finding(index + 1, remedy(line)))
        .collect()
}

fn is_wide(text: &str) -> bool {
    text.chars().count() > COLUMNS && can_be_broken(text)
}

fn remedy(text: &str) -> String {
    let columns = text.chars().count();
    format!("{columns} columns, more than {COLUMNS}: break the line")
}

/// Whether a space after the indent and the marker of a list is within the limit.
fn can_be_broken(text: &str) -> bool {
    let body = text.trim_start();
    let (marker, rest) = body.split_once(' ').unwrap_or((body, ""));
    let is_marker = matches!(marker, "-" | "*") || marker.ends_with('.') && marker.len() < 4;
    let body = if is_marker { rest } else { body };
    let start = text.chars().count() - body.chars().count();
    body.chars().take(COLUMNS - start).any(|c| c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    fn found(text: &str) -> Vec<String> {
        shown(&check(&tree(&[("docs/a.md", text)])))
    }

    #[test]
    fn line_beyond_the_columns_is_found() {
        let good = format!("{}\n", "word ".repeat(20).trim_end());
        assert_eq!(found(&good), [""; 0]);
        let wide = format!("Title\n{}\n", "word ".repeat(21).trim_end());
        let expected = "docs/a.md:2: 104 columns, more than 100: break the line";
        assert_eq!(found(&wide), [expected]);
        assert_eq!(
            found(&format!("- {}\n", "word ".repeat(20).trim_end())).len(),
            1
        );
    }

    #[test]
    fn wide_comment_is_found_and_a_drawing_in_it_is_not() {
        let words = "word ".repeat(21);
        let found = |text: String| shown(&check(&tree(&[("a.rs", &text)])));
        let expected = "a.rs:1: 108 columns, more than 100: break the line";
        assert_eq!(
            found(format!("/// {}\nfn a() {{}}\n", words.trim())),
            [expected]
        );
        for good in [
            format!("//! ```text\n//! {words}\n//! ```\n"),
            format!("//! | {words} |\n"),
            format!("const A: &str = \"{words}\";\n"),
        ] {
            assert_eq!(found(good.clone()), [""; 0], "{good}");
        }
    }

    #[test]
    fn columns_are_characters() {
        assert_eq!(
            found(&format!("{}\n", "wörd ".repeat(20).trim_end())),
            [""; 0]
        );
    }

    #[test]
    fn table_code_and_unbreakable_link_may_be_wider() {
        let long = "word ".repeat(30);
        for text in [
            format!("| {long} |\n"),
            format!("```\n{long}\n```\n"),
            format!("- [{}](b.md)\n", "w".repeat(110)),
        ] {
            assert_eq!(found(&text), [""; 0], "{text}");
        }
    }
}
