//! The kinds of lines in a shell's text: commands, statements of the crm shell, comments and
//! output.

use crate::{
    crm,
    input::Input,
    place::Place,
    tokens::{self, Line, Word},
};

/// The programs whose commands are read.
const PROGRAMS: [&str; 2] = ["crm", "pcs"];
/// Commands that end the crm shell.
const ENDS: [&str; 5] = ["exit", "quit", "bye", "end", "up"];
/// The greatest number of words of a prompt: `[root@a ~]#`, `a:~ #`.
const PROMPT_WORDS: usize = 3;

/// One or more lines of the text.
pub(super) enum Item {
    /// A command for a shell, without its prompt.
    Command(Line),
    /// A statement typed into the crm shell.
    Statement(Line),
    /// Other lines, and the text of the first one.
    Output(Vec<Place>, String),
}

/// The kind of a line by its begin.
#[derive(Debug, PartialEq, Eq)]
enum Head<'t> {
    /// An empty line, or a comment.
    Silent,
    Command(&'t str),
    Statement(&'t str),
    Output,
}

/// The program that reads the typed lines.
enum Into {
    Shell,
    /// The crm shell.
    Crm,
    /// The crm shell, up to the line with this text.
    Here(String),
}

/// Whether the text is a script, in which `#` begins a comment and is no prompt.
pub(super) fn is_script(text: &str) -> bool {
    text.starts_with("#!")
}

/// Whether `line` is a command of one of the programs, or is typed into the crm shell after its
/// prompt.
pub(super) fn calls(line: &str, scripted: bool) -> bool {
    match head(line, scripted) {
        Head::Command(_) | Head::Statement(_) => true,
        Head::Silent | Head::Output => false,
    }
}

/// The name of the program that `word` calls.
pub(super) fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The words of one command without `sudo`, variables before it, and redirections.
pub(super) fn bare(words: &[Word]) -> Vec<Word> {
    let mut bare: Vec<Word> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
        if !word.quoted && text.starts_with(['>', '<']) {
            // The target of a redirection may be the next word.
            if text.trim_start_matches(['>', '<', '-']).is_empty() {
                words.next();
            }
            continue;
        }
        if bare.is_empty() {
            let variable = word.attribute().is_some();
            let option = word.text.starts_with('-');
            if option && ["-u", "-g"].contains(&word.text.as_str()) {
                words.next();
            }
            if variable || option || word.text == "sudo" {
                continue;
            }
        }
        bare.push(word.clone());
    }
    bare
}

pub(super) fn items(input: &Input) -> Vec<Item> {
    let scripted = is_script(&input.text);
    let texts: Vec<&str> = input
        .text
        .lines()
        .map(|text| text.trim_start_matches('\u{feff}'))
        .collect();
    let mut items = Vec::new();
    let mut into = Into::Shell;
    let mut at = 0;
    while let Some(text) = texts.get(at) {
        if matches!(&into, Into::Here(end) if text.trim() == end) {
            into = Into::Shell;
            at += 1;
            continue;
        }
        let (rest, typed) = match (head(text, scripted), &into) {
            (Head::Silent, _) => {
                at += 1;
                continue;
            }
            (Head::Command(rest), _) => (rest, false),
            (Head::Statement(rest), _) => (rest, true),
            (Head::Output, Into::Crm | Into::Here(_)) if crm::is_keyword(first_word(text)) => {
                (*text, true)
            }
            (Head::Output, _) => {
                output(&mut items, input.place(at + 1), text);
                at += 1;
                continue;
            }
        };
        let numbered = (at + 1..).zip(std::iter::once(rest).chain(texts[at + 1..].iter().copied()));
        match tokens::command(input.place(at + 1), numbered) {
            Some((line, count)) => {
                at += count;
                if typed {
                    if ENDS.contains(&first_word(rest)) {
                        into = Into::Shell;
                    }
                    items.push(Item::Statement(line));
                } else {
                    if let Some(next) = opened(&line) {
                        into = next;
                    }
                    items.push(Item::Command(line));
                }
            }
            // A quote without an end: the line is no command.
            None => {
                output(&mut items, input.place(at + 1), text);
                at += 1;
            }
        }
    }
    items
}

/// Adds a line to the output, which may continue.
fn output(items: &mut Vec<Item>, place: Place, text: &str) {
    match items.last_mut() {
        Some(Item::Output(places, _)) => places.push(place),
        _ => items.push(Item::Output(vec![place], text.trim().to_owned())),
    }
}

