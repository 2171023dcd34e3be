//! The elements of constraints: `rsc_colocation`, `rsc_order`, `rsc_location`.

use roxmltree::Node as Xml;

use super::{MAX_DEPTH, Reader, children, owned, resolved};
use crate::{
    model::{
        Attrs, Chain, Colocation, Condition, Location, Member, Model, Order, Other, Preference, Set,
    },
    place::ImportError,
    values,
};

impl Reader<'_> {
    pub(super) fn constraint(
        &self,
        model: &mut Model,
        element: Xml<'_, '_>,
    ) -> Result<(), ImportError> {
        let id = self.required(element, "id")?;
        let place = self.place(element);
        match element.tag_name().name() {
            "rsc_colocation" => {
                let ends = [("rsc", "rsc-role"), ("with-rsc", "with-rsc-role")];
                model.colocations.push(Colocation {
                    chain: self.chain(element, ends)?,
                    score: Some(owned(element, "score").unwrap_or_else(|| "0".to_owned())),
                    attrs: self.rest(
                        element,
                        &[
                            "id",
                            "score",
                            "rsc",
                            "rsc-role",
                            "with-rsc",
                            "with-rsc-role",
                        ],
                    ),
                    id,
                    place,
                    guessed: false,
                    lifetime: self.lifetime(element),
                });
            }
            "rsc_order" => {
                let ends = [("first", "first-action"), ("then", "then-action")];
                model.orders.push(Order {
                    chain: self.chain(element, ends)?,
                    kind: owned(element, "kind").or_else(|| owned(element, "score")),
                    attrs: self.rest(
                        element,
                        &[
                            "id",
                            "kind",
                            "score",
                            "first",
                            "first-action",
                            "then",
                            "then-action",
                        ],
                    ),
                    id,
                    place,
                    guessed: false,
                    lifetime: self.lifetime(element),
                });
            }
            "rsc_location" => model.locations.push(self.location(element, id)?),
            name => model.others.push(Other::new(name, id, place)),
        }
        Ok(())
    }

    /// Two ends, named by attributes with their qualifiers, or sets.
    fn chain(&self, element: Xml<'_, '_>, ends: [(&str, &str); 2]) -> Result<Chain, ImportError> {
        let sets: Vec<Set> = children(element)
            .filter(|child| child.has_tag_name("resource_set"))
            .map(|set| self.set(resolved(set)))
            .collect::<Result<_, _>>()?;
        if !sets.is_empty() {
            return Ok(Chain::Sets(sets));
        }
        let end = |(name, qualifier): (&str, &str)| {
            Ok(Member {
                id: self.required(element, name)?,
                qualifier: owned(element, qualifier),
            })
        };
        let [first, second] = ends;
        Ok(Chain::Pair(end(first)?, end(second)?))
    }

    /// The condition under which the constraint holds, if it has one.
    fn lifetime(&self, element: Xml<'_, '_>) -> Option<Condition> {
        let lifetime = children(element).find(|child| child.has_tag_name("lifetime"))?;
        let rules = children(lifetime).filter(|child| child.has_tag_name("rule"));
        let mut rules: Vec<Condition> = rules
            .map(|rule| rule_condition(resolved(rule), 0))
            .collect();
        match rules.len() {
            0 => Some(Condition::Opaque("lifetime".to_owned())),
            1 => rules.pop(),
            // Pacemaker treats several rules as alternatives.
            _ => Some(Condition::Any(rules)),
        }
    }

    fn set(&self, set: Xml<'_, '_>) -> Result<Set, ImportError> {
        let qualifier = owned(set, "role").or_else(|| owned(set, "action"));
        let members = children(set)
            .filter(|child| child.has_tag_name("resource_ref"))
            .map(|child| {
                Ok(Member {
                    id: self.required(child, "id")?,
                    qualifier: qualifier.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        let flag = |name| set.attribute(name).and_then(values::truth).unwrap_or(true);
        Ok(Set {
            members,
            sequential: flag("sequential"),
            within: true,
            require_all: flag("require-all"),
            attrs: self.rest(set, &["id", "role", "action", "sequential", "require-all"]),
        })
    }

    fn location(&self, element: Xml<'_, '_>, id: String) -> Result<Location, ImportError> {
        let resources = match (owned(element, "rsc"), element.attribute("rsc-pattern")) {
            (Some(resource), _) => vec![resource],
            (None, Some(pattern)) => vec![format!("/{pattern}/")],
            (None, None) => children(element)
                .filter(|child| child.has_tag_name("resource_set"))
                .flat_map(|set| children(resolved(set)))
                .filter(|child| child.has_tag_name("resource_ref"))
                .map(|child| self.required(child, "id"))
                .collect::<Result<_, _>>()?,
        };
        let mut preferences = Vec::new();
        if let Some(node) = owned(element, "node") {
            preferences.push(Preference {
                score: Some(owned(element, "score").unwrap_or_else(|| "0".to_owned())),
                condition: Condition::Is(node),
                attrs: Attrs::default(),
            });
        }
        for rule in children(element).filter(|child| child.has_tag_name("rule")) {
            let rule = resolved(rule);
            preferences.push(Preference {
                score: owned(rule, "score").or_else(|| owned(rule, "score-attribute")),
                condition: rule_condition(rule, 0),
                attrs: self.rest(rule, &["id", "score", "score-attribute", "boolean-op"]),
            });
        }
        if let Some(lifetime) = self.lifetime(element) {
            for preference in &mut preferences {
                let own = preference.condition.clone();
                preference.condition = Condition::All(vec![own, lifetime.clone()]);
            }
        }
        if resources.is_empty() || preferences.is_empty() {
            return Err(self.wrong(
                element,
                "this location lacks a resource, or has neither a node nor a rule",
                "add rsc, and node with score or a <rule>",
            ));
        }
        Ok(Location {
            id,
            place: self.place(element),
            resources,
            preferences,
            attrs: self.rest(element, &["id", "rsc", "rsc-pattern", "node", "score"]),
        })
    }
}

fn rule_condition(rule: Xml<'_, '_>, depth: usize) -> Condition {
    let name = rule.attribute("id").unwrap_or_default();
    let opaque = || Condition::Opaque(format!("rule {name}"));
    if depth == MAX_DEPTH {
        return opaque();
    }
    let terms: Vec<Condition> = children(rule)
        .map(|term| match term.tag_name().name() {
            "expression" => expression(term),
            "date_expression" => date(term),
            "rule" => rule_condition(resolved(term), depth + 1),
            other => Condition::Opaque(other.to_owned()),
        })
        .collect();
    let understood = !terms
        .iter()
        .any(|term| matches!(term, Condition::Opaque(_)));
    match rule.attribute("boolean-op") {
        _ if terms.is_empty() => opaque(),
        Some("or") if understood => Condition::Any(terms),
        _ if understood => Condition::All(terms),
        _ => {
            let texts: Vec<&str> = terms
                .iter()
                .filter_map(|term| match term {
                    Condition::Opaque(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            Condition::Opaque(texts.join(", "))
        }
    }
}

fn date(term: Xml<'_, '_>) -> Condition {
    let operation = term.attribute("operation").unwrap_or_default();
    let (begin, end) = (owned(term, "start"), owned(term, "end"));
    let mut text = format!("date_expression {operation}");
    for part in [&begin, &end].into_iter().flatten() {
        text.push_str(&format!(" {part}"));
    }
    let spec = children(term).next().is_some();
    match (operation, &begin, &end) {
        ("lt", _, Some(_)) => Condition::Date(None, end, text),
        ("gt", Some(_), _) => Condition::Date(begin, None, text),
        ("in_range", ..) if !spec && (begin.is_some() || end.is_some()) => {
            Condition::Date(begin, end, text)
        }
        _ => Condition::Opaque(text),
    }
}

fn expression(term: Xml<'_, '_>) -> Condition {
    let of = |name| term.attribute(name).unwrap_or_default();
    match (of("attribute"), of("operation"), of("value")) {
        ("#uname", "eq", node) => Condition::Is(node.to_owned()),
        ("#uname", "ne", node) => Condition::IsNot(node.to_owned()),
        (attribute, operation, value) => {
            Condition::Opaque(format!("{attribute} {operation} {value}").trim().to_owned())
        }
    }
}
