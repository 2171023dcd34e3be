//! Lists of texts.

use std::fmt::Display;

use toml::{Spanned, de::DeValue};

use super::word::Word;
use crate::read::{At, Invalid, Named, Reader, Section};

/// A list of texts that `parse` understands. A bad item is `None`, and was reported.
pub(crate) struct List<V> {
    pub(crate) parse: fn(&str) -> Result<V, Invalid>,
    pub(crate) takes: &'static str,
}

impl<V: Display> Reader for List<V> {
    type Value = Vec<Option<At<V>>>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Self::Value>> {
        let at = value.span().start;
        let value = section.texts(field, value, &self.parse)?;
        Some(At { value, at })
    }

    fn write(&self, value: &Self::Value) -> String {
        let items = value.iter().flatten();
        let items: Vec<_> = items.map(|item| item.value.to_string()).collect();
        format!("{items:?}")
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// Values that did not come from a file.
pub(crate) fn unplaced<V>(values: impl IntoIterator<Item = V>) -> Vec<Option<At<V>>> {
    let place = |value| Some(At { value, at: 0 });
    values.into_iter().map(place).collect()
}

/// Reads one or more different words of a few.
pub(crate) struct OneOrMore<V: 'static>(pub(crate) Word<V>);

impl<V: Copy + PartialEq> Reader for OneOrMore<V> {
    type Value = Vec<V>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Vec<V>>> {
        let at = value.span().start;
        let parse = |text: &str| self.0.parse(text);
        let listed = match value.get_ref() {
            DeValue::Array(_) => section.texts(field, value, &parse)?,
            _ => vec![section.text(field, value, &parse)],
        };
        if listed.is_empty() {
            let remedy = format!("name one, as in {}", field.example());
            section.problem(at, format!("{} is empty", field.noun()), remedy);
        }
        let mut found = Vec::new();
        for At { value, at } in listed.into_iter().flatten() {
            if found.contains(&value) {
                let word = (self.0.word)(value);
                let message = format!("{} \"{word}\" is listed twice", field.noun());
                section.problem(at, message, "keep one");
            } else {
                found.push(value);
            }
        }
        Some(At { value: found, at })
    }

    fn write(&self, value: &Vec<V>) -> String {
        let words = value.iter().map(|value| (self.0.word)(*value));
        format!("{:?}", words.collect::<Vec<_>>())
    }

    fn takes(&self) -> String {
        format!("{}, or a list of these", self.0.takes())
    }
}
