//! The meaning of single texts of a Pacemaker configuration: scores, times, booleans, names.

use std::time::Duration;

use heartbeat_core::placement::Score;

/// Longest name in our configuration.
const MAX_NAME: usize = 64;

/// Parses `INFINITY`, `-inf`, `100`. The name of an attribute, which may replace a score, is
/// `None`.
pub(super) fn score(text: &str) -> Option<Score> {
    let (negative, size) = match text.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let points = if ["inf", "infinity"].contains(&size.to_ascii_lowercase().as_str()) {
        Score::MUST.points()
    } else if size.bytes().all(|byte| byte.is_ascii_digit()) {
        let points: i64 = size.parse().ok()?;
        i32::try_from(points).unwrap_or(i32::MAX)
    } else {
        return None;
    };
    Some(Score::new(if negative { -points } else { points }))
}

/// Parses `30`, `30s`, `1min`, `1000ms`, `2h` and ISO 8601 durations without years and months,
/// `PT1M30S`. A number alone counts seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(iso) = text.strip_prefix('P') {
        return iso_time(iso);
    }
    let (number, unit) = number(text)?;
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "us" | "usec" => 1,
        "ms" | "msec" => 1_000,
        "" | "s" | "sec" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" | "hr" => 3_600_000_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_micros)
}

fn iso_time(text: &str) -> Option<Duration> {
    let (days, hours) = match text.split_once('T') {
        Some((days, hours)) => (days, Some(hours)),
        None => (text, None),
    };
    let days = sum(days, &[('W', 604_800), ('D', 86_400)])?;
    let hours = hours.map(|text| sum(text, &[('H', 3_600), ('M', 60), ('S', 1)]));
    match (days, hours) {
        (None, None | Some(Some(None))) | (_, Some(None)) => None,
        (days, hours) => {
            let hours = hours.flatten().flatten().unwrap_or(0);
            Some(Duration::from_secs(days.unwrap_or(0).checked_add(hours)?))
        }
    }
}

/// The sum of `3H30M`, in seconds: `Some(None)` for an empty text, `None` for an invalid one.
fn sum(mut text: &str, units: &[(char, u64)]) -> Option<Option<u64>> {
    let mut total = None;
    while !text.is_empty() {
        let (number, rest) = number(text)?;
        let unit = rest.chars().next()?;
        let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
        total = Some(
            number
                .checked_mul(*seconds)?
                .checked_add(total.unwrap_or(0))?,
        );
        text = rest.get(unit.len_utf8()..)?;
    }
    Some(total)
}

/// The whole number at the begin of `text`, and the rest.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// Parses `2019-06-01` and `20190601`, with or without a time of day, as the time since 1970. A
/// time zone is ignored.
pub(super) fn date(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (day, time) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let digits: String = day.chars().filter(|c| *c != '-').collect();
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: u64 = digits[..4].parse().ok()?;
    let month: u64 = digits[4..6]
        .parse()
        .ok()
        .filter(|month| (1..=12).contains(month))?;
    let day: u64 = digits[6..]
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    // Days from 1970 on, with years that begin in March (Hinnant, "chrono-compatible date").
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        (365 * year + year / 4 + year / 400 + day_of_year).checked_sub(year / 100 + 719_468)?;
    let clock = time
        .split(['Z', '+', '-', ' ', '.'])
        .next()
        .unwrap_or_default();
    let mut seconds = 0;
    for (part, unit) in clock
        .split(':')
        .filter(|part| !part.is_empty())
        .zip([3_600, 60, 1])
    {
        seconds += part.parse::<u64>().ok().filter(|number| *number < 100)? * unit;
    }
    Some(Duration::from_secs(days * 86_400 + seconds))
}

/// Parses Pacemaker's booleans, in any case.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// `text` as a valid name in our configuration: invalid characters are replaced, and the length is
/// cut.
pub(super) fn usable_name(text: &str) -> String {
    let usable = |c: char| {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = text.chars().take(MAX_NAME).map(usable).collect();
    if name.is_empty() {
        "_".to_owned()
    } else {
        name
    }
}

/// Whether `text` is a valid name of an interface in the kernel and in our configuration.
pub(super) fn is_interface(text: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() < 16 && ![".", ".."].contains(&text) && !text.contains(bad)
}

/// Whether `text` may be the provider or the name of an OCF agent.
pub(super) fn is_agent(text: &str) -> bool {
    !text.is_empty() && usable_name(text) == text && !text.starts_with('.')
}

/// Whether `text` may be a parameter of an OCF agent.
pub(super) fn is_parameter(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether `text` names a unit of systemd, with its suffix (systemd.unit(5)).
pub(super) fn is_unit(text: &str) -> bool {
    const MAX_UNIT: usize = 255;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let stem = text.rsplit_once('.').map_or(text, |(stem, _)| stem);
    let instance = !stem.starts_with('@') && !stem.ends_with('@');
    !stem.is_empty() && instance && text.len() <= MAX_UNIT && text.bytes().all(allowed)
}

/// Whether `text` is the absolute path of a program.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.ends_with('/') && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_a_sign_digits_or_infinity() {
        assert_eq!(score("INFINITY"), Some(Score::MUST));
        assert_eq!(score("inf"), Some(Score::MUST));
        assert_eq!(score("+inf"), Some(Score::MUST));
        assert_eq!(score("-INFINITY"), Some(Score::NEVER));
        assert_eq!(score("-100"), Some(Score::new(-100)));
        assert_eq!(score("9999999999"), Some(Score::MUST));
        assert_eq!(score("-9999999999"), Some(Score::NEVER));
        for text in ["", "-", "pingd", "1.5", "--1", "99999999999999999999"] {
            assert_eq!(score(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("1min", 60_000),
            ("2m", 120_000),
            ("1000ms", 1_000),
            ("1h", 3_600_000),
            ("PT30S", 30_000),
            ("PT1M30S", 90_000),
            ("P1DT1H", 90_000_000),
            ("P1W", 604_800_000),
            ("0", 0),
        ] {
            assert_eq!(
                time(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", "-1", "INFINITY", "1.5s", "P", "PT", "PT3", "P1Y", "PTS", "3 days",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_days_since_1970_and_may_have_a_time() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1970-03-01", 59 * 86_400),
            ("20000229", 951_782_400),
            ("2019-06-01", 1_559_347_200),
            ("2019-06-01 12:30:05Z", 1_559_392_205),
            ("2019-06-01T12:30+02:00", 1_559_392_200),
        ] {
            assert_eq!(date(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "2019",
            "2019-13-01",
            "1960-01-01",
            "2019-W22",
            "soon",
            "2019-06-01 x",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn name_keeps_what_it_can() {
        assert_eq!(usable_name("web-1.x_y"), "web-1.x_y");
        assert_eq!(usable_name("wéb 1"), "w_b_1");
        assert_eq!(usable_name(""), "_");
        assert_eq!(usable_name(&"x".repeat(100)).len(), 64);
    }
}
