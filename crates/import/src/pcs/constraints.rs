//! `pcs constraint …`: colocations, orders and locations.

use super::{Command, attrs};
use crate::{
    crm,
    model::{Attr, Attrs, Chain, Colocation, Condition, Location, Member, Order, Preference, Set},
    place::ImportError,
    values,
    words::Words,
};

/// Roles before a resource in a colocation.
const ROLES: [&str; 6] = [
    "promoted",
    "unpromoted",
    "master",
    "slave",
    "started",
    "stopped",
];
/// Actions before a resource in an order.
const ACTIONS: [&str; 4] = ["start", "stop", "promote", "demote"];

impl Command<'_> {
    /// Reads a command; `false` if it configures nothing.
    pub(super) fn constraint(&mut self, words: &mut Words<'_>) -> Result<bool, ImportError> {
        let kind = words.next().map_or("", |word| word.text.as_str());
        match kind {
            "location" => self.location(words)?,
            "colocation" => match words.next().map_or("", |word| word.text.as_str()) {
                "add" => self.colocation(words)?,
                "set" => {
                    let (chain, mut attrs) = sets(words)?;
                    self.model.colocations.push(Colocation {
                        id: self.id(&mut attrs, "colocation_set", &chain),
                        place: self.line.place.clone(),
                        score: attrs.take("score").map(|attr| attr.value),
                        chain,
                        guessed: false,
                        lifetime: None,
                        attrs,
                    });
                }
                _ => return Ok(false),
            },
            "order" => self.order(words)?,
            "ticket" => self.other("rsc_ticket", ""),
            "delete" | "remove" => self.remove(words)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The name in the command, or the name that `pcs` makes.
    fn id(&self, attrs: &mut Attrs, kind: &str, chain: &Chain) -> String {
        let given = attrs.take("id").map(|attr| attr.value);
        given.unwrap_or_else(|| {
            let members: Vec<&str> = chain.members().iter().map(|member| &*member.id).collect();
            format!("{kind}-{}", members.join("-"))
        })
    }

    /// `add [ROLE] A with [ROLE] B [SCORE] [name=value …]`.
    fn colocation(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let follower = member(words, &ROLES)?;
        if !words.next_if("with") {
            return Err(words.wrong(
                "this colocation has no `with`".to_owned(),
                "write it as in `pcs constraint colocation add A with B INFINITY`",
            ));
        }
        let leader = member(words, &ROLES)?;
        let mut score = None;
        if let Some(word) = words.peek().filter(|word| word.attribute().is_none()) {
            words.next();
            score = Some(word.text.clone());
        }
        let mut attrs = rest(words)?;
        let score = score.or_else(|| attrs.take("score").map(|attr| attr.value));
        let chain = Chain::Pair(follower, leader);
        self.model.colocations.push(Colocation {
            id: self.id(&mut attrs, "colocation", &chain),
            place: self.line.place.clone(),
            // The default of pcs.
            score: Some(score.unwrap_or_else(|| "INFINITY".to_owned())),
            chain,
            guessed: false,
            lifetime: None,
            attrs,
        });
        Ok(())
    }

    /// `[ACTION] A then [ACTION] B [name=value …]`, or sets.
    fn order(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        words.next_if("add");
        let (chain, mut attrs, kind) = if words.next_if("set") {
            let (chain, attrs) = sets(words)?;
            (chain, attrs, "order_set")
        } else {
            let first = member(words, &ACTIONS)?;
            if !words.next_if("then") {
                return Err(words.wrong(
                    "this order has no `then`".to_owned(),
                    "write it as in `pcs constraint order start A then start B`",
                ));
            }
            let then = member(words, &ACTIONS)?;
            (Chain::Pair(first, then), rest(words)?, "order")
        };
        self.model.orders.push(Order {
            id: self.id(&mut attrs, kind, &chain),
            place: self.line.place.clone(),
            kind: attrs
                .take("kind")
                .or_else(|| attrs.take("score"))
                .map(|attr| attr.value),
            chain,
            guessed: false,
            lifetime: None,
            attrs,
        });
        Ok(())
    }

    /// `R prefers N[=SCORE] …`, `R avoids N[=SCORE] …`, `R rule …`, `add ID R N SCORE`.
    fn location(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let place = self.line.place.clone();
        if words.next_if("add") {
            let id = words.id("constraint")?;
            let resource = words.id("resource")?;
            let node = words.expect("the node")?.text.clone();
            let score = words.next().map(|word| word.text.clone());
            let attrs = rest(words)?;
            self.model.locations.push(Location {
                id,
                place,
                resources: vec![located(&resource)],
                preferences: vec![at(&node, &score.unwrap_or_else(|| "INFINITY".to_owned()))],
                attrs,
            });
            return Ok(());
        }
        let resource = located(&words.expect("the resource")?.text);
        let verb = words.expect("`prefers`, `avoids` or `rule`")?;
        let mut location = Location {
            id: format!("location-{resource}"),
            place,
            resources: vec![resource],
            preferences: Vec::new(),
            attrs: Attrs::default(),
        };
        match verb.text.as_str() {
            "rule" => {
                let mut attrs = attrs(words)?;
                if let Some(attr) = attrs.take("constraint-id").or_else(|| attrs.take("id")) {
                    location.id = attr.value;
                }
                attrs.take("id");
                location.attrs.0.extend(attrs.take("resource-discovery"));
                let score = attrs
                    .take("score")
                    .or_else(|| attrs.take("score-attribute"));
                location.preferences.push(Preference {
                    score: score.map(|attr: Attr| attr.value),
                    condition: crm::condition(words)?,
                    attrs,
                });
            }
            "prefers" | "avoids" => {
                while let Some(word) = words.next() {
                    let (node, score) = word
                        .text
                        .split_once('=')
                        .unwrap_or((&word.text, "INFINITY"));
                    let score = match (verb.text.as_str(), score.strip_prefix('-')) {
                        ("prefers", _) => score.to_owned(),
                        (_, Some(positive)) => positive.to_owned(),
                        (_, None) => format!("-{}", score.trim_start_matches('+')),
                    };
                    location.preferences.push(at(node, &score));
                }
            }
            _ => {
                return Err(words.wrong_at(
                    verb,
                    "neither `prefers` nor `avoids` nor `rule`".to_owned(),
                    "write it as in `pcs constraint location R prefers node=100`",
                ));
            }
        }
        if location.preferences.is_empty() {
            return Err(words.wrong(
                "the node is missing".to_owned(),
                "write it as in `pcs constraint location R prefers node=100`",
            ));
        }
        self.model.locations.push(location);
        Ok(())
    }

    /// Removes constraints that earlier commands made.
    fn remove(&mut self, words: &mut Words<'_>) -> Result<(), ImportError> {
        let mut ids = vec![words.id("constraint")?];
        while words.peek().is_some() {
            ids.push(words.id("constraint")?);
        }
        let here = self.place();
        let model = &mut *self.model;
        let mut places = Vec::new();
        let mut keeps = |id: &String, place: &crate::place::Place| {
            let gone = ids.contains(id);
            if gone {
                places.push((id.clone(), place.clone()));
            }
            !gone
        };
        model
            .colocations
            .retain(|known| keeps(&known.id, &known.place));
        model.orders.retain(|known| keeps(&known.id, &known.place));
        model
            .locations
            .retain(|known| keeps(&known.id, &known.place));
        if places.is_empty() {
            return Err(words.wrong(
                "no constraint has such a name so far".to_owned(),
                "check whether the constraint still exists, and remove it by hand",
            ));
        }
        for (id, place) in places {
            let text = format!("constraint {id} ({place}): removed again ({here})");
            model.notes.push((text, place));
        }
        self.note("the removed part is left out");
        Ok(())
    }
}

/// A resource, or a pattern of names.
fn located(text: &str) -> String {
    if let Some(pattern) = text.strip_prefix("regexp%") {
        return format!("/{pattern}/");
    }
    text.strip_prefix("resource%").unwrap_or(text).to_owned()
}

fn at(node: &str, score: &str) -> Preference {
    Preference {
        score: Some(score.to_owned()),
        condition: Condition::Is(node.to_owned()),
        attrs: Attrs::default(),
    }
}

/// A resource after one of `qualifiers`, or alone.
fn member(words: &mut Words<'_>, qualifiers: &[&str]) -> Result<Member, ImportError> {
    let first = words.id("resource")?;
    let is_qualifier = qualifiers.contains(&first.to_ascii_lowercase().as_str());
    let alone = words
        .peek()
        .is_none_or(|next| next.attribute().is_some() || ["with", "then"].contains(&&*next.text));
    if is_qualifier && !alone {
        return Ok(Member {
            id: words.id("resource")?,
            qualifier: Some(first),
        });
    }
    Ok(Member {
        id: first,
        qualifier: None,
    })
}

/// All remaining words, which must be attributes.
fn rest(words: &mut Words<'_>) -> Result<Attrs, ImportError> {
    let attrs = attrs(words)?;
    match words.peek() {
        None => Ok(attrs),
        Some(word) => Err(words.wrong_at(
            word,
            format!("\"{}\" is not an attribute", word.text),
            "an attribute is name=value",
        )),
    }
}

/// `A B [name=value …] [set C …] [setoptions name=value …]`, after the first `set`.
fn sets(words: &mut Words<'_>) -> Result<(Chain, Attrs), ImportError> {
    let mut found = Vec::new();
    let mut own = Attrs::default();
    loop {
        let mut members = Vec::new();
        while let Some(word) = words.peek() {
            if word.attribute().is_some() || ["set", "setoptions"].contains(&word.text.as_str()) {
                break;
            }
            members.push(words.id("resource")?);
        }
        let mut attrs = attrs(words)?;
        let mut flag = |name| {
            let attr = attrs.take(name);
            attr.and_then(|attr| values::truth(&attr.value))
                .unwrap_or(true)
        };
        let (sequential, require_all) = (flag("sequential"), flag("require-all"));
        let qualifier = attrs.take("role").or_else(|| attrs.take("action"));
        let qualifier = qualifier.map(|attr| attr.value);
        let members = members.into_iter().map(|id| Member {
            id,
            qualifier: qualifier.clone(),
        });
        found.push(Set {
            members: members.collect(),
            sequential,
            within: true,
            require_all,
            attrs,
        });
        if words.next_if("setoptions") {
            own = rest(words)?;
            break;
        }
        if !words.next_if("set") {
            own.0.extend(rest(words)?.0);
            break;
        }
    }
    found.retain(|set| !set.members.is_empty());
    if found.iter().map(|set| set.members.len()).sum::<usize>() < 2 {
        return Err(words.wrong(
            "a constraint needs two resources".to_owned(),
            "name them behind `set`",
        ));
    }
    Ok((Chain::Sets(found), own))
}
