//! Durations for people. All texts of the project use these units.

use core::{fmt, time::Duration};

/// A duration with three digits: 180 µs, 30.0 ms, 1.00 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short(pub Duration);

impl Short {
    /// A duration in nanoseconds.
    pub const fn nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (one, unit) = match nanos {
            0..1_000 => return write!(f, "{nanos} ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let rounded = |parts: u128| (nanos * parts + one / 2) / one;
        match nanos / one {
            0..10 => {
                let parts = rounded(100);
                write!(f, "{}.{:02} {unit}", parts / 100, parts % 100)
            }
            10..100 => {
                let parts = rounded(10);
                write!(f, "{}.{} {unit}", parts / 10, parts % 10)
            }
            _ => write!(f, "{} {unit}", rounded(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    #[test]
    fn duration_is_shown_with_three_digits_and_its_unit() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (5_120, "5.12 µs"),
            (180_000, "180 µs"),
            (30_000_000, "30.0 ms"),
            (250_499_999, "250 ms"),
            (250_500_000, "251 ms"),
            (1_002_718_000, "1.00 s"),
            (90_000_000_000, "90.0 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(Short::nanos(nanos).to_string(), text);
        }
    }
}
