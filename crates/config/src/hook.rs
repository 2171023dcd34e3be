//! `[[hook]]`: commands to run when something happens.

use std::path::PathBuf;

use super::{
    read::{Section, label},
    settings::hook::{EXEC, ON, TABLE, TIMEOUT},
    types::Hook,
};

/// All of them. A hook needs nothing but itself, so it is whole already.
pub(super) fn read(top: &Section<'_>) -> Vec<Hook> {
    let sections = TABLE.open_all(top, label("hook"));
    sections.iter().filter_map(hook).collect()
}

fn hook(section: &Section<'_>) -> Option<Hook> {
    let timeout = TIMEOUT.or_default(section);
    let on = ON.value(section);
    let mut words = EXEC.value(section)?.into_iter();
    Some(Hook {
        on: on?,
        program: PathBuf::from(words.next()?),
        args: words.collect(),
        timeout,
    })
}
