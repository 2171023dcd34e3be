//! No line of a document is wider than 100 columns.
//!
//! Tables and code are exempt, and so is a line without a place to break it, such as a long link.

use super::{
    document::{Document, Line, Part},
    finding::Finding,
    source::Tree,
};

const COLUMNS: usize = 100;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.documents.iter().flat_map(wide).collect()
}

fn wide(document: &Document) -> Vec<Finding> {
    let finding = |line: Line<'_>| {
        let columns = line.text.chars().count();
        let what = format!("{columns} columns, more than {COLUMNS}: break the line");
        document.finding(line.number, what)
    };
    let too_wide = |line: &Line<'_>| {
        matches!(line.part, Part::Prose | Part::Heading)
            && line.text.chars().count() > COLUMNS
            && can_be_broken(line.text)
    };
    document.lines().filter(too_wide).map(finding).collect()
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
