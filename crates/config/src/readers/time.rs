//! Durations, as a whole number and a unit in quotes.

use std::time::Duration;

use toml::{Spanned, de::DeValue};

use crate::{
    duration::Show,
    read::{At, Invalid, Named, Reader, Section},
    values,
};

/// A duration within bounds.
pub(crate) struct Time {
    pub(crate) low: Duration,
    pub(crate) high: Duration,
}

impl Reader for Time {
    type Value = Duration;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Duration>> {
        section.text(field, value, &values::duration(self.low, self.high))
    }

    fn write(&self, value: &Duration) -> String {
        match value.is_zero() {
            true => "\"0s\"".to_owned(),
            false => format!("\"{}\"", Show(*value)),
        }
    }

    fn show(&self, value: &Duration) -> String {
        Show(*value).to_string()
    }

    fn takes(&self) -> String {
        match self.low.is_zero() {
            true => format!("a duration up to {}", Show(self.high)),
            false => format!("a duration from {} to {}", Show(self.low), Show(self.high)),
        }
    }

    fn hint(&self) -> String {
        ": a number with its unit, in quotes".to_owned()
    }
}

/// The word for a duration that does not end.
const NEVER: &str = "never";

/// The same, or "never": `None`.
pub(crate) struct TimeOrNever(pub(crate) Time);

impl Reader for TimeOrNever {
    type Value = Option<Duration>;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Option<Duration>>> {
        let duration = values::duration(self.0.low, self.0.high);
        let parse = |text: &str| match text {
            NEVER => Ok(None),
            _ => duration(text)
                .map(Some)
                .map_err(|Invalid { what, remedy }| {
                    Invalid::new(what, format!("{remedy}; or \"{NEVER}\""))
                }),
        };
        section.text(field, value, &parse)
    }

    fn write(&self, value: &Option<Duration>) -> String {
        match value {
            Some(value) => self.0.write(value),
            None => format!("\"{NEVER}\""),
        }
    }

    fn show(&self, value: &Option<Duration>) -> String {
        match value {
            Some(value) => self.0.show(value),
            None => NEVER.to_owned(),
        }
    }

    fn takes(&self) -> String {
        format!("{}, or \"{NEVER}\"", self.0.takes())
    }

    fn hint(&self) -> String {
        format!(" or \"{NEVER}\"")
    }
}
