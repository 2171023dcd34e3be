//! A cursor over the words of one statement, and its errors.

use crate::{
    model::{Attr, Attrs, Other},
    place::{ImportError, Place},
    tokens::{Line, Word},
};

/// The words of a statement, from left to right.
pub(super) struct Words<'a> {
    pub(super) line: &'a Line,
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a Line) -> Self {
        Self { line, at: 0 }
    }

    /// Skips a terminal's prompt before the typed text: `crm(live)configure#`, `crm configure`.
    pub(super) fn skip_prompt(&mut self) {
        while let Some(text) = self.peek_text() {
            let prompt = text.starts_with("crm(") && text.ends_with('#');
            if !(prompt || text == "crm" || text == "configure") {
                break;
            }
            self.at += 1;
        }
    }

    pub(super) fn next(&mut self) -> Option<&'a Word> {
        let word = self.line.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    pub(super) fn peek(&self) -> Option<&'a Word> {
        self.line.words.get(self.at)
    }

    pub(super) fn peek_text(&self) -> Option<&'a str> {
        self.peek().map(|word| word.text.as_str())
    }

    /// The next word, if it is `text`.
    pub(super) fn next_if(&mut self, text: &str) -> bool {
        let is = self.peek_text() == Some(text);
        self.at += usize::from(is);
        is
    }

    pub(super) fn expect(&mut self, what: &str) -> Result<&'a Word, ImportError> {
        self.next()
            .ok_or_else(|| self.wrong(format!("{what} is missing"), "complete the statement"))
    }

    /// The name at the begin of a statement.
    pub(super) fn id(&mut self, of: &str) -> Result<String, ImportError> {
        let word = self.expect(&format!("the name of the {of}"))?;
        if word.attribute().is_some() {
            return Err(self.wrong_at(
                word,
                format!("the name of the {of} is missing"),
                "name it before its attributes",
            ));
        }
        Ok(word.text.clone())
    }

    /// The next word as `name=value`.
    pub(super) fn attribute(&mut self) -> Result<Attr, ImportError> {
        let word = self.expect("an attribute")?;
        self.as_attribute(word)
    }

    pub(super) fn as_attribute(&self, word: &Word) -> Result<Attr, ImportError> {
        let (name, value) = word.attribute().ok_or_else(|| {
            self.wrong_at(
                word,
                format!("\"{}\" is not an attribute", word.text),
                "an attribute is name=value; put a value with spaces in quotes",
            )
        })?;
        Ok(Attr {
            name: name.to_owned(),
            value: value.to_owned(),
            place: self.place_of(word),
        })
    }

    pub(super) fn other(&self, keyword: &str, id: String) -> Other {
        Other::new(keyword, id, self.line.place.clone())
    }

    pub(super) fn place_of(&self, word: &Word) -> Place {
        Place {
            line: word.line,
            ..self.line.place.clone()
        }
    }

    /// An error at the word that was read last.
    pub(super) fn wrong(&self, message: String, remedy: &str) -> ImportError {
        let last = self.line.words.get(self.at.saturating_sub(1));
        match last {
            Some(word) => self.wrong_at(word, message, remedy),
            None => ImportError::new(&self.line.place, message, "", remedy),
        }
    }

    pub(super) fn wrong_at(&self, word: &Word, message: String, remedy: &str) -> ImportError {
        let text = self.line.text_of(word.line);
        ImportError::new(&self.place_of(word), message, text, remedy)
    }
}

/// The rest of the statement as attributes. The ids of sets are ignored.
pub(super) fn attributes(words: &mut Words<'_>) -> Result<Attrs, ImportError> {
    let mut attrs = Attrs::default();
    while words.peek().is_some() {
        let attr = words.attribute()?;
        if attr.name != "$id" {
            attrs.0.push(attr);
        }
    }
    Ok(attrs)
}
