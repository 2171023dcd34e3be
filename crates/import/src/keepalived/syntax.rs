//! Reads `keepalived.conf`: lines of words, some of which open a block in braces. Checks only the
//! syntax (keepalived.conf(5), "Quoted strings"); the other modules interpret the keywords.

use crate::{
    input::Input,
    place::{ImportError, Place},
};

/// A depth beyond that of any block of keepalived.
const MAX_DEPTH: usize = 8;

/// A word without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// A keyword with its words, and its block in braces.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The words; at least one.
    pub(super) words: Vec<Word>,
    pub(super) place: Place,
    pub(super) block: Option<Vec<Item>>,
}

impl Item {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    /// The first word after the keyword.
    pub(super) fn value(&self) -> Option<&str> {
        self.words.get(1).map(|word| word.text.as_str())
    }

    /// The items of the block; none without a block.
    pub(super) fn items(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The original text, except for quotes and spaces.
    pub(super) fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }
}

/// A part of a line.
enum Token {
    Word(Word),
    Open,
    Close,
}

/// An open block, or the whole file.
#[derive(Default)]
struct Level {
    /// The item that opened the block; `None` for the file.
    head: Option<Item>,
    items: Vec<Item>,
}

/// All items of `input`.
pub(super) fn parse(input: &Input) -> Result<Vec<Item>, ImportError> {
    let mut levels = vec![Level::default()];
    let mut last = 1;
    for (number, line) in logical_lines(&input.text) {
        let place = input.place(number);
        last = number;
        let tokens = tokens(&line).map_err(|message| {
            ImportError::new(&place, message, line.as_str(), "close it in the same line")
        })?;
        one_line(&mut levels, tokens, &place, &line)?;
    }
    match levels.pop() {
        Some(Level {
            head: Some(head), ..
        }) => Err(ImportError::new(
            &head.place,
            format!("the block is not closed by line {last}, the last"),
            head.text(),
            "add the missing `}`",
        )),
        level => {
            let mut items = level.unwrap_or_default().items;
            number(&mut items, &mut 0);
            Ok(items)
        }
    }
}

/// Numbers the items on each line: every item is a statement of its own.
fn number(items: &mut [Item], last: &mut usize) {
    for item in items {
        *last += 1;
        item.place.statement = *last;
        number(item.block.as_deref_mut().unwrap_or_default(), last);
    }
}

/// Lines with their numbers. A line that ends with a backslash is joined with the next, and has the
/// number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let (line, more) = match line.trim_end().strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => {
                whole.push(' ');
                whole.push_str(line);
            }
            None => lines.push((number, line.to_owned())),
        }
        goes_on = more;
    }
    lines
}

fn one_line(
    levels: &mut Vec<Level>,
    tokens: Vec<Token>,
    place: &Place,
    line: &str,
) -> Result<(), ImportError> {
    let wrong = |message: &str, remedy: &str| ImportError::new(place, message, line, remedy);
    let mut words = Vec::new();
    for token in tokens {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                let head = match (std::mem::take(&mut words), levels.last_mut()) {
                    // The brace may be alone on its line.
                    (words, Some(level)) if words.is_empty() => {
                        level.items.pop().filter(|item| item.block.is_none())
                    }
                    (words, _) => Some(item(words, place)),
                };
                let head = head.ok_or_else(|| {
                    wrong(
                        "this brace has no keyword before it",
                        "a block begins as in `vrrp_instance VI_1 {`",
                    )
                })?;
                if levels.len() > MAX_DEPTH {
                    return Err(wrong(
                        "blocks are nested too deeply",
                        "keepalived nests four: is a `}` missing above?",
                    ));
                }
                levels.push(Level {
                    head: Some(head),
                    items: Vec::new(),
                });
            }
            Token::Close => {
                add(levels, std::mem::take(&mut words), place);
                close(levels).ok_or_else(|| {
                    wrong(
                        "this closes a block, but no block is open",
                        "remove it, or add what it closes",
                    )
                })?;
            }
        }
    }
    add(levels, words, place);
    Ok(())
}

fn item(words: Vec<Word>, place: &Place) -> Item {
    Item {
        words,
        place: place.clone(),
        block: None,
    }
}

