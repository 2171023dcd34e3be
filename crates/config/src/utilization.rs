//! `capacity` of nodes and `demand` of groups: amounts of what the operator chooses to count, each
//! kind by its name.

use heartbeat_core::placement::Score;
use toml::de::DeValue;

use super::{
    read::{At, Field, Section},
    report::{nearest, quoted, shown, type_name},
    types::{Config, Group, Node, Policy, Role, Strategy},
    values,
};

/// So that the sum of all demands cannot overflow.
const MAX_AMOUNT: u32 = 1_000_000;

impl Config {
    /// What `node` has, by kind, sorted. What is not there it has without limit.
    pub fn capacities<'c>(&'c self, node: &'c Node) -> impl Iterator<Item = (&'c str, u32)> {
        let kinds = self.utilization.iter().zip(&node.capacity);
        kinds.filter_map(|(kind, amount)| Some((kind.as_str(), (*amount)?)))
    }

    /// What `group` needs, by kind, sorted. What is not there it does not need.
    pub fn demands<'c>(&'c self, group: &'c Group) -> impl Iterator<Item = (&'c str, u32)> {
        let kinds = self.utilization.iter().zip(&group.demand);
        kinds
            .map(|(kind, amount)| (kind.as_str(), *amount))
            .filter(|(_, amount)| *amount > 0)
    }
}

/// What a node or a group says, before it is known what others count.
pub(super) struct Stated<'a> {
    section: Section<'a>,
    at: usize,
    /// Each kind, where it stands, and how much.
    amounts: Vec<(At<String>, u32)>,
}

impl<'a> Stated<'a> {
    /// The amounts in `field` of `section`.
    pub(super) fn read(section: &Section<'a>, field: &Field) -> Self {
        Self {
            section: section.clone(),
            at: section.at_field(field),
            amounts: amounts(section, field),
        }
    }

    fn of(&self, kind: &str) -> Option<u32> {
        let mut amounts = self.amounts.iter();
        let (_, amount) = amounts.find(|(name, _)| name.value == kind)?;
        Some(*amount)
    }
}

fn amounts(section: &Section<'_>, field: &Field) -> Vec<(At<String>, u32)> {
    let Some(value) = section.get(field) else {
        return Vec::new();
    };
    let DeValue::Table(table) = value.get_ref() else {
        section.wrong_type::<()>(field, value, "a table");
        return Vec::new();
    };
    let mut amounts = Vec::with_capacity(table.len());
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        let complain = |at: usize, what: String, remedy: String| {
            let message = format!("{} of {}{what}", field.noun, quoted(name));
            section.problem(at, message, remedy);
        };
        let at = key.span().start;
        if values::name(name).is_err() {
            let remedy = "use 1 to 64 letters, digits, `_`, `.` or `-`, as in cpu";
            complain(at, " is of no usable name".to_owned(), remedy.to_owned());
            continue;
        }
        let remedy = format!("write it as in {}, in units of your choice", field.example);
        let amount = match value.get_ref() {
            DeValue::Integer(number) => {
                let amount = u32::from_str_radix(number.as_str(), number.radix()).ok();
                let within = amount.filter(|amount| *amount <= MAX_AMOUNT);
                within.ok_or_else(|| {
                    let number = shown(number.as_str());
                    format!(" is {number}, not from 0 to {MAX_AMOUNT}")
                })
            }
            other => Err(format!(" is {}, not an integer", type_name(other))),
        };
        match amount {
            Ok(amount) => {
                let value = name.to_owned();
                amounts.push((At { value, at }, amount));
            }
            Err(what) => complain(value.span().start, what, remedy),
        }
    }
    amounts
}

/// Gives `nodes` and `groups` what they state, each in the order of the kinds that are returned,
/// and complains of what does not fit. Names the place of the strategy by `at`.
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
                "capacity says nothing with strategy \"{}\": nobody asks whether there is room",
                policy.strategy
            ),
            "write strategy = \"utilization\" in [placement], or remove it",
        );
    }
    kinds
}

/// Warns of a demand for what no node counts.
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

/// Complains of a group for which no node has room, even if it serves nothing else.
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
                "no node that may serve it has room for its demand: {kind} = {demand}, while node {} \
                 has {kind} = {capacity}",
                quoted(&node.name)
            ),
            "lower the demand, or correct the nodes' capacity",
        );
    }
}
