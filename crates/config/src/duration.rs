//! Durations as the configuration writes them: a whole number and a unit.

use std::{fmt, time::Duration};

const UNITS: [(&str, u64); 4] = [
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Reads `500us`, `10ms`, `2s` or `1min`. Anything else, also a bare number, is `None`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(*nanos)
        .map(Duration::from_nanos)
}

/// Writes a duration in the largest unit that shows it whole.
#[derive(Clone, Copy, Debug)]
pub struct Show(pub Duration);

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match UNITS
            .iter()
            .find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(u128::from(*unit)))
        {
            Some((name, unit)) => write!(f, "{}{name}", nanos / u128::from(*unit)),
            None => write!(f, "{nanos}ns"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_needs_a_unit_and_a_unit_a_number() {
        assert_eq!(parse("500us"), Some(Duration::from_micros(500)));
        assert_eq!(parse("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        assert_eq!(parse("2min"), Some(Duration::from_secs(120)));
        for text in [
            "", "10", "ms", "1.5s", "-1s", "+1s", "1 s", "1S", "1h", "1sec", "٣s", "1ms1us",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("18446744073709551615min"), None);
        assert_eq!(parse("99999999999999999999s"), None);
    }

    #[test]
    fn shows_the_largest_whole_unit() {
        assert_eq!(Show(Duration::from_millis(1_500)).to_string(), "1500ms");
        assert_eq!(Show(Duration::from_secs(120)).to_string(), "2min");
        assert_eq!(Show(Duration::from_nanos(15)).to_string(), "15ns");
        assert_eq!(Show(Duration::ZERO).to_string(), "0ns");
    }

    proptest! {
        #[test]
        fn duration_that_is_shown_reads_back(micros in 1_u64..u64::MAX / 1_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&Show(duration).to_string()), Some(duration));
        }
    }
}
