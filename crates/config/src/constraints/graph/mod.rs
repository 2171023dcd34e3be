//! Contradictions between constraints, by the numbers of groups and members alone, without names
//! and without a file.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use heartbeat_core::placement::Score;

use crate::types::{Colocation, Order};

/// All constraints between groups and members, both numbered from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constraints<'a> {
    pub(super) groups: usize,
    pub(super) members: usize,
    /// Group and member that it may never be on.
    pub(super) bans: &'a [(usize, usize)],
    pub(super) colocations: &'a [Colocation],
    pub(super) orders: &'a [Order],
}

/// Why constraints cannot all be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// Each is before the next, and the last before the first.
    OrderCycle(Vec<usize>),
    /// Each looks at where the next is, and the last at where the first is.
    ColocationCycle(Vec<usize>),
    /// Each must be with the next, but the first must be apart from the last.
    Apart(Vec<usize>),
    /// They must be together (or it is just one), but no member may have them all.
    Nowhere(Vec<usize>),
}

impl Constraints<'_> {
    /// All contradictions; of those that hang together, one.
    pub(super) fn contradictions(&self) -> Vec<Contradiction> {
        let follows: Vec<_> = self
            .colocations
            .iter()
            .filter(|colocation| colocation.score != Score::ZERO)
            .map(|colocation| (colocation.group.0, colocation.with.0))
            .collect();
        let before: Vec<_> = self
            .orders
            .iter()
            .map(|order| (order.first.0, order.then.0))
            .collect();
        let order_cycles = self.graph(&before).cycles();
        let colocation_cycles = self.graph(&follows).cycles();
        let together = self.together();
        let mut apart = self.apart(&together);
        // Those in a cycle contradict each other already.
        apart.retain(|path| {
            let in_cycle = |cycle: &Vec<usize>| path.iter().all(|group| cycle.contains(group));
            !colocation_cycles.iter().any(in_cycle)
        });
        let nowhere = self.nowhere(&together);
        order_cycles
            .into_iter()
            .map(Contradiction::OrderCycle)
            .chain(
                colocation_cycles
                    .into_iter()
                    .map(Contradiction::ColocationCycle),
            )
            .chain(apart.into_iter().map(Contradiction::Apart))
            .chain(nowhere.into_iter().map(Contradiction::Nowhere))
            .collect()
    }

    fn graph(&self, edges: &[(usize, usize)]) -> Graph {
        Graph::new(self.groups, edges)
    }

    /// Which groups must be with which, both ways.
    fn together(&self) -> Graph {
        let both = |must: &Colocation| {
            let (group, with) = (must.group.0, must.with.0);
            [(group, with), (with, group)]
        };
        let edges: Vec<_> = self.scored(Score::MUST).flat_map(both).collect();
        self.graph(&edges)
    }

    /// For each pair that must be apart, how they must be together, if they must.
    fn apart(&self, together: &Graph) -> Vec<Vec<usize>> {
        let mut seen = BTreeSet::new();
        self.scored(Score::NEVER)
            .map(|never| (never.group.0, never.with.0))
            .filter(|(a, b)| seen.insert((*a.min(b), *a.max(b))))
            .filter_map(|(a, b)| together.path(a, b))
            .collect()
    }

    /// The groups that must be together, but nowhere can be. If one of them cannot be anywhere by
    /// itself, that is enough to know.
    fn nowhere(&self, together: &Graph) -> Vec<Vec<usize>> {
        let mut banned = vec![BTreeSet::new(); self.groups];
        for (group, member) in self.bans {
            banned[*group].insert(*member);
        }
        let mut found = Vec::new();
        for class in together.classes() {
            let alone = class
                .iter()
                .filter(|group| banned[**group].len() == self.members);
            let alone: Vec<_> = alone.map(|group| vec![*group]).collect();
            let all: BTreeSet<_> = class.iter().flat_map(|group| &banned[*group]).collect();
            if !alone.is_empty() {
                found.extend(alone);
            } else if all.len() == self.members {
                found.push(class);
            }
        }
        found
    }

    fn scored(&self, score: Score) -> impl Iterator<Item = &Colocation> {
        self.colocations
            .iter()
            .filter(move |colocation| colocation.score == score)
    }
}

/// A directed graph.
struct Graph {
    next: Vec<Vec<usize>>,
}

impl Graph {
    fn new(nodes: usize, edges: &[(usize, usize)]) -> Self {
        let mut next = vec![Vec::new(); nodes];
        for (from, to) in edges {
            next[*from].push(*to);
        }
        Self { next }
    }

    /// A cycle for each set of nodes that lie on common cycles: the shortest through the first.
    fn cycles(&self) -> Vec<Vec<usize>> {
        let mut known = BTreeSet::new();
        let mut cycles = Vec::new();
        for start in 0..self.next.len() {
            if known.contains(&start) {
                continue;
            }
            if let Some(mut cycle) = self.path(start, start) {
                cycle.pop();
                cycles.push(cycle);
                let there = self.reach(start);
                known.extend(
                    there
                        .into_iter()
                        .filter(|node| self.reach(*node).contains(&start)),
                );
            }
        }
        cycles
    }

    /// The sets of nodes that reach each other, of a graph whose edges go both ways.
    fn classes(&self) -> Vec<Vec<usize>> {
        let mut known = BTreeSet::new();
        let mut classes = Vec::new();
        for start in 0..self.next.len() {
            if known.insert(start) {
                let mut class = self.reach(start);
                class.insert(start);
                known.extend(&class);
                classes.push(class.into_iter().collect());
            }
        }
        classes
    }

    /// A shortest way of at least one edge, with both of its ends.
    fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let before = self.search(from);
        let mut path = vec![to];
        let mut at = before[to]?;
        while at != from {
            path.push(at);
            at = before[at]?;
        }
        path.push(from);
        path.reverse();
        Some(path)
    }

    /// The nodes that can be reached by at least one edge.
    fn reach(&self, from: usize) -> BTreeSet<usize> {
        let before = self.search(from);
        (0..before.len())
            .filter(|node| before[*node].is_some())
            .collect()
    }

    /// For each node that can be reached, the last one on a shortest way to it.
    fn search(&self, from: usize) -> Vec<Option<usize>> {
        let mut before = vec![None; self.next.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for &step in &self.next[at] {
                if before[step].is_none() {
                    before[step] = Some(at);
                    if step != from {
                        queue.push_back(step);
                    }
                }
            }
        }
        before
    }
}
