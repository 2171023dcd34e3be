//! Scores: points, or "inf" and "-inf", also by the names that operators of Pacemaker know.

use heartbeat_core::placement::Score;
use toml::de::{DeInteger, DeValue};

use super::{
    read::{At, Field, Section},
    report::{quoted, shown},
};

/// The score in `field`, of at least `low`. `None` if absent or, after a complaint, bad.
pub(super) fn score(section: &Section<'_>, field: &Field, low: Score) -> Option<At<Score>> {
    let value = section.get(field)?;
    let at = value.span().start;
    let (written, score) = match value.get_ref() {
        DeValue::Integer(number) => (shown(&number.to_string()), points(number)),
        // TOML has infinities of its own, without quotes: they are floats.
        DeValue::Float(number) => (shown(number.as_str()), infinity(number.as_str())),
        DeValue::String(text) => (quoted(text), infinity(text)),
        _ => return section.wrong_type(field, value, "a score"),
    };
    match score {
        Some(value) if value >= low => Some(At { value, at }),
        Some(_) => {
            section.problem(
                at,
                format!("{} {written} is below {}", field.noun, low.points()),
                format!("write {} or more, or \"inf\"", low.points()),
            );
            None
        }
        None => {
            section.problem(
                at,
                format!(
                    "{} {written} is no whole number from {} to {}",
                    field.noun,
                    low.points(),
                    Score::MUST.points()
                ),
                format!(
                    "write a number within, without quotes, as in {}",
                    field.example
                ),
            );
            None
        }
    }
}

fn points(number: &DeInteger<'_>) -> Option<Score> {
    let points = i32::from_str_radix(number.as_str(), number.radix()).ok()?;
    (Score::NEVER.points()..=Score::MUST.points())
        .contains(&points)
        .then(|| Score::new(points))
}

fn infinity(text: &str) -> Option<Score> {
    match text {
        "inf" | "+inf" | "INFINITY" | "+INFINITY" => Some(Score::MUST),
        "-inf" | "-INFINITY" => Some(Score::NEVER),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_have_the_names_of_both_worlds() {
        for text in ["inf", "+inf", "INFINITY", "+INFINITY"] {
            assert_eq!(infinity(text), Some(Score::MUST), "{text}");
        }
        for text in ["-inf", "-INFINITY"] {
            assert_eq!(infinity(text), Some(Score::NEVER), "{text}");
        }
        for text in ["", "Inf", "nan", "1", "--inf", "infinity"] {
            assert_eq!(infinity(text), None, "{text}");
        }
    }
}
