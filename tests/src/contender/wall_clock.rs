//! The instants of log lines, which have the wall clock, on the clock of the rig.

use anyhow::Result;
use heartbeat_common::time::Boottime;
use nix::time::{ClockId, clock_gettime};

use crate::sys::boottime;

const NANOS: u64 = 1_000_000_000;

/// The difference between the wall clock and the clock of the rig.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    /// The wall clock at boot, in nanoseconds since 1970.
    boot: u64,
    year: u64,
}

impl WallClock {
    /// Reads both clocks.
    pub(super) fn read() -> Result<Self> {
        let wall = clock_gettime(ClockId::CLOCK_REALTIME)?;
        let wall = wall.tv_sec().cast_unsigned() * NANOS + wall.tv_nsec().cast_unsigned();
        Ok(Self {
            boot: wall - boottime().as_nanos(),
            year: year(wall),
        })
    }

    /// The instant of `Dec 31 23:59:59.123`, in UTC and in the year of the reading.
    pub(super) fn without_year(&self, text: &str) -> Option<Boottime> {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let mut words = text.split_whitespace();
        let (month, day, time) = (words.next()?, words.next()?, words.next()?);
        let month = MONTHS.iter().position(|name| *name == month)? + 1;
        self.boottime(&format!("{}/{month}/{day} {time}", self.year))
    }

    /// The instant of `2026/12/31 23:59:59.123456`, in UTC.
    pub(super) fn boottime(&self, text: &str) -> Option<Boottime> {
        nanos(text)?
            .checked_sub(self.boot)
            .map(Boottime::from_nanos)
    }
}

/// Nanoseconds since 1970 of a date and a time in UTC. Anything that is no digit separates.
fn nanos(text: &str) -> Option<u64> {
    let (date, time) = text.trim().split_once(' ')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let numbers = |text: &str| -> Option<[u64; 3]> {
        let parts = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        parts.collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date)?, numbers(time)?);
    let days = days(year, month, day)?;
    let fraction = match fraction {
        "" => 0,
        digits if digits.len() <= 9 => {
            digits.parse::<u64>().ok()? * 10_u64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * NANOS + fraction)
}

/// The year of an instant in nanoseconds since 1970.
fn year(nanos: u64) -> u64 {
    let day = nanos / NANOS / 86_400;
    let begins = |year: &u64| days(*year, 1, 1).is_some_and(|first| first <= day);
    (1970..).take_while(begins).last().unwrap_or(1970)
}

/// The days from 1970 to a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_day = u64::from(is_leap && month > 2);
    let years = year.checked_sub(1970)?;
    let leap_days = leaps(year - 1) - leaps(1969);
    Some(years * 365 + leap_days + BEFORE.get(index)? + leap_day + day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn year_is_that_of_the_clock() {
        for (seconds, expected) in [(0, 1970), (1_798_761_599, 2026), (1_798_761_600, 2027)] {
            assert_eq!(year(seconds * NANOS), expected);
        }
        let clock = WallClock {
            boot: 0,
            year: 2026,
        };
        let at = clock.without_year("Dec 31 23:59:59.5").expect("an instant");
        assert_eq!(at.as_nanos(), 1_798_761_599_500_000_000);
        assert_eq!(clock.without_year("Dez 31 23:59:59"), None);
    }

    #[test]
    fn dates_become_nanoseconds() {
        for (text, seconds) in [
            ("1970/01/01 00:00:00", 0),
            ("2000/02/29 12:00:00", 951_825_600),
            ("2024/03/01 00:00:00", 1_709_251_200),
            ("2026/12/31 23:59:59", 1_798_761_599),
        ] {
            assert_eq!(nanos(text), Some(seconds * NANOS), "{text}");
        }
        assert_eq!(nanos("1970-01-01 00:00:01.25"), Some(1_250_000_000));
        for bad in ["", "2026/12/31", "2026/13/01 00:00:00", "a/b/c d:e:f"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }
}
