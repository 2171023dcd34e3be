//! `capacity` of nodes and `demand` of groups: amounts of kinds that the operator chooses.

use heartbeat_core::placement::Score;

use super::{
    read::{At, Section},
    readers::Amounts,
    report::{nearest, quoted},
    settings::Setting,
    types::{Group, Node, Policy, Role, Strategy},
};

/// The amounts of a node or a group, before it is known which kinds the others have.
pub(super) struct Stated<'a> {
    section: Section<'a>,
    at: usize,
    /// Each kind, its place, and the amount.
    amounts: Vec<(At<String>, u32)>,
}

impl<'a> Stated<'a> {
    /// The amounts in `field` of `section`.
    pub(super) fn read<T>(section: &Section<'a>, setting: &Setting<Amounts, T>) -> Self {
        Self {
            section: section.clone(),
            at: section.at_field(setting),
            amounts: setting.value(section).unwrap_or_default(),
        }
    }

    fn of(&self, kind: &str) -> Option<u32> {
        let mut amounts = self.amounts.iter();
        let (_, amount) = amounts.find(|(name, _)| name.value == kind)?;
        Some(*amount)
    }
}

/// Gives `nodes` and `groups` the amounts that they state, each in the order of the kinds that are
/// returned, and reports what does not fit. `at` is the place of the strategy.
pub(super) fn resolve(
    top: &Section<'_>,
    (policy, at): (&Policy, usize),
    (nodes, capacities): (&mut [Node], &[Stated<'_>]),
    (groups, demands): (&mut [Group], &[Stated<'_>]),
) -> Vec<String> {
    let all = capacities.iter().chain(demands);
    let mut kinds: Vec<String> = all
        .flat_map(|stated| stated.amounts.iter().map(|(kind, _)| kind.value.clone()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (node, stated) in nodes.iter_mut().zip(capacities) {
        node.capacity = kinds.iter().map(|kind| stated.of(kind)).collect();
        if node.role == Role::Witness && !stated.amounts.is_empty() {
            stated.section.problem(
                stated.at,
                "capacity of a witness, which serves nothing",
                "remove it, or role = \"witness\"",
            );
        }
    }
    for (group, stated) in groups.iter_mut().zip(demands) {
        group.demand = kinds
            .iter()
            .map(|kind| stated.of(kind).unwrap_or_default())
            .collect();
    }
    for (group, stated) in groups.iter().zip(demands) {
        unmeasured(stated, capacities);
        homeless(group, stated, nodes, &kinds);
    }
    let counted = capacities.iter().any(|stated| !stated.amounts.is_empty());
    if policy.strategy == Strategy::Utilization && !counted {
        top.warning(
            at,
            "[placement]: strategy \"utilization\" has nothing to go by: no node has a capacity",
            "say what the nodes have, as in capacity = { cpu = 4, memory = 16 }",
        );
    }
    let mut first = capacities
        .iter()
        .filter(|stated| !stated.amounts.is_empty());
    if let Some(stated) = first
        .next()
        .filter(|_| policy.strategy != Strategy::Utilization)
    {
        stated.section.warning(
            stated.at,
            format!(
                "capacity has no effect with strategy \"{}\", which does not ask for room",
                policy.strategy
            ),
            "write strategy = \"utilization\" in [placement], or remove it",
        );
    }
    kinds
}

/// Warns of a demand for a kind that no node has a capacity of.
fn unmeasured(stated: &Stated<'_>, capacities: &[Stated<'_>]) {
    let counted: Vec<&str> = capacities
        .iter()
        .flat_map(|stated| stated.amounts.iter().map(|(kind, _)| kind.value.as_str()))
        .collect();
    let strangers = stated
        .amounts
        .iter()
        .filter(|(kind, _)| !counted.contains(&kind.value.as_str()));
    for (At { value, at }, _) in strangers {
        let remedy = match nearest(value, counted.iter().copied()) {
            Some(likely) => format!("did you mean `{likely}`?"),
            None => "add it to the nodes' capacity, or remove it".to_owned(),
        };
        let message = format!(
            "demand of {}: no node has a capacity of it, so that any has enough",
            quoted(value)
        );
        stated.section.warning(*at, message, remedy);
    }
}

/// Reports a group for which no node has room, even if the node serves nothing else.
fn homeless(group: &Group, stated: &Stated<'_>, nodes: &[Node], kinds: &[String]) {
    let lacking = |node: &Node| {
        let mut wanted = group.demand.iter().zip(&node.capacity).zip(kinds);
        wanted.find_map(|((demand, capacity), kind)| {
            let capacity = capacity.filter(|capacity| capacity < demand)?;
            Some((kind.clone(), *demand, capacity))
        })
    };
    let allowed = nodes
        .iter()
        .filter(|node| node.role == Role::Member && group.location(node.id) != Score::NEVER);
    let lacks: Vec<_> = allowed.map(|node| (node, lacking(node))).collect();
    // The one that is nearest to having room is the most telling.
    let nearest = lacks
        .iter()
        .filter_map(|(node, lack)| lack.as_ref().map(|lack| (node, lack)))
        .min_by_key(|(_, (_, demand, capacity))| demand - capacity);
    let Some((node, (kind, demand, capacity))) = nearest else {
        return;
    };
    if lacks.iter().all(|(_, lack)| lack.is_some()) {
        stated.section.problem(
            stated.at,
            format!(
                "no node that may serve it has room for its demand: {kind} = {demand}, while node \
                 {} has {kind} = {capacity}",
                quoted(&node.name)
            ),
            "lower the demand, or correct the nodes' capacity",
        );
    }
}
