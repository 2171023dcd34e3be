//! The statements of constraints: `colocation`, `order`, `location`.

use crate::{
    model::{Attrs, Chain, Colocation, Condition, Location, Member, Order, Preference, Set},
    place::ImportError,
    values,
    words::{Words, attributes},
};

pub(super) fn colocation(mut words: Words<'_>) -> Result<Colocation, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("colocation")?;
    let score = before_colon(&mut words, |text| values::score(text).is_some());
    let chain = chain(&mut words)?;
    Ok(Colocation {
        id,
        place,
        score,
        chain,
        guessed: false,
        lifetime: None,
        attrs: attributes(&mut words)?,
    })
}

pub(super) fn order(mut words: Words<'_>) -> Result<Order, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("order")?;
    let kind = before_colon(&mut words, |text| {
        let kinds = ["mandatory", "optional", "serialize"];
        kinds.contains(&text.to_ascii_lowercase().as_str()) || values::score(text).is_some()
    });
    let chain = chain(&mut words)?;
    Ok(Order {
        id,
        place,
        kind,
        chain,
        guessed: false,
        lifetime: None,
        attrs: attributes(&mut words)?,
    })
}

/// `inf:`, `Mandatory:`; without the colon, the word if `is_meant` accepts it.
fn before_colon(words: &mut Words<'_>, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let text = words.peek_text()?;
    let before = match text.strip_suffix(':') {
        Some(before) => before,
        None if is_meant(text) => text,
        None => return None,
    };
    words.next();
    // The colon is a word of its own.
    words.next_if(":");
    Some(before.to_owned())
}

/// `a b`, `a b c`, `a ( b c ) d`, `[ a b ] c`, up to the attributes.
fn chain(words: &mut Words<'_>) -> Result<Chain, ImportError> {
    let mut sets: Vec<Set> = Vec::new();
    let explicit = words.next_if("_rsc_set_");
    let mut brackets = explicit;
    // The open bracket.
    let mut open: Option<char> = None;
    while let Some(word) = words.peek() {
        if word.attribute().is_some() {
            break;
        }
        words.next();
        let mut rest = word.text.as_str();
        if let Some(bracket) = rest.chars().next().filter(|c| "([".contains(*c)) {
            if open.is_some() {
                return Err(words.wrong_at(
                    word,
                    "sets cannot be nested".to_owned(),
                    "close the first set before the second",
                ));
            }
            open = Some(bracket);
            brackets = true;
            sets.push(Set {
                members: Vec::new(),
                sequential: false,
                within: true,
                require_all: bracket == '(',
                attrs: Attrs::default(),
            });
            rest = &rest[1..];
        }
        let closing = rest.ends_with([')', ']']);
        let name = rest.trim_end_matches([')', ']']);
        if !name.is_empty() {
            let member = member(name);
            match sets.last_mut() {
                Some(set) if open.is_some() || (set.sequential && set.require_all) => {
                    set.members.push(member);
                }
                _ => sets.push(Set {
                    members: vec![member],
                    sequential: true,
                    within: true,
                    require_all: true,
                    attrs: Attrs::default(),
                }),
            }
        }
        if closing && open.take().is_none() {
            return Err(words.wrong_at(
                word,
                "this closes a set, but no set is open".to_owned(),
                "put a set in `( … )` or `[ … ]`, with spaces around its names",
            ));
        }
    }
    if open.is_some() {
        return Err(words.wrong("a set is not closed".to_owned(), "add the missing bracket"));
    }
    sets.retain(|set| !set.members.is_empty());
    let count: usize = sets.iter().map(|set| set.members.len()).sum();
    if count == 0 && !brackets {
        return Ok(Chain::Named);
    }
    if count < 2 {
        return Err(words.wrong(
            "a constraint needs two resources".to_owned(),
            "name two resources after the score and its colon",
        ));
    }
    Ok(match sets.as_slice() {
        [set] if !brackets && count == 2 => {
            Chain::Pair(set.members[0].clone(), set.members[1].clone())
        }
        _ => Chain::Sets(sets),
    })
}

/// `name` or `name:role`.
fn member(text: &str) -> Member {
    match text.split_once(':') {
        Some((id, qualifier)) => Member {
            id: id.to_owned(),
            qualifier: Some(qualifier.to_owned()),
        },
        None => Member {
            id: text.to_owned(),
            qualifier: None,
        },
    }
}

/// `location ID RESOURCE [ATTRIBUTES] SCORE: NODE`, or with rules instead of score and node.
pub(super) fn location(mut words: Words<'_>) -> Result<Location, ImportError> {
    let place = words.line.place.clone();
    let id = words.id("location")?;
    let resources = located(&mut words)?;
    let mut location = Location {
        id,
        place,
        resources,
        preferences: Vec::new(),
        attrs: Attrs::default(),
    };
    while let Some(word) = words.next() {
        if word.text == "rule" && !word.quoted {
            location.preferences.push(rule(&mut words)?);
        } else if word.attribute().is_some() {
            location.attrs.0.push(words.as_attribute(word)?);
        } else if let Some(score) = word.text.strip_suffix(':') {
            let node = words.expect("the node")?;
            location.preferences.push(Preference {
                score: Some(score.to_owned()),
                condition: Condition::Is(node.text.clone()),
                attrs: Attrs::default(),
            });
        } else {
            return Err(words.wrong_at(
                word,
                "expected a score or a rule".to_owned(),
                "a location ends as in `100: node` or `rule 100: #uname eq node`",
            ));
        }
    }
    if location.preferences.is_empty() {
        return Err(words.wrong(
            "this location has no score and no rule".to_owned(),
            "end it as in `100: node` or `rule 100: #uname eq node`",
        ));
    }
    Ok(location)
}

