//! Amounts of what the operator chooses to count, each kind by its name.

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Named, Reader, Section},
    report::{quoted, shown, type_name},
    values,
};

/// So that the sum of all demands cannot overflow.
const MAX_AMOUNT: u32 = 1_000_000;

/// Each kind, where it stands, and how much.
pub(crate) struct Amounts;

impl Reader for Amounts {
    type Value = Vec<(At<String>, u32)>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Self::Value>> {
        let DeValue::Table(table) = value.get_ref() else {
            return section.wrong_type(field, value, "a table");
        };
        let mut amounts = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            let report = |at: usize, what: String, remedy: String| {
                let message = format!("{} of {}{what}", field.noun(), quoted(name));
                section.problem(at, message, remedy);
            };
            let at = key.span().start;
            if values::name(name).is_err() {
                let remedy = "use 1 to 64 letters, digits, `_`, `.` or `-`, as in cpu";
                report(at, " is of no usable name".to_owned(), remedy.to_owned());
                continue;
            }
            let example = field.example();
            let remedy = format!("write it as in {example}, in units of your choice");
            match amount(value.get_ref()) {
                Ok(amount) => {
                    let value = name.to_owned();
                    amounts.push((At { value, at }, amount));
                }
                Err(what) => report(value.span().start, what, remedy),
            }
        }
        let at = value.span().start;
        Some(At { value: amounts, at })
    }

    fn write(&self, value: &Self::Value) -> String {
        let amounts = value.iter().map(|(kind, amount)| (&kind.value, amount));
        format!("{:?}", amounts.collect::<Vec<_>>())
    }

    fn takes(&self) -> String {
        format!("a table of kinds, each a number from 0 to {MAX_AMOUNT}")
    }
}

/// Amounts that did not come from a file; `None` if there are none.
pub(crate) fn unplaced_amounts<'a>(
    amounts: impl Iterator<Item = (&'a str, u32)>,
) -> Option<Vec<(At<String>, u32)>> {
    let place = |(kind, amount): (&str, u32)| {
        let value = kind.to_owned();
        (At { value, at: 0 }, amount)
    };
    let amounts: Vec<_> = amounts.map(place).collect();
    (!amounts.is_empty()).then_some(amounts)
}

/// The amount, or what is wrong with it.
fn amount(value: &DeValue<'_>) -> Result<u32, String> {
    match value {
        DeValue::Integer(number) => {
            let amount = u32::from_str_radix(number.as_str(), number.radix()).ok();
            let within = amount.filter(|amount| *amount <= MAX_AMOUNT);
            within.ok_or_else(|| {
                let number = shown(number.as_str());
                format!(" is {number}, not from 0 to {MAX_AMOUNT}")
            })
        }
        other => Err(format!(" is {}, not an integer", type_name(other))),
    }
}
