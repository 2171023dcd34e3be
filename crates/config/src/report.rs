//! Messages about a configuration. Each names the file, the line, what is wrong and what to do. No
//! message shows what looks like a key.

use std::{cell::RefCell, path::Path};

use toml::de::DeValue;

use super::types::Problem;

/// The text of a configuration file, able to say where a byte of it stands.
#[derive(Debug)]
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    /// Byte at which each line begins.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(index, _)| index + 1))
            .collect();
        Self { path, text, starts }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Line of the byte at `at`, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Text of the line that holds the byte at `at`, without surrounding space.
    pub(super) fn line_text(&self, at: usize) -> &'a str {
        let start = self.start_of_line(at);
        self.text
            .get(start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or("")
            .trim()
    }

    /// The text up to the end of the line that holds the byte at `at`.
    pub(super) fn text_to(&self, at: usize) -> &'a str {
        let end = self.starts.get(self.line(at));
        let end = end.map_or(self.text.len(), |end| *end);
        self.text.get(..end).unwrap_or(self.text)
    }

    /// `FILE:LINE:COLUMN`; columns count characters from 1.
    pub(super) fn location(&self, at: usize) -> String {
        let start = self.start_of_line(at);
        let column = self
            .text
            .get(start..at)
            .map_or(1, |before| before.chars().count() + 1);
        format!("{}:{}:{column}", self.path.display(), self.line(at))
    }

    fn start_of_line(&self, at: usize) -> usize {
        self.starts.get(self.line(at) - 1).copied().unwrap_or(0)
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub(super) source: Source<'a>,
    problems: RefCell<Vec<(usize, Problem)>>,
    warnings: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self {
            source,
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, at: usize, message: String, remedy: impl Into<String>) {
        self.problems
            .borrow_mut()
            .push((at, self.place(at, message, remedy.into())));
    }

    /// Adds a problem that no line of the file is to blame for.
    pub(super) fn problem_elsewhere(&self, message: String, remedy: impl Into<String>) {
        let location = self.source.path().display().to_string();
        let problem = Problem {
            location,
            message,
            remedy: remedy.into(),
        };
        self.problems.borrow_mut().push((0, problem));
    }

    pub(super) fn warning(&self, at: usize, message: String, remedy: impl Into<String>) {
        self.warnings
            .borrow_mut()
            .push((at, self.place(at, message, remedy.into())));
    }

    /// Warnings, or all problems if there are any; each in the order of the file.
    pub(super) fn into_result(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let in_order = |mut found: Vec<(usize, Problem)>| {
            found.sort_by_key(|(at, _)| *at);
            found
                .into_iter()
                .map(|(_, problem)| problem)
                .collect::<Vec<_>>()
        };
        let problems = in_order(self.problems.into_inner());
        if problems.is_empty() {
            Ok(in_order(self.warnings.into_inner()))
        } else {
            Err(problems)
        }
    }

    fn place(&self, at: usize, message: String, remedy: String) -> Problem {
        Problem {
            location: self.source.location(at),
            message,
            remedy,
        }
    }
}

/// Longest piece of a configuration that a message repeats, in characters.
const MAX_SHOWN: usize = 80;
/// Hex digits in a row that may be a key.
const KEY_DIGITS: usize = 32;

/// `text` in double quotes, fit for a message.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// `text` fit for a message: on one line, of bounded length, without what may be a key.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    let mut count = 0;
    while let Some(next) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if count >= MAX_SHOWN {
            shown.push('…');
            break;
        } else if digits >= KEY_DIGITS {
            shown.push_str("<hidden>");
            rest = rest.get(digits..).unwrap_or("");
        } else {
            // A short run of digits is taken whole, so that its tail is not judged anew.
            let end = if digits > 0 { digits } else { next.len_utf8() };
            let (piece, after) = rest.split_at(end);
            if next.is_control() {
                shown.extend(next.escape_default());
            } else {
                shown.push_str(piece);
            }
            rest = after;
        }
        count += 1;
    }
    shown
}

/// The words of messages for the type of a value.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A value with its type, as far as a line has room for it.
pub(super) fn type_and_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the integer {}", shown(number.as_str())),
        DeValue::Float(number) => format!("the float {}", shown(number.as_str())),
        DeValue::Boolean(is) => format!("the boolean {is}"),
        other => type_name(other).to_owned(),
    }
}

/// The word of `known` that `text` was probably meant to be.
pub(super) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = text.to_lowercase();
    // Longer than any name: no misspelling, and not worth a quadratic comparison.
    if text.len() > 80 {
        return None;
    }
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&text, &name.to_lowercase()),
                name,
            )
        })
        // Names of one letter are all one edit apart: that is no likeness.
        .filter(|(distance, name)| *distance < name.len() && *distance <= 1.max(name.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A remedy for `name`, which is none of `names`.
pub(super) fn likely(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(likely) => format!("did you mean \"{likely}\"?"),
        None => format!("known: {}", known(names)),
    }
}

/// The first few of `names`.
pub(super) fn known(names: &[&str]) -> String {
    const FEW: usize = 8;
    let more = if names.len() > FEW { ", …" } else { "" };
    let few: Vec<_> = names
        .iter()
        .take(FEW)
        .copied()
        .filter(|name| !name.is_empty())
        .collect();
    format!("{}{more}", few.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new(Path::new("f"), "é = 1\n\nab\n");
        assert_eq!(source.location(0), "f:1:1");
        assert_eq!(source.location(3), "f:1:3");
        assert_eq!(source.location(7), "f:2:1");
        assert_eq!(source.location(9), "f:3:2");
        assert_eq!(source.location(11), "f:4:1");
        assert_eq!(source.line_text(9), "ab");
        assert_eq!(source.line_text(11), "");
        // Inside a character and past the end: imprecise, but no panic.
        assert_eq!(source.location(1), "f:1:1");
        assert_eq!(source.line(999), 4);
    }

    #[test]
    fn shown_value_is_short_and_plain_and_no_key() {
        assert_eq!(quoted("eth0"), "\"eth0\"");
        assert_eq!(shown("a\nb\u{7}"), "a\\nb\\u{7}");
        assert_eq!(
            shown("1 00112233445566778899aabbccddeeff !"),
            "1 <hidden> !"
        );
        assert_eq!(shown(&"x".repeat(100)), format!("{}…", "x".repeat(80)));
        assert_eq!(shown("0011223344556677"), "0011223344556677");
    }

    #[test]
    fn nearest_name_is_near() {
        let known = ["interval", "timeout", "on"];
        assert_eq!(nearest("intervall", known), Some("interval"));
        assert_eq!(nearest("Timeout", known), Some("timeout"));
        assert_eq!(nearest("no", known), Some("on"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("c", ["a", "b"]), None);
    }
}
