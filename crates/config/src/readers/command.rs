//! Commands: a program by its absolute path, and its arguments. There is no shell.

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Named, Reader, Section},
    report::quoted,
    values,
};

/// At least one word, of which the first is an absolute path.
pub(crate) struct Command;

impl Reader for Command {
    type Value = Vec<String>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Vec<String>>> {
        let at = value.span().start;
        let words = section.texts(field, value, &values::word)?;
        let Some(program) = words.first() else {
            section.problem(
                at,
                format!("{} is empty", field.noun()),
                format!("name a program, as in {}", field.example()),
            );
            return None;
        };
        if let Some(program) = program
            && !program.value.starts_with('/')
        {
            let program_text = quoted(&program.value);
            section.problem(
                program.at,
                format!("{} {program_text} is not an absolute path", field.noun()),
                "write the program's whole path; there is no shell, and no PATH is searched",
            );
        }
        let words = words.into_iter().map(|word| word.map(|word| word.value));
        let value = words.collect::<Option<Vec<_>>>()?;
        Some(At { value, at })
    }

    fn write(&self, value: &Vec<String>) -> String {
        format!("{value:?}")
    }

    fn takes(&self) -> String {
        "a program by its absolute path, and its arguments, without a shell".to_owned()
    }
}
