//! `heartbeat import`: reads the configuration of a Corosync and Pacemaker cluster, or of
//! keepalived, and writes ours.
//!
//! Text in, text out: `corosync`, `crm` and `cib` read, `translate` decides, `emit` writes;
//! `keepalived` reads and decides for itself. Nothing here opens a file, resolves a name or uses
//! the network. No part of the input is dropped silently: a part without a counterpart becomes a
//! comment with the reason and a remedy.

#![forbid(unsafe_code)]

use std::collections::HashMap;

mod cib;
mod corosync;
mod crm;
mod emit;
mod explain;
mod input;
mod keepalived;
mod model;
mod pcs;
mod place;
mod shell;
mod tokens;
mod translate;
mod values;
mod words;

pub use emit::{Counts, Remark};
pub use explain::Row;
pub use input::{Input, Inputs, Options};
pub use keepalived::NodeFile;
pub use place::{ImportError, Place};

use emit::Document;
use model::Model;

/// A configuration of ours.
#[derive(Clone, Debug)]
pub struct Imported {
    pub text: String,
    pub counts: Counts,
    /// The result of each statement, in the order of the input.
    pub rows: Vec<Row>,
    /// The parts that were not translated, in the order of the text.
    pub remarks: Vec<Remark>,
    /// The translated parts that are refused until the operator has decided.
    pub decisions: Vec<Remark>,
    /// The parts that were translated by a guess at their author's intention.
    pub guesses: Vec<Remark>,
    /// The translated parts that are not served until the operator has checked their dependencies.
    pub held: Vec<Remark>,
}

/// Translates `inputs`. Fails only if one of them cannot be parsed.
pub fn import(inputs: &Inputs, options: &Options) -> Result<Imported, ImportError> {
    let corosync = inputs.corosync.as_ref().map(corosync::parse).transpose()?;
    let model = match &inputs.resources {
        Some(input) => read_resources(input)?,
        None => Model::default(),
    };
    each_id_once(&model)?;
    let statements = model.statements.clone();
    let files: Vec<&str> = [&inputs.corosync, &inputs.resources]
        .into_iter()
        .flatten()
        .map(|input| input.name.as_str())
        .collect();
    let mut document = translate::translate(&files, corosync, model, options);
    account_for(&mut document, &statements);
    Ok(imported(&document, &statements))
}

/// Translates the files of keepalived, one for each node. Fails only if one of them cannot be
/// parsed.
pub fn import_keepalived(files: &[NodeFile]) -> Result<Imported, ImportError> {
    let translated = keepalived::translate(files)?;
    let mut document = translated.document;
    account_for(&mut document, &translated.settings);
    Ok(imported(&document, &translated.statements))
}

fn imported(document: &Document, statements: &[model::Statement]) -> Imported {
    Imported {
        text: document.to_string(),
        counts: document.counts(),
        rows: explain::rows(document, statements),
        remarks: document.remarks().cloned().collect(),
        decisions: document.decisions().cloned().collect(),
        guesses: document.guesses().cloned().collect(),
        held: document.held().cloned().collect(),
    }
}

/// Distinguishes the syntaxes: XML begins with `<`, a shell's text has calls of `crm` or `pcs`.
fn read_resources(input: &Input) -> Result<Model, ImportError> {
    let begins = input
        .text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('<');
    if begins {
        cib::parse(input)
    } else if shell::is_one(&input.text) {
        Ok(shell::parse(input))
    } else {
        crm::parse(input)
    }
}

/// Checks that ids are unique, since constraints name resources by their ids.
fn each_id_once(model: &Model) -> Result<(), ImportError> {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    let mut ids: Vec<(&str, &Place)> = model.ids().collect();
    ids.sort_by_key(|(_, place)| place.line);
    for (id, place) in ids {
        if let Some(first) = seen.insert(id, place) {
            return Err(ImportError::new(
                place,
                format!("the name is in use since line {}", first.line),
                id,
                "give each resource, group and clone a name of its own",
            ));
        }
    }
    Ok(())
}

/// The reason in the remark on a forgotten statement: a gap in the translation, not in the input.
const FORGOTTEN: &str = "the import knows the statement but has no result for it";

/// The safety net below the translation: adds a remark on each statement without a result.
fn account_for(document: &mut Document, statements: &[model::Statement]) {
    let told = document.places();
    let forgotten: Vec<Remark> = statements
        .iter()
        .filter(|statement| !told.iter().any(|place| statement.holds(place)))
        .map(|statement| {
            Remark::new(
                &statement.place,
                statement.what.clone(),
                FORGOTTEN,
                "translate it by hand",
            )
        })
        .collect();
    document.remark_at_end(forgotten);
}
