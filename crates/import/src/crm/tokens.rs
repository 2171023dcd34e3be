//! Makes statements of physical lines, and words of statements: `\` continues a line, `#` begins a
//! comment line, quotes hold a word together.

use crate::{
    input::Input,
    place::{ImportError, Place},
};

/// A statement, which may stand on several lines.
#[derive(Debug)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) words: Vec<Word>,
    /// Its physical lines.
    texts: Vec<(usize, String)>,
}

impl Line {
    /// The number of its last physical line.
    pub(super) fn last(&self) -> usize {
        self.texts
            .last()
            .map_or(self.place.line, |(number, _)| *number)
    }

    /// The physical line with this number.
    pub(super) fn text_of(&self, line: usize) -> &str {
        let text = self.texts.iter().find(|(number, _)| *number == line);
        text.map_or("", |(_, text)| text)
    }
}

#[derive(Debug)]
pub(super) struct Word {
    /// Without its quotes.
    pub(super) text: String,
    pub(super) line: usize,
    /// Whether it begins with a quote, and so is no keyword.
    pub(super) quoted: bool,
}

impl Word {
    /// Name and value of `name=value`.
    pub(super) fn attribute(&self) -> Option<(&str, &str)> {
        if self.quoted {
            return None;
        }
        self.text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
    }
}

/// What a rule may begin a line with, which is then no comment.
const NODE_ATTRIBUTES: [&str; 7] = [
    "#uname",
    "#id",
    "#kind",
    "#cluster-name",
    "#site-name",
    "#is_dc",
    "#health",
];

/// The statements of `input`.
pub(super) fn lines(input: &Input) -> Result<Vec<Line>, ImportError> {
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    let mut word = Partial::default();
    for (number, text) in (1..).zip(input.text.lines()) {
        let text = text.trim_start_matches('\u{feff}');
        let begins = text.trim_start();
        let comment = begins.starts_with('#')
            && (open.is_none() || !NODE_ATTRIBUTES.iter().any(|name| begins.starts_with(name)));
        // A blank line ends no statement that a `\` continues, but it continues none either.
        if word.quote.is_none() && comment {
            continue;
        }
        let (content, continued) = match text.trim_end().strip_suffix('\\') {
            Some(content) => (content, true),
            None => (text, false),
        };
        let line = open.get_or_insert_with(|| Line {
            place: input.place(number),
            words: Vec::new(),
            texts: Vec::new(),
        });
        line.texts.push((number, text.to_owned()));
        // Raw XML is not made of words: its quotes are its own.
        let xml = line.words.first().is_some_and(|word| word.text == "xml")
            || begins
                .strip_prefix("xml")
                .is_some_and(|rest| rest.starts_with([' ', '<']));
        if xml {
            if line.words.is_empty() {
                line.words.push(Word {
                    text: "xml".to_owned(),
                    line: number,
                    quoted: false,
                });
            }
        } else {
            word.read(content, number, &mut line.words);
        }
        if continued {
            continue;
        }
        if let Some((quote, line)) = word.quote {
            return Err(unclosed(input, quote, line));
        }
        lines.extend(open.take().filter(|line| !line.words.is_empty()));
    }
    if let Some((quote, line)) = word.quote {
        return Err(unclosed(input, quote, line));
    }
    lines.extend(open.filter(|line| !line.words.is_empty()));
    Ok(lines)
}

fn unclosed(input: &Input, quote: char, line: usize) -> ImportError {
    let text = input.text.lines().nth(line - 1).unwrap_or_default();
    ImportError::new(
        &input.place(line),
        format!("the quote {quote} is never closed"),
        text,
        "close it on the same line, or end the line in `\\`",
    )
}

/// A word that may not be at its end yet.
#[derive(Default)]
struct Partial {
    text: String,
    begun: bool,
    quoted: bool,
    line: usize,
    /// The quote that is open, and the line where it is.
    quote: Option<(char, usize)>,
}

impl Partial {
    /// Reads one physical line. Ends the word at its end, unless a quote is open.
    fn read(&mut self, content: &str, line: usize, words: &mut Vec<Word>) {
        let mut chars = content.chars().peekable();
        while let Some(c) = chars.next() {
            match self.quote {
                Some((quote, _)) if c == quote => self.quote = None,
                Some(('"', _)) if c == '\\' && matches!(chars.peek(), Some('"' | '\\')) => {
                    self.text.extend(chars.next());
                }
                Some(_) => self.text.push(c),
                None if c.is_whitespace() => self.end(words),
                None => {
                    if !self.begun {
                        self.begun = true;
                        self.line = line;
                        self.quoted = c == '"' || c == '\'';
                    }
                    if c == '"' || c == '\'' {
                        self.quote = Some((c, line));
                    } else {
                        self.text.push(c);
                    }
                }
            }
        }
        if self.quote.is_none() {
            self.end(words);
        }
    }

    fn end(&mut self, words: &mut Vec<Word>) {
        if self.begun {
            words.push(Word {
                text: std::mem::take(&mut self.text),
                line: self.line,
                quoted: self.quoted,
            });
        }
        *self = Self::default();
    }
}