/// The reader of the next lines after a command that opens the crm shell and is alone on its line.
fn opened(line: &Line) -> Option<Into> {
    let here = line.words.windows(2).find_map(|two| {
        let end = two[0].text.strip_prefix("<<")?.trim_start_matches('-');
        Some(if end.is_empty() { &two[1].text } else { end }.to_owned())
    });
    let last = line.words.last()?.text.strip_prefix("<<");
    let last = last.map(|end| end.trim_start_matches('-').to_owned());
    let words: Vec<Word> = bare(&line.words);
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let opens = match texts[..] {
        [crm] | [crm, "configure"] => program(crm) == "crm",
        _ => false,
    };
    let end = here.or(last.filter(|end| !end.is_empty()));
    opens.then(|| end.map_or(Into::Crm, Into::Here))
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The kind of `line`, and its text after the prompt.
fn head(line: &str, scripted: bool) -> Head<'_> {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    if line.is_empty() {
        return Head::Silent;
    }
    if let Some(head) = typed(line) {
        return head;
    }
    if !(scripted && line.starts_with('#')) {
        // The prompt may end with any of the first words.
        let mut rest = line;
        for _ in 0..PROMPT_WORDS {
            let word = first_word(rest);
            rest = rest[word.len()..].trim_start();
            if word.ends_with(['#', '$', '%', '>'])
                && let Some(head) = typed(rest)
            {
                return head;
            }
        }
    }
    if line.starts_with('#') {
        Head::Silent
    } else {
        Head::Output
    }
}

/// A command of one of the programs, or the text after the prompt of the crm shell.
fn typed(line: &str) -> Option<Head<'_>> {
    if let Some(rest) = line.strip_prefix("crm(") {
        let (_, rest) = rest.split_once("# ")?;
        return Some(Head::Statement(rest.trim_start()));
    }
    let mut rest = line;
    let mut given = false;
    loop {
        let word = first_word(rest);
        let after = rest[word.len()..].trim_start();
        // The words before the program: `sudo -n LANG=C`.
        let before = word == "sudo"
            || (given && word.starts_with('-'))
            || (word.contains('=') && !word.starts_with('='));
        if !before {
            let called = PROGRAMS.contains(&program(word)) && called_as(after);
            return called.then_some(Head::Command(line));
        }
        given = true;
        rest = if ["-u", "-g"].contains(&word) {
            after[first_word(after).len()..].trim_start()
        } else {
            after
        };
    }
}

/// Whether `arguments` belong to a command, and not to a sentence about it.
fn called_as(arguments: &str) -> bool {
    const LEVELS: [&str; 28] = [
        "configure",
        "resource",
        "cluster",
        "property",
        "constraint",
        "stonith",
        "node",
        "config",
        "status",
        "quorum",
        "alert",
        "tag",
        "acl",
        "booth",
        "qdevice",
        "host",
        "client",
        "ra",
        "cib",
        "corosync",
        "history",
        "options",
        "script",
        "site",
        "template",
        "verify",
        "report",
        "pcsd",
    ];
    let mut words = arguments.split_whitespace();
    let first = words.find(|word| !word.starts_with('-') && !word.ends_with(".xml"));
    match first {
        None => true,
        Some(word) => LEVELS.contains(&word) || word.starts_with(['<', ';', '|', '&']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_found_behind_prompts_and_sudo() {
        for line in [
            "crm configure primitive a Dummy",
            "sudo crm configure primitive a Dummy",
            "# sudo crm configure primitive a Dummy",
            "$ sudo -n -u root crm configure primitive a Dummy",
            "[root@node1 ~]# crm configure primitive a Dummy",
            "root@node1:~# crm configure primitive a Dummy",
            "node1:~ # crm configure primitive a Dummy",
            "admin@node1 % LANG=C /usr/sbin/crm configure primitive a Dummy",
        ] {
            match head(line, false) {
                Head::Command(rest) => assert!(line.ends_with(rest), "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        let typed = head("crm(live/node1)configure# group g a", false);
        assert_eq!(typed, Head::Statement("group g a"));
    }

    #[test]
    fn comments_and_output_are_no_commands() {
        for (line, scripted) in [
            ("", false),
            ("# the address", false),
            ("# crm is not used here", false),
            ("# crm configure primitive a Dummy", true),
        ] {
            assert_eq!(head(line, scripted), Head::Silent, "{line}");
        }
        for line in [
            "WARNING: a: default timeout 20s",
            "crm",
            "pcs is a tool",
            "primitive a Dummy",
        ] {
            let output = head(line, false) == Head::Output;
            assert_eq!(output, line != "crm", "{line}");
        }
    }
}
