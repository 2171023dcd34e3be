//! `[[location]]`, `[[colocation]]` and `[[order]]`: reads them, and refuses those that cannot all
//! be kept. Which node a group gets is for the core to decide.

mod contradict;
mod graph;

use heartbeat_core::placement::Score;

use super::{
    fields,
    read::{At, Field, Section, label},
    report::{likely, quoted},
    scores,
    types::{Colocation, Group, Node, Order, Role},
    uses::Uses,
    values,
};

/// A constraint and where its table is.
struct Placed<T> {
    constraint: T,
    at: usize,
}

#[derive(Clone, Copy)]
struct Location {
    /// Index of the group.
    group: usize,
    /// Index of the node.
    node: usize,
    score: Score,
}

/// Adds the locations to the `groups`, and returns what holds between these.
pub(super) fn read(
    top: &Section<'_>,
    groups: &mut [Group],
    nodes: &[Node],
) -> (Vec<Colocation>, Vec<Order>) {
    let names = Names { groups, nodes };
    let locations = locations(top, &names);
    let colocations = colocations(top, &names);
    let orders = orders(top, &names);
    contradict::refuse(top, &names, &locations, &colocations, &orders);
    for Placed { constraint, .. } in locations {
        let Location { group, node, score } = constraint;
        groups[group].locations.push((nodes[node].id, score));
    }
    (plain(colocations), plain(orders))
}

fn plain<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.constraint).collect()
}

fn locations(top: &Section<'_>, names: &Names<'_>) -> Vec<Placed<Location>> {
    use fields::{LOCATION, OF_GROUP, ON_NODE, SCORE};
    let mut pairs = Uses::new();
    let location = |section: &Section<'_>| {
        let (group, node) = (names.group(section, &OF_GROUP), names.member(section));
        let score = required_score(section);
        let (group, node) = (group?.value, node?.value);
        let what = format!(
            "the pair of group {} and node {}",
            quoted(&names.groups[group].name),
            quoted(&names.nodes[node].name)
        );
        let fresh = pairs.once(
            (group, node),
            &what,
            section,
            section.at(),
            "keep one of the two",
        );
        fresh.then_some(Placed {
            constraint: Location {
                group,
                node,
                score: score?,
            },
            at: section.at(),
        })
    };
    top.tables(&LOCATION, &[OF_GROUP, ON_NODE, SCORE], label("location"))
        .iter()
        .filter_map(location)
        .collect()
}

fn required_score(section: &Section<'_>) -> Option<Score> {
    use fields::SCORE;
    if !section.has(&SCORE) {
        section.missing(&SCORE);
    }
    scores::score(section, &SCORE, Score::NEVER).map(|score| score.value)
}

fn colocations(top: &Section<'_>, names: &Names<'_>) -> Vec<Placed<Colocation>> {
    use fields::{COLOCATION, OF_GROUP, SCORE, WITH};
    let mut pairs = Uses::new();
    let colocation = |section: &Section<'_>| {
        let score = scores::score(section, &SCORE, Score::NEVER);
        let (group, with) = names.pair(section, [&OF_GROUP, &WITH], &mut pairs)?;
        Some(Placed {
            constraint: Colocation {
                group,
                with,
                score: score.map_or(Score::MUST, |score| score.value),
            },
            at: section.at(),
        })
    };
    top.tables(&COLOCATION, &[OF_GROUP, WITH, SCORE], label("colocation"))
        .iter()
        .filter_map(colocation)
        .collect()
}

fn orders(top: &Section<'_>, names: &Names<'_>) -> Vec<Placed<Order>> {
    use fields::{FIRST, KIND, ORDER, THEN};
    let mut pairs = Uses::new();
    let order = |section: &Section<'_>| {
        let mandatory = section.text(&KIND, values::order_kind);
        let (first, then) = names.pair(section, [&FIRST, &THEN], &mut pairs)?;
        Some(Placed {
            constraint: Order {
                first,
                then,
                mandatory: mandatory.is_none_or(|mandatory| mandatory.value),
            },
            at: section.at(),
        })
    };
    top.tables(&ORDER, &[FIRST, THEN, KIND], label("order"))
        .iter()
        .filter_map(order)
        .collect()
}

/// What constraints can speak of.
struct Names<'a> {
    groups: &'a [Group],
    nodes: &'a [Node],
}

impl Names<'_> {
    /// Index of the group that `field` names.
    fn group(&self, section: &Section<'_>, field: &Field) -> Option<At<usize>> {
        let At { value, at } = section.required(field, values::name)?;
        let names = self.groups.iter().map(|group| group.name.as_str());
        let index = index(section, field, &value, at, names.collect(), "group")?;
        Some(At { value: index, at })
    }

    /// Index of the node that a location names, which must be able to serve.
    fn member(&self, section: &Section<'_>) -> Option<At<usize>> {
        let field = &fields::ON_NODE;
        let At { value, at } = section.required(field, values::name)?;
        let names = self.nodes.iter().map(|node| node.name.as_str());
        let index = index(section, field, &value, at, names.collect(), "node")?;
        if self.nodes[index].role == Role::Witness {
            section.problem(
                at,
                format!(
                    "node {}: this node is a witness, which serves nothing",
                    quoted(&value)
                ),
                "remove this location, or role = \"witness\" from the node",
            );
            return None;
        }
        Some(At { value: index, at })
    }

    /// The two groups that `fields` name: not one twice, and no two that stand together already.
    fn pair(
        &self,
        section: &Section<'_>,
        fields: [&Field; 2],
        pairs: &mut Uses<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        let [one, other] = fields.map(|field| self.group(section, field));
        let (one, other) = (one?, other?);
        let [one_field, other_field] = fields.map(|field| field.name);
        let name = |index: usize| quoted(&self.groups[index].name);
        if one.value == other.value {
            section.problem(
                other.at,
                format!(
                    "{other_field} {} is its {one_field}, too",
                    name(other.value)
                ),
                "name two different groups",
            );
            return None;
        }
        let pair = (one.value, other.value);
        let what = format!(
            "the pair of {one_field} {} and {other_field} {}",
            name(pair.0),
            name(pair.1)
        );
        pairs
            .once(pair, &what, section, section.at(), "keep one of the two")
            .then_some(pair)
    }
}

/// The place of `name` among `names`, or a complaint.
fn index(
    section: &Section<'_>,
    field: &Field,
    name: &str,
    at: usize,
    names: Vec<&str>,
    what: &str,
) -> Option<usize> {
    let found = names.iter().position(|known| *known == name);
    // One whose name was bad may be the one: that was said already.
    if found.is_none() && !names.contains(&"") {
        let remedy = if names.is_empty() {
            format!("add a [[{what}]] of this name, or remove this table")
        } else {
            likely(name, &names)
        };
        section.problem(
            at,
            format!("{} {}: no {what} has this name", field.noun, quoted(name)),
            remedy,
        );
    }
    found
}
