//! Tables of names with texts: parameters of OCF agents, variables of an environment. Never says the
//! value of one: it may be a password.

use toml::de::DeValue;

use crate::{
    fields::PARAMS,
    read::{Field, Section},
    report::{quoted, type_name},
};

/// `params`: each name with its value as the agent will see it, sorted by name.
pub(super) fn read(section: &Section<'_>) -> Vec<(String, String)> {
    table(section, &PARAMS, |name| match is_name(name) {
        true => Ok(()),
        false => Err((
            " is not a usable name",
            "use letters, digits, `_` and `-`, as the agent's meta-data name it",
        )),
    })
}

/// The table in `field`: each name with its value as a program will see it, sorted by name. `judge`
/// says what is wrong with a name, and what to do.
pub(super) fn table(
    section: &Section<'_>,
    field: &Field,
    judge: impl Fn(&str) -> Result<(), (&'static str, &'static str)>,
) -> Vec<(String, String)> {
    let Some(value) = section.get(field) else {
        return Vec::new();
    };
    let DeValue::Table(table) = value.get_ref() else {
        section.wrong_type::<()>(field, value, "a table");
        return Vec::new();
    };
    let mut params = Vec::with_capacity(table.len());
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        let complain = |at: usize, what: &str, remedy: &str| {
            section.problem(at, format!("{} {}{what}", field.noun, quoted(name)), remedy);
        };
        if let Err((what, remedy)) = judge(name) {
            complain(key.span().start, what, remedy);
        }
        match text(value.get_ref()) {
            Ok(value) => params.push((name.to_owned(), value)),
            Err((what, remedy)) => complain(value.span().start, &what, remedy),
        }
    }
    params.sort_unstable();
    params
}

/// It becomes part of the name of an environment variable.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
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
