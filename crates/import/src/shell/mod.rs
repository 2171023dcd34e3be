//! Reads a shell session: commands of `crm` and `pcs`, between prompts, `sudo` and output. Nothing
//! in such a text is an error: output, and commands with mistakes, get a remark.

use crate::{
    crm,
    input::Input,
    model::{Model, Other, Statement},
    pcs,
    place::{ImportError, Place},
    tokens::{Line, Word},
};

mod lines;

use lines::Item;

/// Number of words that identify a command without a result.
const SHOWN_WORDS: usize = 4;

/// Whether a line of `text` calls `crm` or `pcs`.
pub(super) fn is_one(text: &str) -> bool {
    let scripted = lines::is_script(text);
    text.lines().any(|line| lines::calls(line, scripted))
}

pub(super) fn parse(input: &Input) -> Model {
    let mut reader = Reader {
        model: Model::default(),
        statement: 0,
    };
    for item in lines::items(input) {
        match item {
            Item::Command(line) => reader.commands(&line),
            Item::Statement(line) => {
                let line = reader.numbered(&line, line.words.clone());
                reader.crm(&line);
            }
            Item::Output(places, text) => reader.output(places, &text),
        }
    }
    reader.model
}

struct Reader {
    model: Model,
    /// The number of the last statement.
    statement: usize,
}

impl Reader {
    fn numbered(&mut self, line: &Line, words: Vec<Word>) -> Line {
        self.statement += 1;
        line.with_words(words, self.statement)
    }

    /// The commands on `line`: `a && b`.
    fn commands(&mut self, line: &Line) {
        for words in line.words.split(|word| word.operator) {
            let words = lines::bare(words);
            if words.is_empty() {
                continue;
            }
            let line = self.numbered(line, words);
            match lines::program(&line.words[0].text) {
                "crm" => self.crm_command(&line),
                "pcs" => self.pcs_command(&line),
                program => self.other(
                    "command",
                    vec![line.place.clone()],
                    program,
                    "the line is a command of another program",
                    "no action needed, unless the cluster depends on it",
                ),
            }
        }
    }

    /// `crm configure STATEMENT`, or a command that acts at once.
    fn crm_command(&mut self, line: &Line) {
        let mut words = line.words[1..]
            .iter()
            .skip_while(|word| word.text.starts_with('-'));
        let level = words.next().map(|word| word.text.as_str());
        let rest: Vec<Word> = words.cloned().collect();
        match level {
            Some("configure") if !rest.is_empty() => {
                self.crm(&line.with_words(rest, line.place.statement));
            }
            None | Some("configure") => self.refuse(
                line,
                "the command opens the crm shell, and configures nothing by itself",
                "no action needed",
            ),
            Some(_) => self.refuse(
                line,
                "the command acts at once; it is not configuration",
                "no action needed, unless the command prepared something for the resources",
            ),
        }
    }

    fn pcs_command(&mut self, line: &Line) {
        self.statement_of(line, pcs::read);
    }

    /// One statement of the crm shell.
    fn crm(&mut self, line: &Line) {
        self.statement_of(line, crm::read);
    }

    fn statement_of(
        &mut self,
        line: &Line,
        read: fn(&mut Model, &Line) -> Result<(), ImportError>,
    ) {
        let known = self.model.statements.len();
        let refused = match read(&mut self.model, line) {
            Err(error) => Some((error.message, error.remedy)),
            Ok(()) => self.taken(line.place.statement),
        };
        if let Some((reason, remedy)) = refused {
            self.model.statements.truncate(known);
            self.refuse(line, &reason, &remedy);
        }
    }

    /// Removes the results of the statement with this number if its name is used already: a
    /// repeated command fails.
    fn taken(&mut self, statement: usize) -> Option<(String, String)> {
        let model = &mut self.model;
        let (own, others): (Vec<_>, Vec<_>) = model
            .ids()
            .partition(|(_, place)| place.statement == statement);
        let mut own_ids: Vec<&str> = own.iter().map(|(id, _)| *id).collect();
        own_ids.sort_unstable();
        let twice = own_ids.windows(2).find(|two| two[0] == two[1]);
        let taken = own_ids
            .iter()
            .find_map(|id| others.iter().find(|(other, _)| other == id))
            .or_else(|| {
                own.iter()
                    .find(|(id, _)| twice.is_some_and(|two| two[0] == *id))
            })?;
        let reason = format!("the name {} is in use since line {}", taken.0, taken.1.line);
        let is_other = |place: &Place| place.statement != statement;
        model.primitives.retain(|known| is_other(&known.place));
        model.templates.retain(|known| is_other(&known.place));
        model.groups.retain(|known| is_other(&known.place));
        model.clones.retain(|known| is_other(&known.place));
        Some((
            reason,
            "the first applies; choose another name if you need both".to_owned(),
        ))
    }

    /// Records that `line` is not translated.
    fn refuse(&mut self, line: &Line, reason: &str, remedy: &str) {
        // The following words may be a secret.
        let words = line.words.iter().map(|word| word.text.as_str());
        let named = words.filter(|word| !word.contains('=')).take(SHOWN_WORDS);
        let text = named.collect::<Vec<_>>().join(" ");
        self.other("command", vec![line.place.clone()], &text, reason, remedy);
    }

    fn output(&mut self, places: Vec<Place>, text: &str) {
        self.statement += 1;
        let statement = self.statement;
        let places = places.into_iter().map(|place| Place { statement, ..place });
        self.other(
            "line",
            places.collect(),
            text,
            "the line is not a command of crm or pcs: perhaps one of them printed it",
            "no action needed, unless the line was meant as configuration",
        );
    }

    fn other(
        &mut self,
        keyword: &str,
        mut places: Vec<Place>,
        text: &str,
        reason: &str,
        remedy: &str,
    ) {
        let text = heartbeat_config::shown(text);
        let also = places.split_off(1);
        let Some(place) = places.pop() else { return };
        self.model.statements.push(Statement {
            place: place.clone(),
            what: format!("{keyword} {text}"),
        });
        self.model.others.push(Other {
            also,
            why: Some((reason.to_owned(), remedy.to_owned())),
            ..Other::new(keyword, text, place)
        });
    }
}
