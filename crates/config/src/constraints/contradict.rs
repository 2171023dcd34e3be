//! Messages about constraints that cannot all be kept: which they are, and where.

use heartbeat_core::{index::GroupIndex, placement::Score};

use super::{
    graph::{Constraints, Contradiction},
    names::{Location, Names, Placed},
};
use crate::{
    read::Section,
    types::{Colocation, Order, Role},
};

/// Reports each contradiction, at the last of the constraints that make it.
pub(super) fn refuse(
    top: &Section<'_>,
    names: &Names<'_>,
    locations: &[Placed<Location>],
    colocations: &[Placed<Colocation>],
    orders: &[Placed<Order>],
) {
    let members: Vec<usize> = (0..names.nodes.len())
        .filter(|node| names.nodes[*node].role == Role::Member)
        .collect();
    if members.is_empty() {
        return;
    }
    let bans = locations
        .iter()
        .map(|location| &location.constraint)
        .filter(|location| location.score == Score::NEVER)
        .filter_map(|location| {
            let member = members.iter().position(|node| *node == location.node)?;
            Some((location.group.0, member))
        });
    let found = Constraints {
        groups: names.groups.len(),
        members: members.len(),
        bans: &bans.collect::<Vec<_>>(),
        colocations: &constraints(colocations),
        orders: &constraints(orders),
    }
    .contradictions();
    let all = All {
        names,
        locations,
        colocations,
        orders,
    };
    for contradiction in found {
        let (what, why, places) = all.explain(&contradiction);
        let Some(last) = places.iter().max() else {
            continue;
        };
        let mut lines: Vec<_> = places.iter().map(|at| top.line(*at)).collect();
        lines.sort_unstable();
        let remedy = format!("remove or change one of the {what}s in {}", listed(&lines));
        top.problem(*last, format!("{what}: {why}"), remedy);
    }
}

fn constraints<T: Copy>(placed: &[Placed<T>]) -> Vec<T> {
    placed.iter().map(|placed| placed.constraint).collect()
}

struct All<'a> {
    names: &'a Names<'a>,
    locations: &'a [Placed<Location>],
    colocations: &'a [Placed<Colocation>],
    orders: &'a [Placed<Order>],
}

impl All<'_> {
    /// The kind of constraint that contradicts, how, and the places of those that do.
    fn explain(&self, contradiction: &Contradiction) -> (&'static str, String, Vec<usize>) {
        match contradiction {
            Contradiction::OrderCycle(cycle) => (
                "order",
                format!(
                    "{}: each waits for the one before it, so that none can be the first",
                    self.round(cycle)
                ),
                places(self.orders, |order| follow(cycle, order.first, order.then)),
            ),
            Contradiction::ColocationCycle(cycle) => (
                "colocation",
                format!(
                    "{}: each looks where the next one is, so that none can be placed first",
                    self.round(cycle)
                ),
                places(self.colocations, |one| {
                    one.score != Score::ZERO && follow(cycle, one.group, one.with)
                }),
            ),
            Contradiction::Apart(path) => self.apart(path),
            Contradiction::Nowhere(groups) => (
                "location",
                self.nowhere(groups),
                places(self.locations, |location| {
                    location.score == Score::NEVER && groups.contains(&location.group.0)
                }),
            ),
        }
    }

    fn apart(&self, path: &[usize]) -> (&'static str, String, Vec<usize>) {
        let ends = [path.first(), path.last()].map(|end| end.copied().unwrap_or_default());
        let is_end = |group: GroupIndex| ends.contains(&group.0);
        let places = places(self.colocations, |one| match one.score {
            Score::MUST => {
                let step =
                    |pair: &[usize]| pair.contains(&one.group.0) && pair.contains(&one.with.0);
                path.windows(2).any(step)
            }
            Score::NEVER => is_end(one.group) && is_end(one.with),
            _ => false,
        });
        let message = format!(
            "{} must be together, but {} must be apart",
            self.joined(path),
            self.joined(&ends)
        );
        ("colocation", message, places)
    }

    fn nowhere(&self, groups: &[usize]) -> String {
        let names = self.joined(groups);
        match groups {
            [_] => format!("{names} may be on no node: each member has the score -inf"),
            _ => format!("{names} must be together, but no node may have them all"),
        }
    }

    /// `a → b → a`
    fn round(&self, cycle: &[usize]) -> String {
        let names: Vec<_> = cycle
            .iter()
            .chain(cycle.first())
            .map(|group| self.name(*group))
            .collect();
        names.join(" → ")
    }

    /// `a, b and c`
    fn joined(&self, groups: &[usize]) -> String {
        let names: Vec<_> = groups.iter().map(|group| self.name(*group)).collect();
        and(&names)
    }

    fn name(&self, group: usize) -> &str {
        &self.names.groups[GroupIndex(group)].name
    }
}

/// The places of the constraints that `are` part of a contradiction.
fn places<T>(placed: &[Placed<T>], are: impl Fn(&T) -> bool) -> Vec<usize> {
    placed
        .iter()
        .filter(|placed| are(&placed.constraint))
        .map(|placed| placed.at)
        .collect()
}

/// Whether `to` is next to `from` in the cycle.
fn follow(cycle: &[usize], from: GroupIndex, to: GroupIndex) -> bool {
    let next = cycle.iter().cycle().skip(1);
    cycle.iter().zip(next).any(|pair| pair == (&from.0, &to.0))
}

fn listed(lines: &[usize]) -> String {
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    match lines[..] {
        [line] => format!("line {line}"),
        _ => format!("lines {}", and(&lines)),
    }
}

fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
