//! One case for each kind of statement: its translation, or its remark.

mod cluster;
mod constraints;
mod resources;

use super::{input, translated};

const TWO: &str = "primitive a Dummy\nprimitive b Dummy\n";
const NODES: &str = "node n1\nnode n2\nnode n3\n";

/// Checks that the translation of `text` contains `wanted`, wherever the comments' lines are
/// wrapped.
#[track_caller]
fn says(text: &str, wanted: &str) {
    let output = flat(&translated(text));
    assert!(
        output.contains(wanted),
        "{wanted:?} is not in\n{}",
        translated(text)
    );
}

#[track_caller]
fn says_not(text: &str, unwanted: &str) {
    let output = translated(text);
    assert!(
        !flat(&output).contains(unwanted),
        "{unwanted:?} is in\n{output}"
    );
}

/// Joins the lines of each comment.
pub(super) fn flat(text: &str) -> String {
    text.replace("\n#   ", " ")
}

fn with_two(constraint: &str) -> String {
    format!("{TWO}{constraint}\n")
}
