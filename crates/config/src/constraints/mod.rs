//! `[[location]]`, `[[colocation]]` and `[[order]]`: reads them, and refuses those that cannot all
//! be kept. Which node a group gets is for the core to decide.

mod contradict;
mod graph;
mod names;

use heartbeat_core::{index_vec::ByGroup, placement::Score};

use super::{
    fields,
    read::{Section, label},
    report::quoted,
    scores,
    types::{Colocation, Group, Node, Order},
    uses::Uses,
    values,
};
use names::{Location, Names, Placed};

/// Adds the locations to the `groups`, and returns what holds between these.
pub(super) fn read(
    top: &Section<'_>,
    groups: &mut ByGroup<Group>,
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