fn add(levels: &mut [Level], words: Vec<Word>, place: &Place) {
    if let (false, Some(level)) = (words.is_empty(), levels.last_mut()) {
        level.items.push(item(words, place));
    }
}

/// Ends the innermost block. `None`: there is none.
fn close(levels: &mut Vec<Level>) -> Option<()> {
    let inner = levels.pop_if(|level| level.head.is_some())?;
    let head = inner.head?;
    let whole = Item {
        block: Some(inner.items),
        ..head
    };
    levels.last_mut()?.items.push(whole);
    Some(())
}

/// Words and braces, without the comment. An error names the fault.
fn tokens(line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    // The braces of `${NAME}` belong to the word.
    let mut parameter = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (_, '\\') => push(&mut word, chars.next().unwrap_or('\\')),
            (Some(_), c) => push(&mut word, c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_with(empty).quoted = true;
            }
            (None, '#' | '!') => break,
            (None, '{' | '}') if parameter => {
                push(&mut word, c);
                parameter = c == '{';
            }
            (None, '{' | '}') => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            (None, c) if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (None, c) => {
                push(&mut word, c);
                parameter |= c == '$' && chars.peek() == Some(&'{');
            }
        }
    }
    if quote.is_some() {
        return Err("a quoted string does not end");
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

fn empty() -> Word {
    Word {
        text: String::new(),
        quoted: false,
    }
}

fn push(word: &mut Option<Word>, c: char) {
    word.get_or_insert_with(empty).text.push(c);
}

/// The arguments of a script that was quoted as a whole: unquoted spaces separate them, and single
/// quotes keep them together.
pub(super) fn arguments(command: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => found.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Item>, ImportError> {
        let name = "k".to_owned();
        let text = text.to_owned();
        parse(&Input { name, text })
    }

    /// `keyword words@line[ items ]`.
    fn shown(items: &[Item]) -> String {
        let one = |item: &Item| {
            let block = item
                .block
                .as_ref()
                .map(|items| format!("[{}]", shown(items)));
            format!(
                "{}@{}{}",
                item.text(),
                item.place.line,
                block.unwrap_or_default()
            )
        };
        items.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blocks_open_behind_their_keyword_or_in_the_next_line() {
        for text in ["a b {\nc 1\nd\n}", "a b{\nc 1\nd }", "a b\n{\nc 1\nd\n}\n"] {
            let text = shown(&parsed(text).unwrap());
            let flat: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
            assert_eq!(flat, "a b@[c @ d@]");
        }
        assert_eq!(shown(&parsed("p { x }\nq").unwrap()), "p@1[x@1] q@2");
    }

    #[test]
    fn comments_begin_anywhere_but_in_quotes() {
        let text = "! x\na 1 # c {\n  # b\nb \"! # {\" 'it''s' ! d\n";
        assert_eq!(shown(&parsed(text).unwrap()), "a 1@2 b ! # { its@4");
        let word = &parsed(text).unwrap()[1].words[1];
        assert!(word.quoted);
    }

    #[test]
    fn quotes_join_and_backslashes_escape_and_continue() {
        let text = "a abcd\" efg \"mn \\\"x \\\n  z\nb ${X}y {\n}\n";
        assert_eq!(
            shown(&parsed(text).unwrap()),
            "a abcd efg mn \"x z@1 b ${X}y@3[]"
        );
    }

    #[test]
    fn bad_braces_and_quotes_are_told_by_their_line() {
        for (text, line, message) in [
            ("a {\nb {\n}\n", 1, "the block is not closed by line 3"),
            ("a\n}\n", 2, "no block is open"),
            ("{\n", 1, "no keyword before"),
            ("a {\n}\n{\n", 3, "no keyword before"),
            ("x\ny \"z\n", 2, "a quoted string does not end"),
            (&"a {\n".repeat(9), 9, "nested too deeply"),
        ] {
            let error = parsed(text).unwrap_err();
            assert_eq!(error.place.line, line, "{error}");
            assert!(error.message.contains(message), "{error}");
        }
    }

    #[test]
    fn arguments_are_separated_by_spaces_outside_single_quotes() {
        assert_eq!(
            arguments(" /a/b  'c d' e''f '' "),
            ["/a/b", "c d", "ef", ""]
        );
        assert_eq!(arguments(""), Vec::<String>::new());
    }
}
