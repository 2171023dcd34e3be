//! Whole numbers and booleans.

use std::fmt::Display;

use toml::{Spanned, de::DeValue};

use crate::{
    read::{At, Named, Reader, Section},
    report::shown,
};

/// A whole number from `low` to `high`.
pub(crate) struct Number<N> {
    low: N,
    high: N,
    unit: Unit,
}

/// The unit of a number.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// In messages about the file.
    name: &'static str,
    /// In the summary of `heartbeat check`.
    symbol: &'static str,
}

pub(crate) const COUNT: Unit = unit("", "");
pub(crate) const PPM: Unit = unit("parts per million", "ppm");
pub(crate) const PER_MILLE: Unit = unit("per mille", "per mille");

pub(crate) const fn unit(name: &'static str, symbol: &'static str) -> Unit {
    Unit { name, symbol }
}

pub(crate) const fn number<N: Copy>(low: N, high: N, unit: Unit) -> Number<N> {
    Number { low, high, unit }
}

impl<N: Copy + Ord + Display + TryFrom<u32>> Reader for Number<N> {
    type Value = N;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<N>> {
        let DeValue::Integer(number) = value.get_ref() else {
            return section.wrong_type(field, value, "an integer");
        };
        let at = value.span().start;
        let (low, high) = (self.low, self.high);
        let given = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let given = given.and_then(|number| N::try_from(number).ok());
        match given.filter(|number| (low..=high).contains(number)) {
            Some(value) => Some(At { value, at }),
            None => {
                let number = shown(number.as_str());
                section.problem(
                    at,
                    format!("{} {number} is not from {low} to {high}", field.noun()),
                    format!("write a number within, as in {}", field.example()),
                );
                None
            }
        }
    }

    fn write(&self, value: &N) -> String {
        value.to_string()
    }

    fn show(&self, value: &N) -> String {
        format!("{value} {}", self.unit.symbol)
            .trim_end()
            .to_owned()
    }

    fn takes(&self) -> String {
        let unit = match self.unit.name {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        format!("a number from {} to {}{unit}", self.low, self.high)
    }

    fn hint(&self) -> String {
        match self.unit.name {
            "" => String::new(),
            name => format!(": {name}"),
        }
    }
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Reader for Flag {
    type Value = bool;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<bool>> {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(At { value: *value, at }),
            _ => section.wrong_type(field, value, "a boolean"),
        }
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }

    fn takes(&self) -> String {
        "`true` or `false`".to_owned()
    }
}
