//! Reads commands of `pcs`. Each command adds to the model or changes it, as in the cluster.
//!
//! `resources`, `changes`, `constraints` and `cluster` parse the commands that are translated.
//! Commands that act at once, or have no counterpart, are kept by name.

use super::{
    model::{Attr, Attrs, Model, Other, Statement, Stray},
    place::{ImportError, Place},
    tokens::{Line, Word},
    words::Words,
};

mod changes;
mod cluster;
mod constraints;
mod resources;

/// Options that only affect how `pcs` works.
const IDLE: [&str; 24] = [
    "--force",
    "--wait",
    "--debug",
    "--enable",
    "--start",
    "--no-strict",
    "--yes",
    "--overwrite",
    "--future",
    "--brief",
    "--full",
    "--agent-validation",
    "--no-default-ops",
    "--skip-offline",
    "--no-cluster-uuid",
    "--no-keys-sync",
    "--all",
    "--simulate",
    "--safe",
    "--autodelete",
    "--strict",
    "--quiet",
    "--local",
    "--defaults",
];
/// Options with a value.
const VALUED: [&str; 11] = [
    "-f",
    "-u",
    "-p",
    "--group",
    "--before",
    "--after",
    "--name",
    "--request-timeout",
    "--corosync_conf",
    "--token",
    "--transport",
];

/// One command, and the configuration that it changes.
pub(super) struct Command<'m> {
    model: &'m mut Model,
    /// The line without options.
    line: Line,
    options: Vec<(Word, Option<String>)>,
}

/// Reads the command in `line`, whose first word is `pcs`, into `model`.
pub(super) fn read(model: &mut Model, line: &Line) -> Result<(), ImportError> {
    let (words, options) = without_options(&line.words);
    let line = line.with_words(words, line.place.statement);
    let what: Vec<&str> = line
        .words
        .iter()
        .map(|word| word.text.as_str())
        .take_while(|word| !word.contains('='))
        .take(4)
        .collect();
    model.statements.push(Statement {
        place: line.place.clone(),
        what: what.join(" "),
    });
    let command = Command {
        model,
        line,
        options,
    };
    command.run()
}

fn without_options(all: &[Word]) -> (Vec<Word>, Vec<(Word, Option<String>)>) {
    let mut words = Vec::new();
    let mut options = Vec::new();
    let mut rest = all.iter();
    while let Some(word) = rest.next() {
        // A score may be negative.
        let option = word.text.starts_with("--")
            || (word.text.len() == 2 && VALUED.contains(&word.text.as_str()));
        if word.quoted || !option {
            words.push(word.clone());
            continue;
        }
        let (name, value) = match word.text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if VALUED.contains(&word.text.as_str()) => (
                word.text.as_str(),
                rest.next().map(|value| value.text.clone()),
            ),
            None => (word.text.as_str(), None),
        };
        let named = Word {
            text: name.to_owned(),
            ..word.clone()
        };
        options.push((named, value));
    }
    (words, options)
}

impl Command<'_> {
    fn run(mut self) -> Result<(), ImportError> {
        let line = self.line.clone();
        let mut words = Words::new(&line);
        words.next();
        let text = |words: &mut Words<'_>| {
            let word = words.next();
            word.map_or("", |word| word.text.as_str()).to_owned()
        };
        let level = text(&mut words);
        let known = match level.as_str() {
            "resource" => self.resource(&mut words)?,
            "constraint" => self.constraint(&mut words)?,
            "cluster" if words.next_if("setup") => {
                self.setup(&mut words)?;
                true
            }
            "property" => self.property(&mut words)?,
            "node" => self.node(&mut words)?,
            "stonith" => {
                let verb = text(&mut words);
                let id = text(&mut words);
                let id = format!("{verb} {id}");
                self.other("pcs stonith", id.trim());
                true
            }
            "alert" | "tag" | "acl" => {
                words.next();
                let id = text(&mut words);
                self.other(if level == "acl" { "role" } else { &level }, &id);
                true
            }
            _ => false,
        };
        if !known {
            self.at_once();
        }
        self.strange_options();
        Ok(())
    }

    /// The value of an option, which is then accounted for.
    fn option(&mut self, name: &str) -> Option<String> {
        let at = self
            .options
            .iter()
            .position(|(word, _)| word.text == name)?;
        Some(self.options.remove(at).1.unwrap_or_default())
    }

    fn strange_options(&mut self) {
        for (word, value) in std::mem::take(&mut self.options) {
            let name = word.text.as_str();
            if IDLE.contains(&name) || ["-f", "-u", "-p", "--request-timeout"].contains(&name) {
                continue;
            }
            let value = value.map_or_else(String::new, |value| format!(" {value}"));
            let place = self.place_of(&word);
            self.stray(format!("option {name}{value} of {}", self.title()), place);
        }
    }

    /// `pcs resource create x`.
    fn title(&self) -> String {
        let statement = self.model.statements.last();
        statement.map_or_else(String::new, |statement| statement.what.clone())
    }

    fn place(&self) -> Place {
        self.line.place.clone()
    }

    fn place_of(&self, word: &Word) -> Place {
        Place {
            line: word.line,
            ..self.place()
        }
    }

    fn stray(&mut self, subject: String, place: Place) {
        self.model.strays.push(Stray { subject, place });
    }

    /// Records the change by a command that has no table of its own.
    fn note(&mut self, what: &str) {
        let place = self.place();
        let text = format!("{} ({place}): {what}", self.title());
        self.model.notes.push((text, place));
    }

    fn other(&mut self, keyword: &str, id: &str) {
        let place = self.place();
        self.model.others.push(Other::new(keyword, id, place));
    }

    fn at_once(&mut self) {
        let title = self.title();
        self.refuse(
            &title,
            "the command acts at once or only prints something; it is not configuration",
            "no action needed, unless the command prepared something for the resources",
        );
    }

    fn refuse(&mut self, subject: &str, reason: &str, remedy: &str) {
        let place = self.place();
        self.model.others.push(Other {
            why: Some((reason.to_owned(), remedy.to_owned())),
            ..Other::new(subject, "", place)
        });
    }
}

/// The next words as attributes, up to the first other word.
fn attrs(words: &mut Words<'_>) -> Result<Attrs, ImportError> {
    let mut attrs = Attrs::default();
    while words.peek().is_some_and(|word| word.attribute().is_some()) {
        attrs.0.push(words.attribute()?);
    }
    Ok(attrs)
}

/// Sets each of `new` in `list`. As in pcs, an empty value removes the attribute.
fn update(list: &mut Attrs, new: Attrs) {
    for attr in new.0 {
        list.take(&attr.name);
        if !attr.value.is_empty() {
            list.0.push(attr);
        }
    }
}

/// An attribute that `command` implies.
fn implied(command: &Command<'_>, name: &str, value: &str) -> Attr {
    Attr {
        name: name.to_owned(),
        value: value.to_owned(),
        place: command.place(),
    }
}
