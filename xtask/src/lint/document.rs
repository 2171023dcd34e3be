//! The Markdown files of the tree, line by line.

use std::path::PathBuf;

use super::finding::Finding;

/// One Markdown file.
#[derive(Debug)]
pub(super) struct Document {
    /// The path from the root of the tree.
    pub path: PathBuf,
    pub text: String,
}

/// The part of a document that a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Prose,
    Heading,
    Table,
    /// A fenced block, its fences included.
    Code,
}

/// One line of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The number of the line, from 1.
    pub number: usize,
    pub part: Part,
    pub text: &'a str,
}

impl Document {
    pub(super) fn lines<'a>(&'a self) -> impl Iterator<Item = Line<'a>> {
        let mut is_open = false;
        let line = move |(index, text): (usize, &'a str)| {
            let is_fence = text.trim_start().starts_with("```");
            let part = if is_open || is_fence {
                Part::Code
            } else if text.starts_with('#') {
                Part::Heading
            } else if text.trim_start().starts_with('|') {
                Part::Table
            } else {
                Part::Prose
            };
            is_open ^= is_fence;
            let number = index + 1;
            Line { number, part, text }
        };
        self.text.lines().enumerate().map(line)
    }

    pub(super) fn finding(&self, line: usize, what: String) -> Finding {
        let path = self.path.clone();
        Finding { path, line, what }
    }
}

/// A copy of `text` with spaces in place of inline code and of link targets.
pub(super) fn without_code(text: &str) -> String {
    let mut in_code = false;
    let mut in_target = false;
    let mut last = ' ';
    let keep = |c: char| {
        in_code ^= c == '`';
        in_target = in_target && c != ')' || !in_code && last == ']' && c == '(';
        last = c;
        if in_code || in_target || c == '`' {
            ' '
        } else {
            c
        }
    };
    text.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_belong_to_their_parts() {
        let text = "# Title\n\nText\n| a | b |\n```console\n# no heading\n```\n- item\n";
        let document = Document {
            path: "a.md".into(),
            text: text.to_owned(),
        };
        let parts: Vec<Part> = document.lines().map(|line| line.part).collect();
        let expected = [
            Part::Heading,
            Part::Prose,
            Part::Prose,
            Part::Table,
            Part::Code,
            Part::Code,
            Part::Code,
            Part::Prose,
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn code_and_link_targets_are_blanked() {
        let text = "a `b` [c](d.md) (e)";
        assert_eq!(without_code(text), "a     [c]     ) (e)".to_owned());
    }
}
