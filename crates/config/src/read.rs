//! Reads the fields of TOML tables into typed values, and collects all that is wrong on the way.
//!
//! Tables are walked by hand instead of deserialised, since serde stops at the first mistake and
//! an operator should see all of them at once. Like serde's `deny_unknown_fields`, a field that
//! nobody asked for is an error. Knows nothing of what the fields mean.

use std::{fmt::Display, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::report::{Findings, nearest, quoted, shown, type_and_value};

/// A field of a table: its name, what messages call one of its values, and how to write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) noun: &'static str,
    pub(super) example: &'static str,
}

impl Field {
    pub(super) const fn new(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            noun: name,
            example,
        }
    }

    /// A list whose items have a name of their own.
    pub(super) const fn list(
        name: &'static str,
        noun: &'static str,
        example: &'static str,
    ) -> Self {
        Self {
            name,
            noun,
            example,
        }
    }
}

/// A value and the byte of the file where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The value of a field that is required. Where it is missing or bad there was a complaint, and
/// what stands in for it is never used.
pub(super) fn or_complained<T: Default>(value: Option<At<T>>) -> T {
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

/// One table of the file.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    findings: &'a Findings<'a>,
    /// What messages call it: `[cluster]`, `node "a"`; empty for the file's top.
    label: String,
    /// Where its header is.
    at: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Complains of the fields of `table` that are not `known`.
    pub(super) fn new(
        findings: &'a Findings<'a>,
        label: String,
        at: usize,
        table: &'a DeTable<'a>,
        known: &[Field],
    ) -> Self {
        let section = Self {
            findings,
            label,
            at,
            table,
        };
        let is_known = |name: &str| known.iter().any(|field| field.name == name);
        for (key, _) in table.iter().filter(|(key, _)| !is_known(key.get_ref())) {
            let name = key.get_ref();
            let remedy = match nearest(name, known.iter().map(|field| field.name)) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => {
                    let names: Vec<_> = known.iter().map(|field| field.name).collect();
                    format!("known here: {}", names.join(", "))
                }
            };
            section.problem(
                key.span().start,
                format!("unknown field `{}`", shown(name)),
                remedy,
            );
        }
        section
    }

    /// Complains of the fields that are given though they are others', as `owned` has it, than
    /// `named`'s: `words` say what is wrong and what to do, from a field's name and owners.
    pub(super) fn refuse_strangers<O: PartialEq>(
        &self,
        owned: &[(Field, &[O])],
        named: &O,
        words: impl Fn(&str, &[O]) -> (String, String),
    ) {
        let given = owned.iter().filter(|(field, _)| self.has(field));
        for (field, owners) in given.filter(|(_, owners)| !owners.contains(named)) {
            let (what, remedy) = words(field.name, owners);
            self.problem(self.at_field(field), what, remedy);
        }
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

    pub(super) fn missing(&self, field: &Field) {
        let message = format!("`{}` is missing", field.name);
        self.problem(self.at, message, format!("add it, as in {}", field.example));
    }

    pub(super) fn has(&self, field: &Field) -> bool {
        self.table.contains_key(field.name)
    }

    /// Whether `field` is absent or an empty list.
    pub(super) fn lacks(&self, field: &Field) -> bool {
        match self.get(field).map(Spanned::get_ref) {
            None => true,
            Some(DeValue::Array(items)) => items.is_empty(),
            Some(_) => false,
        }
    }

    /// Where the value of `field` is, or else where the table begins.
    pub(super) fn at_field(&self, field: &Field) -> usize {
        self.get(field).map_or(self.at, |value| value.span().start)
    }

    /// The text of `field`, as `parse` understands it. `None` if absent or, after a complaint, bad.
    pub(super) fn text<T>(
        &self,
        field: &Field,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<At<T>> {
        self.get(field)
            .and_then(|value| self.parse(field, value, &parse))
    }

    /// The same for a field that must be there.
    pub(super) fn required<T>(
        &self,
        field: &Field,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<At<T>> {
        if !self.has(field) {
            self.missing(field);
        }
        self.text(field, parse)
    }

    /// The texts of a list. An item is `None` if, after a complaint, it is bad.
    pub(super) fn list<T>(
        &self,
        field: &Field,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<Option<At<T>>>> {
        let value = self.get(field)?;
        match value.get_ref() {
            DeValue::Array(items) => Some(
                items
                    .iter()
                    .map(|item| self.parse(field, item, &parse))
                    .collect(),
            ),
            _ => self.wrong_type(field, value, "an array of strings"),
        }
    }

    /// The same for a field that may also be a single text.
    pub(super) fn one_or_list<T>(
        &self,
        field: &Field,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<Option<At<T>>>> {
        let value = self.get(field)?;
        match value.get_ref() {
            DeValue::Array(_) => self.list(field, parse),
            _ => Some(vec![self.parse(field, value, &parse)]),
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, field: &Field, range: RangeInclusive<u32>) -> Option<At<u32>> {
        let value = self.get(field)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(field, value, "an integer");
        };
        let at = value.span().start;
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Some(At { value: number, at }),
            _ => {
                let number = shown(number.as_str());
                let (low, high) = range.into_inner();
                let message = format!("{} {number} is not from {low} to {high}", field.noun);
                self.problem(
                    at,
                    message,
                    format!("write a number within, as in {}", field.example),
                );
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, field: &Field) -> Option<At<bool>> {
        let value = self.get(field)?;
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(At { value: *value, at }),
            _ => self.wrong_type(field, value, "a boolean"),
        }
    }

    /// The table that `field` names, once: `[field]`.
    pub(super) fn table(&self, field: &Field, known: &[Field]) -> Option<Section<'a>> {
        let value = self.get(field)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let label = format!("[{}]", field.name);
                Some(Section::new(
                    self.findings,
                    label,
                    value.span().start,
                    table,
                    known,
                ))
            }
            _ => self.wrong_type(field, value, "a table"),
        }
    }

    /// The tables that `field` names, any number of times: `[[field]]`. `label` names one by its
    /// place and its `name`, if it has one.
    pub(super) fn tables(
        &self,
        field: &Field,
        known: &[Field],
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
                Some(Section::new(
                    self.findings,
                    label,
                    item.span().start,
                    table,
                    known,
                ))
            }
            _ => self.wrong_type(field, item, "a table"),
        };
        items.iter().enumerate().filter_map(section).collect()
    }

    pub(super) fn get(&self, field: &Field) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(field.name)
    }

    fn parse<T>(
        &self,
        field: &Field,
        value: &Spanned<DeValue<'_>>,
        parse: &impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<At<T>> {
        let DeValue::String(text) = value.get_ref() else {
            return self.wrong_type(field, value, "a quoted string");
        };
        let at = value.span().start;
        match parse(text) {
            Ok(value) => Some(At { value, at }),
            Err(Invalid { what, remedy }) => {
                self.problem(at, format!("{} {}{what}", field.noun, quoted(text)), remedy);
                None
            }
        }
    }

    pub(super) fn wrong_type<T>(
        &self,
        field: &Field,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
    ) -> Option<T> {
        let message = format!(
            "{} must be {wanted}; got {}",
            field.noun,
            type_and_value(value.get_ref())
        );
        self.problem(
            value.span().start,
            message,
            format!("write it as in {}", field.example),
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

/// Messages call a table by its name, or by its place where it has none.
pub(super) fn label(kind: &'static str) -> impl Fn(usize, Option<&str>) -> String {
    move |index, name| match name {
        Some(name) => format!("{kind} {}", quoted(name)),
        None => format!("{kind} number {}", index + 1),
    }
}
