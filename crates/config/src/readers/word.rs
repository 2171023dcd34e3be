//! Enumerations: one word of a few.

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Invalid, Named, Reader, Section},
    values::one_of,
};

/// Reads one of the words for the values in `all`.
pub(crate) struct Word<V: 'static> {
    pub(crate) all: &'static [V],
    pub(crate) word: fn(V) -> &'static str,
    /// The words of messages for any other text: `no role`.
    pub(crate) other: &'static str,
}

impl<V: Copy> Word<V> {
    fn words(&self) -> Vec<&'static str> {
        self.all.iter().map(|value| (self.word)(*value)).collect()
    }

    /// The value whose word `text` is.
    pub(super) fn parse(&self, text: &str) -> Result<V, Invalid> {
        let mut all = self.all.iter().copied();
        let found = all.find(|value| (self.word)(*value) == text);
        found.ok_or_else(|| one_of(self.other, text, &self.words()))
    }
}

impl<V: Copy> Reader for Word<V> {
    type Value = V;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<V>> {
        section.text(field, value, &|text: &str| self.parse(text))
    }

    fn write(&self, value: &V) -> String {
        format!("\"{}\"", (self.word)(*value))
    }

    fn show(&self, value: &V) -> String {
        (self.word)(*value).to_owned()
    }

    fn takes(&self) -> String {
        let words: Vec<_> = self
            .words()
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect();
        match words.as_slice() {
            [] => String::new(),
            [word] => word.clone(),
            [words @ .., last] => format!("{} or {last}", words.join(", ")),
        }
    }
}
