//! Tables of the file, and how a reader takes a field from one.
//!
//! Tables are walked by hand instead of deserialised, since serde stops at the first mistake and
//! an operator should see all of them at once. Like serde's `deny_unknown_fields`, a field that no
//! setting has is an error. The module does not know what the fields mean.

use std::fmt::Display;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::report::{Findings, nearest, quoted, shown, type_and_value};

/// The words of messages about a field.
pub(super) trait Named {
    fn name(&self) -> &'static str;

    /// The word of messages for one of the field's values.
    fn noun(&self) -> &'static str {
        self.name()
    }

    /// The field as an operator would write it.
    fn example(&self) -> String;
}

/// Turns the value of a field into a typed one.
pub(super) trait Reader {
    type Value;

    /// The typed value. `None` if the value is bad, which was reported.
    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Self::Value>>;

    /// The value as the file has it.
    fn write(&self, value: &Self::Value) -> String;

    /// The value as the summary of `heartbeat check` has it.
    fn show(&self, value: &Self::Value) -> String {
        self.write(value)
    }

    /// The values that are good, for the documents: `a number from 1 to 99`.
    fn takes(&self) -> String;

    /// The words that messages put behind an example.
    fn hint(&self) -> String {
        String::new()
    }
}

/// A value and the byte of the file where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The value of a required field. A missing or bad one was reported, and the value that stands in
/// for it is never used.
pub(super) fn or_reported<T: Default>(value: Option<At<T>>) -> T {
    value.map(|value| value.value).unwrap_or_default()
}

/// Why a text is not a value of its field: `what` follows the quoted text in the message.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Invalid {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// A table of the file.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    findings: &'a Findings<'a>,
    /// The table's name in messages: `[cluster]`, `node "a"`; empty for the file's top.
    label: String,
    /// The byte of the file at which the header begins.
    at: usize,
    /// `None` if the file has no such table.
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// A table of which all fields should be `known`; reports the others.
    pub(super) fn new(
        findings: &'a Findings<'a>,
        label: String,
        at: usize,
        table: &'a DeTable<'a>,
        known: &[&'static str],
    ) -> Self {
        let section = Self {
            findings,
            label,
            at,
            table: Some(table),
        };
        let unknown = table
            .iter()
            .filter(|(key, _)| !known.contains(&&**key.get_ref()));
        for (key, _) in unknown {
            let name = key.get_ref();
            let remedy = match nearest(name, known.iter().copied()) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            section.problem(
                key.span().start,
                format!("unknown field `{}`", shown(name)),
                remedy,
            );
        }
        section
    }

    /// Whether the file has the table.
    pub(super) fn is_given(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Line of the byte at `at`, for messages that point to a second place.
    pub(super) fn line(&self, at: usize) -> usize {
        self.findings.source.line(at)
    }

    pub(super) fn problem(&self, at: usize, message: impl Display, remedy: impl Into<String>) {
        self.findings.problem(at, self.labelled(message), remedy);
    }

    pub(super) fn warning(&self, at: usize, message: impl Display, remedy: impl Into<String>) {
        self.findings.warning(at, self.labelled(message), remedy);
    }

    /// Reports that `field` is missing, unless the table itself is.
    pub(super) fn missing(&self, field: &dyn Named) {
        if self.is_given() {
            let message = format!("`{}` is missing", field.name());
            self.problem(
                self.at,
                message,
                format!("add it, as in {}", field.example()),
            );
        }
    }

    pub(super) fn has(&self, field: &dyn Named) -> bool {
        self.get(field).is_some()
    }

    /// Whether `field` is absent or an empty list.
    pub(super) fn lacks(&self, field: &dyn Named) -> bool {
        match self.get(field).map(Spanned::get_ref) {
            None => true,
            Some(DeValue::Array(items)) => items.is_empty(),
            Some(_) => false,
        }
    }

    /// The place of the value of `field`, or else of the table.
    pub(super) fn at_field(&self, field: &dyn Named) -> usize {
        self.get(field).map_or(self.at, |value| value.span().start)
    }

    pub(super) fn get(&self, field: &dyn Named) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(field.name())
    }

    /// The table that `field` names, once: `[field]`. An absent one has no fields.
    pub(super) fn table(&self, field: &dyn Named, known: &[&'static str]) -> Section<'a> {
        let label = format!("[{}]", field.name());
        let absent = |label| Section {
            findings: self.findings,
            label,
            at: self.at,
            table: None,
        };
        let Some(value) = self.get(field) else {
            return absent(label);
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                Section::new(self.findings, label, value.span().start, table, known)
            }
            _ => {
                self.wrong_type::<()>(field, value, "a table");
                absent(label)
            }
        }
    }

    /// The tables that `field` names, any number of times: `[[field]]`. `label` names one by its
    /// place and its `name`, if it has one.
    pub(super) fn tables(
        &self,
        field: &dyn Named,
        known: &[&'static str],
        label: impl Fn(usize, Option<&str>) -> String,
    ) -> Vec<Section<'a>> {
        let Some(value) = self.get(field) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type::<()>(field, value, "a list of tables");
            return Vec::new();
        };
        let section = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| match item.get_ref() {
            DeValue::Table(table) => {
                let name = table.get("name").and_then(|name| name.get_ref().as_str());
                let label = label(index, name);
                let at = item.span().start;
                Some(Section::new(self.findings, label, at, table, known))
            }
            _ => self.wrong_type(field, item, "a table"),
        };
        items.iter().enumerate().filter_map(section).collect()
    }

    /// The text in `value`, as `parse` understands it.
    pub(super) fn text<T>(
        &self,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
        parse: &dyn Fn(&str) -> Result<T, Invalid>,
    ) -> Option<At<T>> {
        let DeValue::String(text) = value.get_ref() else {
            return self.wrong_type(field, value, "a quoted string");
        };
        let at = value.span().start;
        match parse(text) {
            Ok(value) => Some(At { value, at }),
            Err(Invalid { what, remedy }) => {
                let message = format!("{} {}{what}", field.noun(), quoted(text));
                self.problem(at, message, remedy);
                None
            }
        }
    }

    /// The texts in `value`, which is a list. A bad item is `None`, and was reported.
    pub(super) fn texts<T>(
        &self,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
        parse: &dyn Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<Option<At<T>>>> {
        match value.get_ref() {
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| self.text(field, item, parse));
                Some(texts.collect())
            }
            _ => self.wrong_type(field, value, "an array of strings"),
        }
    }

    pub(super) fn wrong_type<T>(
        &self,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
    ) -> Option<T> {
        let message = format!(
            "{} must be {wanted}; got {}",
            field.noun(),
            type_and_value(value.get_ref())
        );
        self.problem(
            value.span().start,
            message,
            format!("write it as in {}", field.example()),
        );
        None
    }

    fn labelled(&self, message: impl Display) -> String {
        if self.label.is_empty() {
            message.to_string()
        } else {
            format!("{}: {message}", self.label)
        }
    }
}

/// The name of a table in messages: its `name`, or its place if it has none.
pub(super) fn label(kind: &'static str) -> impl Fn(usize, Option<&str>) -> String {
    move |index, name| match name {
        Some(name) => format!("{kind} {}", quoted(name)),
        None => format!("{kind} number {}", index + 1),
    }
}
