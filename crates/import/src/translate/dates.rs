//! The dates in constraints: a constraint that has ended is void, one that has begun for good
//! always holds. Any other date depends on a clock, and no constraint here does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    model::{Condition, Model},
    values,
};

/// Margin for times without a zone, whose zone is unknown.
const ZONES: Duration = Duration::from_secs(24 * 60 * 60);

/// Settles all dates that are not near `now`; without `now`, none.
pub(super) fn settle(model: &mut Model, now: Option<SystemTime>) {
    let lifetimes = model
        .colocations
        .iter_mut()
        .map(|colocation| &mut colocation.lifetime);
    let lifetimes = lifetimes.chain(model.orders.iter_mut().map(|order| &mut order.lifetime));
    for lifetime in lifetimes.flatten() {
        *lifetime = settled(lifetime, now);
    }
    for preference in model
        .locations
        .iter_mut()
        .flat_map(|location| &mut location.preferences)
    {
        preference.condition = settled(&preference.condition, now);
    }
}

fn settled(condition: &Condition, now: Option<SystemTime>) -> Condition {
    match condition {
        Condition::Date(begin, end, text) => date(begin.as_deref(), end.as_deref(), text, now),
        Condition::All(terms) => joined(terms, now, false),
        Condition::Any(terms) => joined(terms, now, true),
        other => other.clone(),
    }
}

/// Terms that are joined by "or" if `ends` is true, by "and" if it is false. A term with the value
/// `ends` decides; a term with the other value has no effect.
fn joined(terms: &[Condition], now: Option<SystemTime>, ends: bool) -> Condition {
    let terms: Vec<Condition> = terms.iter().map(|term| settled(term, now)).collect();
    let decides = |term: &&Condition| matches!(term, Condition::Settled(is, _) if *is == ends);
    if let Some(term) = terms.iter().find(decides) {
        return term.clone();
    }
    let opaque: Vec<&str> = terms
        .iter()
        .filter_map(|term| match term {
            Condition::Opaque(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !opaque.is_empty() {
        return Condition::Opaque(opaque.join(", "));
    }
    let open = |term: &&Condition| !matches!(term, Condition::Settled(..));
    let rest: Vec<Condition> = terms.iter().filter(open).cloned().collect();
    match (rest.len(), terms.into_iter().next()) {
        (0, Some(settled)) => settled,
        _ if ends => Condition::Any(rest),
        _ => Condition::All(rest),
    }
}

fn date(begin: Option<&str>, end: Option<&str>, text: &str, now: Option<SystemTime>) -> Condition {
    let now = now.and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    let past = |time: &str| Some(values::date(time)? + ZONES < now?);
    if let Some(time) = end
        && past(time) == Some(true)
    {
        return Condition::Settled(false, format!("it ended at {time}"));
    }
    match (begin, end) {
        (Some(time), None) if past(time) == Some(true) => {
            Condition::Settled(true, format!("it began at {time}, and has no end"))
        }
        _ => Condition::Opaque(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(begin: Option<&str>, end: Option<&str>) -> Condition {
        let [begin, end] = [begin, end].map(|time| time.map(str::to_owned));
        let date = Condition::Date(begin, end, "a date".to_owned());
        // 2024-03-01T00:00:00Z.
        settled(&date, Some(UNIX_EPOCH + Duration::from_secs(1_709_251_200)))
    }

    #[test]
    fn date_that_has_passed_is_settled_and_another_is_not() {
        let false_for_good = |condition| matches!(condition, Condition::Settled(false, _));
        let true_for_good = |condition| matches!(condition, Condition::Settled(true, _));
        let open = |condition| matches!(condition, Condition::Opaque(_));
        assert!(false_for_good(of(None, Some("2019-06-01"))));
        assert!(false_for_good(of(
            Some("2019-01-01"),
            Some("2019-06-01 12:00:00Z")
        )));
        assert!(true_for_good(of(Some("2019-01-01"), None)));
        assert!(open(of(None, Some("2024-03-01 12:00:00"))));
        assert!(open(of(None, Some("2030-01-01"))));
        assert!(open(of(Some("2019-01-01"), Some("2030-01-01"))));
        assert!(open(of(Some("2030-01-01"), None)));
        assert!(open(of(None, Some("next week"))));
    }

    #[test]
    fn settled_term_decides_or_says_nothing() {
        let node = Condition::Is("a".to_owned());
        let date = |end: &str| Condition::Date(None, Some(end.to_owned()), "a date".to_owned());
        let now = Some(UNIX_EPOCH + Duration::from_secs(1_709_251_200));
        let both = |end| Condition::All(vec![node.clone(), date(end)]);
        assert!(matches!(
            settled(&both("2019-01-01"), now),
            Condition::Settled(false, _)
        ));
        assert!(matches!(
            settled(&both("2030-01-01"), now),
            Condition::Opaque(_)
        ));
        assert!(matches!(
            settled(&both("2019-01-01"), None),
            Condition::Opaque(_)
        ));
        let either = Condition::Any(vec![node.clone(), date("2019-01-01")]);
        let Condition::Any(left) = settled(&either, now) else {
            panic!("not left to the node");
        };
        assert!(matches!(left[..], [Condition::Is(_)]));
    }
}
