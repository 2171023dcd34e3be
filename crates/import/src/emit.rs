//! Our configuration as text: tables with comments. For every value and comment, the text stays
//! valid TOML, and a comment stays a comment.

use std::{collections::BTreeSet, fmt, time::Duration};

use heartbeat_config::duration::Show;
use heartbeat_core::placement::Score;

use super::place::Place;

/// The width after which a comment is wrapped.
const WIDTH: usize = 110;

/// A part of the input that was not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The places of the part; at least one.
    pub places: Vec<Place>,
    /// The part, in the words of the input.
    pub subject: String,
    /// The reason.
    pub reason: String,
    /// The remedy.
    pub remedy: String,
}

impl Remark {
    pub(super) fn new(
        place: &Place,
        subject: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            places: vec![place.clone()],
            subject: subject.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Adds further `places`.
    pub(super) fn also(mut self, places: impl IntoIterator<Item = Place>) -> Self {
        self.places.extend(places);
        self
    }

    /// The part that was not translated, and its places.
    pub fn what(&self) -> String {
        format!("{} ({})", self.subject, listed(&self.places))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what(), self.reason, self.remedy)
    }
}

/// `a:1, 5, b:2`: the file is named where it changes.
pub(super) fn listed(places: &[Place]) -> String {
    let mut out = String::new();
    let mut last: Option<&Place> = None;
    for place in places {
        match last {
            Some(before) if (&before.file, before.line) == (&place.file, place.line) => {}
            Some(before) if before.file == place.file => {
                out.push_str(&format!(", {}", place.line));
            }
            Some(_) => out.push_str(&format!(", {place}")),
            None => out.push_str(&place.to_string()),
        }
        last = Some(place);
    }
    out
}

#[derive(Clone, Debug)]
pub(super) enum Comment {
    /// A description of a translation, and the places for which it accounts.
    Note(String, Vec<Place>),
    Remark(Remark),
    /// A translated part that is refused until the operator decides.
    Decision(Remark),
    /// A part that was translated by a guess at its author's intention.
    Guess(Remark),
    /// A translated part that is not served, since a dependency is missing.
    Held(Remark),
    /// A field that is written as a comment.
    Off(&'static str, Value),
}

impl Comment {
    /// A note about the whole, not about a place.
    pub(super) fn general(text: impl Into<String>) -> Self {
        Self::Note(text.into(), Vec::new())
    }

    pub(super) fn note(text: impl Into<String>, place: &Place) -> Self {
        Self::Note(text.into(), vec![place.clone()])
    }
}

impl From<Remark> for Comment {
    fn from(remark: Remark) -> Self {
        Self::Remark(remark)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<String>),
    Table(Vec<(String, String)>),
    Amounts(Vec<(String, u32)>),
}

impl From<Score> for Value {
    fn from(score: Score) -> Self {
        match score {
            Score::MUST => Self::Text("inf".to_owned()),
            Score::NEVER => Self::Text("-inf".to_owned()),
            _ => Self::Number(score.points().into()),
        }
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        // Our configuration has no time without a unit.
        Self::Text(match duration {
            Duration::ZERO => "0s".to_owned(),
            _ => Show(duration).to_string(),
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Table(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{} = {}", key(name), quoted(value)))
                    .collect();
                write!(f, "{{ {} }}", pairs.join(", "))
            }
            Self::Amounts(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(name, amount)| format!("{} = {amount}", key(name)))
                    .collect();
                write!(f, "{{ {} }}", pairs.join(", "))
            }
        }
    }
}

/// `text` as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `name` as a key of TOML.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// The comments at the begin of a configuration that was made from these files.
pub(super) fn intro(files: &[&str]) -> Block {
    let text = [
        format!(
            "Made by `heartbeat import` from {}. A comment at each part names its source.",
            files.join(" and ")
        ),
        "A statement without a counterpart in heartbeat is in a comment that begins with \"not \
         translated\". The comment has the reason and the remedy."
            .to_owned(),
        "Next: read the comments, run `heartbeat check` on this file, and make the key of all \
         nodes with `heartbeat keygen`."
            .to_owned(),
    ];
    Block {
        comments: text.into_iter().map(Comment::general).collect(),
        ..Block::default()
    }
}

/// A table with the comments above it, or comments alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) comments: Vec<Comment>,
    /// `[cluster]`, `[[node]]`; an empty text means no table.
    pub(super) header: &'static str,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Comments behind the fields.
    pub(super) after: Vec<Comment>,
    /// Whether the table itself is written as a comment.
    pub(super) disabled: bool,
}

