//! The result of each statement, as rows: the content of the comments, in the order of the input.

use super::{
    emit::{Block, Comment, Document, Remark, Value},
    model::Statement,
    place::Place,
};

/// The result of one statement, or of one setting outside of any statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The statement's keyword and name, or the setting.
    pub statement: String,
    /// The places of the statement; at least one.
    pub places: Vec<Place>,
    /// The table with the result, or `not translated`.
    pub became: String,
    pub why: String,
}

pub(super) fn rows(document: &Document, statements: &[Statement]) -> Vec<Row> {
    let mut rows = Vec::new();
    for block in &document.blocks {
        of_block(block, statements, &mut rows);
    }
    rows.sort_by(|one, other| one.places.first().cmp(&other.places.first()));
    rows
}

fn of_block(block: &Block, statements: &[Statement], rows: &mut Vec<Row>) {
    let table = title(block);
    // The rows of the last note, which the general remarks behind it explain.
    let mut last = rows.len()..rows.len();
    for comment in block.comments.iter().chain(&block.after) {
        match comment {
            Comment::Note(text, places) if places.is_empty() => {
                for row in rows.get_mut(last.clone()).into_iter().flatten() {
                    if !row.why.is_empty() {
                        row.why.push_str("; ");
                    }
                    row.why.push_str(text);
                }
            }
            Comment::Note(text, places) => {
                let start = rows.len();
                note(text, places, &table, statements, rows);
                last = start..rows.len();
            }
            Comment::Remark(remark) => rows.push(remarked(remark, "not translated")),
            Comment::Decision(remark) => rows.push(remarked(remark, "to be decided")),
            Comment::Guess(remark) => rows.push(remarked(remark, &format!("{table}, guessed"))),
            Comment::Held(remark) => rows.push(remarked(remark, "in maintenance")),
            Comment::Off(..) => {}
        }
    }
}

/// `[[group]] web`, `[[order]] a, b`; without a table, the subject of an explanation.
fn title(block: &Block) -> String {
    if block.header.is_empty() {
        return "see there".to_owned();
    }
    let names = match block.header {
        "[[group]]" | "[[group.resource]]" | "[[node]]" | "[[health]]" | "[[link]]" => 1,
        "[[location]]" | "[[colocation]]" | "[[order]]" => 2,
        _ => 0,
    };
    let texts = block.fields.iter().filter_map(|(_, value)| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let names: Vec<&str> = texts.take(names).collect();
    format!("{} {}", block.header, names.join(", "))
        .trim()
        .to_owned()
}

/// One row for each statement of the note; a single row if the note is about none.
fn note(text: &str, places: &[Place], table: &str, statements: &[Statement], rows: &mut Vec<Row>) {
    let head = text.split(" (").next().unwrap_or_default();
    let mut listed: Vec<&Statement> = Vec::new();
    for place in places {
        let statement = statements.iter().find(|statement| statement.holds(place));
        listed.extend(statement.filter(|one| listed.iter().all(|other| other.place != one.place)));
    }
    let reason = |statement: &str| match text.split_once("): ") {
        Some((before, why)) if before.starts_with(statement) => why.to_owned(),
        None if text.starts_with(statement) => String::new(),
        _ => text.to_owned(),
    };
    if listed.is_empty() {
        rows.push(Row {
            statement: head.to_owned(),
            places: places.to_vec(),
            became: table.to_owned(),
            why: reason(head),
        });
    }
    for statement in listed {
        let held = places.iter().filter(|place| statement.holds(place));
        rows.push(Row {
            statement: statement.what.clone(),
            places: held.cloned().collect(),
            became: table.to_owned(),
            why: reason(&statement.what),
        });
    }
}

fn remarked(remark: &Remark, became: &str) -> Row {
    Row {
        statement: remark.subject.clone(),
        places: remark.places.clone(),
        became: became.to_owned(),
        why: format!("{}; {}", remark.reason, remark.remedy),
    }
}
