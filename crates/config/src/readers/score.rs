//! Scores: points, or "inf" and "-inf", also by the names that operators of Pacemaker know.

use heartbeat_core::placement::Score;
use toml::{
    Spanned,
    de::{DeInteger, DeValue},
};

use crate::{
    read::{At, Named, Reader, Section},
    report::{quoted, shown},
};

/// Points of at least `low`, or "inf".
pub(crate) struct Points {
    pub(crate) low: Score,
}

impl Reader for Points {
    type Value = Score;

    fn read(
        &self,
        section: &Section<'_>,
        field: &dyn Named,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<At<Score>> {
        let (low, high) = (self.low, Score::MUST.points());
        let at = value.span().start;
        let (written, score) = match value.get_ref() {
            DeValue::Integer(number) => (shown(&number.to_string()), points(number)),
            // TOML has infinities of its own, without quotes: they are floats.
            DeValue::Float(number) => (shown(number.as_str()), infinity(number.as_str())),
            DeValue::String(text) => (quoted(text), infinity(text)),
            _ => return section.wrong_type(field, value, "a score"),
        };
        let (noun, example, low_points) = (field.noun(), field.example(), low.points());
        match score {
            Some(value) if value >= low => return Some(At { value, at }),
            Some(_) => section.problem(
                at,
                format!("{noun} {written} is below {low_points}"),
                format!("write {low_points} or more, or \"inf\""),
            ),
            None => section.problem(
                at,
                format!("{noun} {written} is no whole number from {low_points} to {high}"),
                format!("write a number within, without quotes, as in {example}"),
            ),
        }
        None
    }

    fn write(&self, value: &Score) -> String {
        match *value {
            Score::MUST => "\"inf\"".to_owned(),
            Score::NEVER => "\"-inf\"".to_owned(),
            score => score.points().to_string(),
        }
    }

    fn show(&self, value: &Score) -> String {
        value.to_string()
    }

    fn takes(&self) -> String {
        let (low, high) = (self.low.points(), Score::MUST.points());
        match self.low {
            Score::NEVER => format!("a number from {low} to {high}, \"inf\" or \"-inf\""),
            _ => format!("a number from {low} to {high}, or \"inf\""),
        }
    }

    fn hint(&self) -> String {
        match self.low {
            Score::NEVER => ", \"inf\" or \"-inf\"".to_owned(),
            _ => " or \"inf\"".to_owned(),
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
