//! `[[location]]`, `[[colocation]]` and `[[order]]`: reads them, and refuses those that cannot all
//! be kept. The core decides which node a group gets.

mod contradict;
mod graph;
mod names;

use heartbeat_core::index_vec::ByGroup;

use super::{
    read::{Section, label},
    report::quoted,
    settings::{colocation, location, order},
    types::{Colocation, Group, Node, Order},
    uses::Uses,
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
    let mut pairs = Uses::new();
    let one = |section: &Section<'_>| {
        let group = names.group(section, &location::GROUP);
        let node = names.member(section);
        let score = location::SCORE.value(section);
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
    location::TABLE
        .open_all(top, label("location"))
        .iter()
        .filter_map(one)
        .collect()
}

fn colocations(top: &Section<'_>, names: &Names<'_>) -> Vec<Placed<Colocation>> {
    let mut pairs = Uses::new();
    let one = |section: &Section<'_>| {
        let score = colocation::SCORE.or_default(section);
        let fields = [&colocation::GROUP, &colocation::WITH];
        let (group, with) = names.pair(section, fields, &mut pairs)?;
        Some(Placed {
            constraint: Colocation { group, with, score },
            at: section.at(),
        })
    };
    colocation::TABLE
        .open_all(top, label("colocation"))
        .iter()
        .filter_map(one)
        .collect()
}

fn orders(top: &Section<'_>, names: &Names<'_>) -> Vec<Placed<Order>> {
    let mut pairs = Uses::new();
    let one = |section: &Section<'_>| {
        let mandatory = order::KIND.or_default(section);
        let (first, then) = names.pair(section, [&order::FIRST, &order::THEN], &mut pairs)?;
        Some(Placed {
            constraint: Order {
                first,
                then,
                mandatory,
            },
            at: section.at(),
        })
    };
    order::TABLE
        .open_all(top, label("order"))
        .iter()
        .filter_map(one)
        .collect()
}