impl Block {
    pub(super) fn new(header: &'static str) -> Self {
        Self {
            header,
            ..Self::default()
        }
    }

    pub(super) fn field(&mut self, key: &'static str, value: impl Into<Value>) {
        self.fields.push((key, value.into()));
    }

    fn all_comments(&self) -> impl Iterator<Item = &Comment> {
        self.comments.iter().chain(&self.after)
    }
}

/// The numbers of items so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: usize,
    pub links: usize,
    pub groups: usize,
    pub resources: usize,
    pub constraints: usize,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
}

impl Document {
    pub(super) fn remarks(&self) -> impl Iterator<Item = &Remark> {
        self.comments().filter_map(|comment| match comment {
            Comment::Remark(remark) => Some(remark),
            _ => None,
        })
    }

    pub(super) fn decisions(&self) -> impl Iterator<Item = &Remark> {
        self.comments().filter_map(|comment| match comment {
            Comment::Decision(remark) => Some(remark),
            _ => None,
        })
    }

    pub(super) fn guesses(&self) -> impl Iterator<Item = &Remark> {
        self.comments().filter_map(|comment| match comment {
            Comment::Guess(remark) => Some(remark),
            _ => None,
        })
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Remark> {
        self.comments().filter_map(|comment| match comment {
            Comment::Held(remark) => Some(remark),
            _ => None,
        })
    }

    fn comments(&self) -> impl Iterator<Item = &Comment> {
        self.blocks.iter().flat_map(Block::all_comments)
    }

    /// All places for which a comment accounts.
    pub(super) fn places(&self) -> BTreeSet<Place> {
        self.comments()
            .flat_map(|comment| match comment {
                Comment::Remark(remark)
                | Comment::Decision(remark)
                | Comment::Guess(remark)
                | Comment::Held(remark) => remark.places.clone(),
                Comment::Note(_, places) => places.clone(),
                Comment::Off(..) => Vec::new(),
            })
            .collect()
    }

    pub(super) fn remark_at_end(&mut self, remarks: Vec<Remark>) {
        if !remarks.is_empty() {
            self.blocks.push(Block {
                comments: remarks.into_iter().map(Comment::from).collect(),
                ..Block::default()
            });
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |headers: &[&str]| {
            let blocks = self.blocks.iter();
            blocks
                .filter(|block| !block.disabled && headers.contains(&block.header))
                .count()
        };
        Counts {
            nodes: count(&["[[node]]"]),
            links: count(&["[[link]]"]),
            groups: count(&["[[group]]"]),
            resources: count(&["[[group.resource]]"]),
            constraints: count(&["[[location]]", "[[colocation]]", "[[order]]"]),
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, block) in self.blocks.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            for comment in &block.comments {
                write!(f, "{comment}")?;
            }
            let sign = if block.disabled { "#" } else { "" };
            if !block.header.is_empty() {
                writeln!(f, "{sign}{}", block.header)?;
            }
            for (key, value) in &block.fields {
                writeln!(f, "{sign}{key} = {value}")?;
            }
            for comment in &block.after {
                write!(f, "{comment}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text, _) => wrap(f, "# ", "# ", text),
            Self::Remark(remark) => wrap(f, "# not translated: ", "#   ", &remark.to_string()),
            Self::Decision(remark) => wrap(f, "# to be decided: ", "#   ", &remark.to_string()),
            Self::Guess(remark) => wrap(f, "# guessed: ", "#   ", &remark.to_string()),
            Self::Held(remark) => wrap(f, "# in maintenance: ", "#   ", &remark.to_string()),
            Self::Off(key, value) => writeln!(f, "#{key} = {value}"),
        }
    }
}

/// Writes `text` in comment lines, wrapped between words. Control characters end a TOML comment, so
/// they are written as escapes.
fn wrap(f: &mut fmt::Formatter<'_>, first: &str, others: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        let word: String = word
            .chars()
            .flat_map(|c| {
                let escaped = c.is_control().then(|| c.escape_default());
                let plain = (!c.is_control()).then_some(c);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect();
        let width = line.chars().count() + word.chars().count();
        if !empty && width + 1 > WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = others.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(&word);
        empty = false;
    }
    writeln!(f, "{}", line.trim_end())
}
