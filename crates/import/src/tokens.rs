//! Splits physical lines into statements, and statements into words: `\` continues a line, `#`
//! begins a comment line, quotes keep a word together. A command of a shell is split likewise, and
//! also has operators and escaped characters.

use crate::{
    input::Input,
    place::{ImportError, Place},
};

/// A statement, which may span several lines.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The place of its first line.
    pub(super) place: Place,
    pub(super) words: Vec<Word>,
    /// The physical lines of the statement.
    texts: Vec<(usize, String)>,
}

impl Line {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            words: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// The same lines with other words: one of several statements on these lines.
    pub(super) fn with_words(&self, words: Vec<Word>, statement: usize) -> Self {
        let line = words.first().map_or(self.place.line, |word| word.line);
        Self {
            place: Place {
                line,
                statement,
                ..self.place.clone()
            },
            words,
            texts: self.texts.clone(),
        }
    }

    /// The physical line with this number.
    pub(super) fn text_of(&self, line: usize) -> &str {
        let text = self.texts.iter().find(|(number, _)| *number == line);
        text.map_or("", |(_, text)| text)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Word {
    /// The word without its quotes.
    pub(super) text: String,
    pub(super) line: usize,
    /// Whether the word begins with a quote, and so is no keyword.
    pub(super) quoted: bool,
    /// Whether the word ends a command of a shell: `;`, `&&`, `|`.
    pub(super) operator: bool,
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

/// The first words of a rule's line that begin with `#` and are no comment.
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
        // A blank line does not end a statement that a `\` continues, and does not continue one.
        if word.quote.is_none() && comment {
            continue;
        }
        let (content, continued) = match text.trim_end().strip_suffix('\\') {
            Some(content) => (content, true),
            None => (text, false),
        };
        let line = open.get_or_insert_with(|| Line::new(input.place(number)));
        line.texts.push((number, text.to_owned()));
        // Raw XML is not split into words: its quotes are its own.
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
                    operator: false,
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
    for (statement, line) in (1..).zip(&mut lines) {
        line.place.statement = statement;
    }
    Ok(lines)
}

/// The command of a shell at the begin of the numbered `texts`, and the number of its texts. `None`
/// if a quote in the command is never closed.
pub(super) fn command<'t>(
    place: Place,
    texts: impl Iterator<Item = (usize, &'t str)>,
) -> Option<(Line, usize)> {
    let mut line = Line::new(place);
    let mut word = Partial {
        shell: true,
        ..Partial::default()
    };
    let mut count = 0;
    for (number, text) in texts {
        count += 1;
        line.texts.push((number, text.to_owned()));
        let text = match count {
            1 => text,
            // The prompt of a shell before a continued line.
            _ => text.trim_start().strip_prefix("> ").unwrap_or(text),
        };
        let (content, continued) = match text.trim_end().strip_suffix('\\') {
            Some(content) => (content, true),
            None => (text, false),
        };
        word.read(content, number, &mut line.words);
        if !continued && word.quote.is_none() {
            return Some((line, count));
        }
    }
    // A `\` at the very end continues nothing.
    word.quote.is_none().then_some((line, count))
}

fn unclosed(input: &Input, quote: char, line: usize) -> ImportError {
    let text = input.text.lines().nth(line - 1).unwrap_or_default();
    ImportError::new(
        &input.place(line),
        format!("the quote {quote} is not closed"),
        text,
        "close it on the same line, or end the line in `\\`",
    )
}

/// A word that may be incomplete.
#[derive(Default)]
struct Partial {
    /// Whether the text is a shell's.
    shell: bool,
    text: String,
    begun: bool,
    quoted: bool,
    line: usize,
    /// The open quote, and its line.
    quote: Option<(char, usize)>,
}

impl Partial {
    /// Reads one physical line. The end of the line ends the word, unless a quote is open.
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
                None if self.shell && !self.begun && c == '#' && is_comment(&chars) => return,
                None if self.shell && ";|&".contains(c) && !self.text.ends_with('>') => {
                    self.end(words);
                    words.push(Word {
                        text: c.to_string(),
                        line,
                        quoted: false,
                        operator: true,
                    });
                }
                None => {
                    if !self.begun {
                        self.begun = true;
                        self.line = line;
                        self.quoted = c == '"' || c == '\'';
                    }
                    if self.shell && c == '\\' {
                        self.text.extend(chars.next());
                    } else if c == '"' || c == '\'' {
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
                operator: false,
            });
        }
        *self = Self {
            shell: self.shell,
            ..Self::default()
        };
    }
}

/// Whether the `#` before `rest` begins a comment, and not the name of a node's attribute.
fn is_comment(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let rest: String = rest.clone().take(16).collect();
    let names = NODE_ATTRIBUTES.iter();
    !names
        .filter_map(|name| name.strip_prefix('#'))
        .any(|name| rest.starts_with(name))
}
