//! One case for each kind of statement: what it becomes, or what is said instead.

mod cluster;
mod constraints;
mod resources;

use super::{input, translated};

const TWO: &str = "primitive a Dummy\nprimitive b Dummy\n";
const NODES: &str = "node n1\nnode n2\nnode n3\n";

/// What `text` becomes holds `wanted`, whatever its comments' lines are broken at.
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

/// Comments that go on in the next line are joined.
pub(super) fn flat(text: &str) -> String {
    text.replace("\n#   ", " ")
}

fn with_two(constraint: &str) -> String {
    format!("{TWO}{constraint}\n")
}
