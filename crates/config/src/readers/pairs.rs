//! Tables of names and texts: parameters of agents, and variables of programs.

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Named, Reader, Section},
    report::{quoted, type_name},
};

/// Names that `judge` accepts, each with its value as a program will see it. Sorted by name.
pub(crate) struct Pairs {
    /// Says what is wrong with a name, and what to do.
    pub(crate) judge: fn(&str) -> Result<(), (&'static str, &'static str)>,
    pub(crate) takes: &'static str,
}

impl Reader for Pairs {
    type Value = Vec<(String, String)>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Self::Value>> {
        let DeValue::Table(table) = value.get_ref() else {
            return section.wrong_type(field, value, "a table");
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            let report = |at: usize, what: &str, remedy: &str| {
                let message = format!("{} {}{what}", field.noun(), quoted(name));
                section.problem(at, message, remedy);
            };
            if let Err((what, remedy)) = (self.judge)(name) {
                report(key.span().start, what, remedy);
            }
            match text(value.get_ref()) {
                Ok(value) => pairs.push((name.to_owned(), value)),
                Err((what, remedy)) => report(value.span().start, &what, remedy),
            }
        }
        pairs.sort_unstable();
        let at = value.span().start;
        Some(At { value: pairs, at })
    }

    fn write(&self, value: &Self::Value) -> String {
        format!("{value:?}")
    }

    fn takes(&self) -> String {
        self.takes.to_owned()
    }
}

/// The value as text, or what is wrong with it and what to do.
fn text(value: &DeValue<'_>) -> Result<String, (String, &'static str)> {
    const QUOTE: &str = "write it in quotes, as the program is to see it";
    match value {
        DeValue::String(text) if text.contains('\0') => Err((
            " holds a NUL".to_owned(),
            "leave it out: no environment variable can carry one",
        )),
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        // Whether the program wants 0o640 or 416 is not ours to guess.
        DeValue::Integer(number) if number.radix() != 10 => {
            Err((" is a number, but not in decimal".to_owned(), QUOTE))
        }
        DeValue::Integer(number) => match number.as_str().parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err((" is a number beyond 64 bits".to_owned(), QUOTE)),
        },
        other => Err((
            format!(
                " is {}, not a string, an integer or a boolean",
                type_name(other)
            ),
            QUOTE,
        )),
    }
}
