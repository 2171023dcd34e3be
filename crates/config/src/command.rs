//! Commands of the file: a program by its absolute path, and its arguments. There is no shell.

use super::{
    read::{Field, Section},
    report::quoted,
    values,
};

/// The command in `field`, at least one word. `None` if absent or, after a complaint, bad.
pub(super) fn command(section: &Section<'_>, field: &Field) -> Option<Vec<String>> {
    let words = section.list(field, values::word)?;
    let Some(program) = words.first() else {
        section.problem(
            section.at_field(field),
            format!("{} is empty", field.noun),
            format!("name a program, as in {}", field.example),
        );
        return None;
    };
    if let Some(program) = program
        && !program.value.starts_with('/')
    {
        section.problem(
            program.at,
            format!(
                "{} {} is not an absolute path",
                field.noun,
                quoted(&program.value)
            ),
            "write the program's whole path; there is no shell, and no PATH is searched",
        );
    }
    words
        .into_iter()
        .map(|word| word.map(|word| word.value))
        .collect()
}

/// The same for a field that must be there.
pub(super) fn required(section: &Section<'_>, field: &Field) -> Option<Vec<String>> {
    if !section.has(field) {
        section.missing(field);
    }
    command(section, field)
}