/// One resource, or several in braces.
fn located(words: &mut Words<'_>) -> Result<Vec<String>, ImportError> {
    let first = words.expect("the resource")?;
    let Some(rest) = first.text.strip_prefix('{') else {
        return Ok(vec![first.text.clone()]);
    };
    let mut names = Vec::new();
    let mut text = rest;
    loop {
        let closing = text.ends_with('}');
        let name = text.trim_end_matches('}');
        if !name.is_empty() {
            names.push(name.to_owned());
        }
        if closing {
            break;
        }
        text = &words.expect("the closing brace behind the resources")?.text;
    }
    if names.is_empty() {
        return Err(words.wrong(
            "the braces are empty".to_owned(),
            "name the resources in them",
        ));
    }
    Ok(names)
}

/// `[$id=…] [$role=…] [SCORE:] CONDITION`, after the word `rule`.
fn rule(words: &mut Words<'_>) -> Result<Preference, ImportError> {
    let mut attrs = Attrs::default();
    while words.peek().is_some_and(|word| word.attribute().is_some()) {
        let attr = words.attribute()?;
        if attr.name != "$id" {
            attrs.0.push(attr);
        }
    }
    let score = before_colon(words, |_| false);
    Ok(Preference {
        score,
        condition: condition(words)?,
        attrs,
    })
}

/// Terms that are all joined by `and`, or all by `or`: the shell has no mixture.
pub(crate) fn condition(words: &mut Words<'_>) -> Result<Condition, ImportError> {
    let (terms, joins) = terms(words);
    if terms.iter().any(Vec::is_empty) {
        return Err(words.wrong(
            "the rule lacks a term".to_owned(),
            "write it as in `#uname eq node`",
        ));
    }
    let text = || {
        let mut text = String::new();
        let joins = joins.iter().map(String::as_str).chain([""]);
        for (term, join) in terms.iter().zip(joins) {
            text.push_str(&format!("{} {join} ", term.join(" ")));
        }
        text.trim_end().to_owned()
    };
    let mut read: Vec<Condition> = terms.iter().map(|term| read_term(term)).collect();
    let opaque = read.iter().any(|term| matches!(term, Condition::Opaque(_)));
    let mixed = joins.windows(2).any(|pair| pair[0] != pair[1]);
    Ok(match joins.first() {
        _ if opaque || mixed => Condition::Opaque(text()),
        Some(join) if join == "or" => Condition::Any(read),
        Some(_) => Condition::All(read),
        None => read.pop().unwrap_or(Condition::Opaque(String::new())),
    })
}

fn read_term(term: &[String]) -> Condition {
    match term {
        [name, op, node] if name == "#uname" && op == "eq" => Condition::Is(node.clone()),
        [name, op, node] if name == "#uname" && op == "ne" => Condition::IsNot(node.clone()),
        [date, rest @ ..] if date == "date" => dated(rest, term.join(" ")),
        _ => Condition::Opaque(term.join(" ")),
    }
}

/// `lt TIME`, `gt TIME`, `in start=TIME end=TIME`, `in_range TIME to TIME`, after `date`.
fn dated(rest: &[String], text: String) -> Condition {
    let named = |name: &str| {
        let mut values = rest.iter().filter_map(|word| word.strip_prefix(name));
        values.next().map(str::to_owned)
    };
    match rest {
        [op, end] if op == "lt" => Condition::Date(None, Some(end.clone()), text),
        [op, begin] if op == "gt" => Condition::Date(Some(begin.clone()), None, text),
        [op, begin, to, end] if op == "in_range" && to == "to" => {
            Condition::Date(Some(begin.clone()), Some(end.clone()), text)
        }
        [op, ..] if ["in", "in_range"].contains(&op.as_str()) => {
            match (named("start="), named("end=")) {
                (None, None) => Condition::Opaque(text),
                (begin, end) => Condition::Date(begin, end, text),
            }
        }
        _ => Condition::Opaque(text),
    }
}

/// The terms of a rule, and the words between them.
fn terms(words: &mut Words<'_>) -> (Vec<Vec<String>>, Vec<String>) {
    let mut terms = vec![Vec::new()];
    let mut joins = Vec::new();
    while let Some(word) = words.peek() {
        let term = terms.last_mut().map(|term: &mut Vec<String>| term.len());
        // After a whole term, only the parts of a date are `name=value`.
        let ends = ["rule", "params", "meta", "op"].contains(&word.text.as_str());
        if ends && !word.quoted && term != Some(0) {
            break;
        }
        words.next();
        if (word.text == "and" || word.text == "or") && !word.quoted {
            joins.push(word.text.clone());
            terms.push(Vec::new());
        } else if let Some(term) = terms.last_mut() {
            term.push(word.text.clone());
        }
    }
    (terms, joins)
}

/// The text of a rule that affects only a part of a resource: up to its first attribute.
pub(super) fn rule_text(words: &mut Words<'_>) -> String {
    let mut text: Vec<&str> = Vec::new();
    while let Some(word) = words.peek() {
        // The rule's own attributes come first, the attributes that depend on it last.
        let own = word.text.starts_with('$') && text.is_empty();
        if word.attribute().is_some() && !own {
            break;
        }
        words.next();
        if !own {
            text.push(&word.text);
        }
    }
    text.join(" ")
}
