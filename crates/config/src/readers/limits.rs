//! Limits of a resource's programs, by the names of setrlimit(2).

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Named, Reader, Section},
    report::{nearest, quoted},
    types::{Limit, LimitKind},
};

/// The value of a limit that bounds nothing.
const UNLIMITED: &str = "unlimited";

/// A table of limits, sorted by kind.
pub(crate) struct Limits;

impl Reader for Limits {
    type Value = Vec<Limit>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Vec<Limit>>> {
        let DeValue::Table(table) = value.get_ref() else {
            return section.wrong_type(field, value, "a table");
        };
        let mut limits = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            let mut kinds = LimitKind::ALL.into_iter();
            let Some(kind) = kinds.find(|kind| kind.as_str() == name) else {
                let known = LimitKind::ALL.map(LimitKind::as_str);
                let remedy = match nearest(name, known) {
                    Some(likely) => format!("did you mean `{likely}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                let message = format!("there is no limit {}", quoted(name));
                section.problem(key.span().start, message, remedy);
                continue;
            };
            match bound(value.get_ref()) {
                Some(value) => limits.push(Limit { kind, value }),
                None => section.problem(
                    value.span().start,
                    format!("limit {name} is neither a whole number from 0 nor \"{UNLIMITED}\""),
                    "write it as setrlimit(2) has it: bytes, seconds or a count, without quotes \
                     and without a unit",
                ),
            }
        }
        limits.sort_unstable();
        let at = value.span().start;
        Some(At { value: limits, at })
    }

    fn write(&self, value: &Vec<Limit>) -> String {
        let limits = value.iter().map(|limit| (limit.kind.as_str(), limit.value));
        format!("{:?}", limits.collect::<Vec<_>>())
    }

    fn takes(&self) -> String {
        format!(
            "a table of {}; each a number of bytes or seconds, a count, or \"{UNLIMITED}\"",
            LimitKind::ALL.map(LimitKind::as_str).join(", ")
        )
    }
}

/// The bound that a value says; the inner `None` is without one.
fn bound(value: &DeValue<'_>) -> Option<Option<u64>> {
    match value {
        DeValue::String(text) if *text == UNLIMITED => Some(None),
        DeValue::Integer(number) => {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
            // The kernel's number for no bound at all.
            (number < u64::MAX).then_some(Some(number))
        }
        _ => None,
    }
}
